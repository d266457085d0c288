//! What tokens and keys say of themselves, as it crosses between the host and a worker process.

use crate::module::{KeyAttributes, TokenInfo};
use crate::wire::{Malformed, Reader, Writer};

/// The AES-256 keys of a token, and why other objects that may be some can't be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What can be read.
    pub keys: Vec<KeyAttributes>,
    /// One for each that can't.
    pub unreadable: Vec<String>,
}

pub(crate) fn encode_keys(listing: &Listing) -> Vec<u8> {
    let mut out = Writer::default();
    out.u32(listing.unreadable.len() as u32);
    for why in &listing.unreadable {
        out.bytes(why.as_bytes());
    }
    out.u32(listing.keys.len() as u32);
    for key in &listing.keys {
        let flags = [key.encrypt, key.decrypt, key.sensitive, key.extractable, key.has_odd_dates];
        let flags = flags.iter().enumerate().fold(0, |all, (bit, set)| all | u8::from(*set) << bit);
        out.bytes(key.label.as_bytes()).u8(flags).u64(key.value_len).u32(key.start_date).u32(key.end_date);
        out.bytes(&key.check_value);
    }
    out.0
}

pub(crate) fn decode_keys(bytes: &[u8]) -> Result<Listing, Malformed> {
    let mut reader = Reader(bytes);
    let unreadable = (0..reader.u32()?).map(|_| reader.text()).collect::<Result<_, _>>()?;
    let count = reader.u32()?;
    let mut keys = Vec::new();
    for _ in 0..count {
        let label = reader.text()?;
        let flags = reader.u8()?;
        keys.push(KeyAttributes {
            label,
            encrypt: flags & 1 != 0,
            decrypt: flags & 2 != 0,
            sensitive: flags & 4 != 0,
            extractable: flags & 8 != 0,
            value_len: reader.u64()?,
            start_date: reader.u32()?,
            end_date: reader.u32()?,
            has_odd_dates: flags & 16 != 0,
            check_value: reader.bytes()?.to_vec(),
        });
    }
    reader.end()?;
    Ok(Listing { keys, unreadable })
}

pub(crate) fn write_token_info(out: &mut Writer, info: &TokenInfo) {
    for text in [&info.label, &info.manufacturer, &info.model, &info.serial, &info.firmware] {
        out.bytes(text.as_bytes());
    }
    out.u64(info.flags).u64(info.session_limit.map_or(u64::MAX, |limit| limit as u64));
}

pub(crate) fn read_token_info(reader: &mut Reader<'_>) -> Result<TokenInfo, Malformed> {
    Ok(TokenInfo {
        label: reader.text()?,
        manufacturer: reader.text()?,
        model: reader.text()?,
        serial: reader.text()?,
        firmware: reader.text()?,
        flags: reader.u64()?,
        session_limit: match reader.u64()? {
            u64::MAX => None,
            limit => usize::try_from(limit).ok(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_cross_unchanged_and_cut_messages_are_refused() {
        let key = KeyAttributes {
            label: "a#2".into(),
            decrypt: true,
            extractable: true,
            value_len: 32,
            end_date: 20_300_101,
            has_odd_dates: true,
            check_value: vec![1, 2, 3],
            ..KeyAttributes::default()
        };
        let keys = vec![key, KeyAttributes::default()];
        let listing = Listing { keys, unreadable: vec!["one".into(), "two".into()] };
        let bytes = encode_keys(&listing);
        assert_eq!(decode_keys(&bytes), Ok(listing));
        for len in 0..bytes.len() {
            assert_eq!(decode_keys(&bytes[..len]), Err(Malformed), "{len}");
        }
        let info = TokenInfo {
            label: "l".into(),
            serial: "s".into(),
            flags: 7,
            session_limit: Some(3),
            ..TokenInfo::default()
        };
        let mut out = Writer::default();
        write_token_info(&mut out, &info);
        assert_eq!(read_token_info(&mut Reader(&out.0)), Ok(info));
    }
}
