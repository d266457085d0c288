//! `Authorization: AWS4-HMAC-SHA256 Credential=ID/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX`

/// The parts of the header, borrowed from the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// 20 to 30 of `A-Z2-7`.
    pub access_key_id: &'a str,
    /// `YYYYMMDD`.
    pub date: &'a str,
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// `kms-xks-proxy` in good requests.
    pub service: &'a str,
    /// Joined by `;`, as received.
    pub signed_headers: &'a str,
    /// 64 lower-case hexadecimal digits.
    pub signature: &'a str,
}

/// Why there is no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No `authorization` header.
    Missing,
    /// More than one.
    Repeated,
    /// Another scheme.
    Scheme,
    /// Incomplete, repeated or unreadable parameters.
    Malformed,
}

/// Reads the claim from a head: a request line, then `name: value` lines.
pub fn read(head: &[u8]) -> Result<Claim<'_>, Refusal> {
    let mut values =
        head.split(|&b| b == b'\n').skip(1).filter_map(|line| line.strip_prefix(b"authorization: "));
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Repeated);
    }
    let value = std::str::from_utf8(value).map_err(|_| Refusal::Malformed)?;
    let parameters = value.trim().strip_prefix("AWS4-HMAC-SHA256").ok_or(Refusal::Scheme)?;
    if !parameters.starts_with([' ', '\t']) {
        return Err(Refusal::Scheme);
    }
    parse(parameters).ok_or(Refusal::Malformed)
}

/// The three parameters, each once, in any order, separated by commas with or without blanks.
fn parse(parameters: &str) -> Option<Claim<'_>> {
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for parameter in parameters.split(',') {
        let (name, value) = parameter.trim().split_once('=')?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return None,
        };
        if slot.replace(value).is_some() {
            return None;
        }
    }
    let (credential, signed_headers, signature) = (credential?, signed_headers?, signature?);
    let mut scope = credential.split('/');
    let mut part = || scope.next();
    let (access_key_id, date, region, service, end) = (part()?, part()?, part()?, part()?, part()?);
    let whole = end == "aws4_request" && part().is_none();
    let id_fits = (20..=30).contains(&access_key_id.len())
        && access_key_id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b));
    let date_fits = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
    let signature_fits =
        signature.len() == 64 && signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let names_fit = signed_headers.bytes().all(|b| matches!(b, b'!'..=b'~') && !b.is_ascii_uppercase());
    (whole && id_fits && date_fits && signature_fits && names_fit).then_some(Claim {
        access_key_id,
        date,
        region,
        service,
        signed_headers,
        signature,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "BETWEEN2TENAND3TENCHARACTERS";

    fn head(authorization: &str) -> Vec<u8> {
        format!("POST /kms/xks/v1/health\nhost: x\n{authorization}x-amz-date: y\n").into_bytes()
    }

    fn good() -> String {
        let signature = "0a".repeat(32);
        format!(
            "authorization: AWS4-HMAC-SHA256 Credential={ID}/20261124/eu-central-1/kms-xks-proxy/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}\n"
        )
    }

    #[test]
    fn a1_a_claim_is_read_with_any_spacing_and_order() {
        let head_text = head(&good());
        let claim = read(&head_text).unwrap();
        assert_eq!((claim.access_key_id, claim.date, claim.region), (ID, "20261124", "eu-central-1"));
        assert_eq!(claim.signed_headers, "host;x-amz-date");
        assert!(read(&head(&good().replace(", ", ","))).is_ok());
        assert!(read(&head(&good().replace(", ", " ,\t"))).is_ok());
    }

    #[test]
    fn a3_other_claims_are_refused() {
        assert_eq!(read(&head("")), Err(Refusal::Missing));
        assert_eq!(read(&head(&(good() + &good()))), Err(Refusal::Repeated));
        assert_eq!(read(&head("authorization: Basic x\n")), Err(Refusal::Scheme));
        assert_eq!(read(&head(&good().replace("SHA256 ", "SHA256"))), Err(Refusal::Scheme));
        for (from, to) in [
            (ID, "BETWEEN2TENAND3TENCHARACTERS777"),
            (ID, "SHORT"),
            (ID, "between2tenand3tencharacters"),
            (ID, "BETWEEN8TENAND3TENCHARACTERS"),
            ("/aws4_request", ""),
            ("/aws4_request", "/aws4_request/x"),
            ("/aws4_request", "/aws4"),
            ("20261124", "2026112"),
            ("0a", "0A"),
            ("Signature=", "Signature"),
            ("Signature=", "Signature=0"),
            ("SignedHeaders=host", "SignedHeaders=Host"),
            ("SignedHeaders=", "SignedHeaders=a,SignedHeaders="),
            ("SignedHeaders=", "X=1,SignedHeaders="),
        ] {
            assert_eq!(read(&head(&good().replacen(from, to, 1))), Err(Refusal::Malformed), "{from} -> {to}");
        }
        let mut bytes = head(&good());
        let at = bytes.windows(4).position(|w| w == b"Cred").unwrap();
        bytes[at] = 0xff;
        assert_eq!(read(&bytes), Err(Refusal::Malformed));
    }

    proptest! {
        #[test]
        fn arbitrary_heads_never_panic(text in "authorization: AWS4-HMAC-SHA256 [ -~]{0,120}", bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&head(&format!("{text}\n")));
            let _ = read(&bytes);
        }
    }
}
