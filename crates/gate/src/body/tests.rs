use super::*;
use proptest::prelude::*;

const ENCRYPT: Call<'_> = Call::Key { key_id: "demo", operation: Operation::Encrypt };
const DECRYPT: Call<'_> = Call::Key { key_id: "demo", operation: Operation::Decrypt };
const METADATA: Call<'_> = Call::Key { key_id: "demo", operation: Operation::GetKeyMetadata };

const SIGNED: &str = r#""requestMetadata":{"awsPrincipalArn":"arn:aws:iam::111122223333:user/A",
    "kmsKeyArn":"arn:aws:kms:eu-central-1:111122223333:key/k","kmsOperation":"Encrypt","kmsRequestId":"r1",
    "kmsNewField":"x","kmsNewList":[1,"a"],"awsSourceVpc":null}"#;

fn read(rest: &str, call: Call<'_>) -> Result<(RequestMetadata, Inputs), Refusal> {
    let body = Body::read(format!("{{{SIGNED},{rest}}}").as_bytes(), call)?;
    Ok((body.metadata, body.inputs?))
}

fn refusal(rest: &str, call: Call<'_>) -> Refusal {
    read(rest, call).err().unwrap()
}

#[test]
fn metadata_is_known_though_the_inputs_are_refused() {
    let body = Body::read(format!("{{{SIGNED}}}").as_bytes(), ENCRYPT).unwrap();
    assert_eq!(body.metadata.kms_request_id, "r1");
    assert_eq!(body.inputs.err().unwrap().message, "encryptionAlgorithm is missing");
}

#[test]
fn known_metadata_is_typed_and_the_rest_kept_by_name() {
    let (metadata, inputs) =
        read(r#""plaintext":"aGk=","encryptionAlgorithm":"AES_GCM","unknown":{"x":1}"#, ENCRYPT).unwrap();
    assert_eq!(metadata.kms_request_id, "r1");
    assert_eq!(metadata.source_vpc, None);
    let other: Vec<(&str, &str)> =
        metadata.other.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(other, [("kmsNewField", "x"), ("kmsNewList", "[1,\"a\"]")]);
    let Inputs::Encrypt(inputs) = inputs else { panic!() };
    assert_eq!((inputs.plaintext.as_slice(), inputs.aad.len(), inputs.with_cdiv), (&b"hi"[..], 0, false));
}

#[test]
fn o7_missing_and_malformed_fields_are_validation_exceptions_that_name_the_field() {
    let good = r#""encryptionAlgorithm":"AES_GCM","ciphertext":"aGk=","initializationVector":"AAAAAAAAAAAAAAAA","authenticationTag":"AAAAAAAAAAAAAAAAAAAAAA==""#;
    assert!(read(good, DECRYPT).is_ok());
    for (from, to, field) in [
        ("\"ciphertext\"", "\"other\"", "ciphertext"),
        ("aGk=", "aGk", "ciphertext"),
        ("aGk=", "aGl=", "ciphertext"),
        ("aGk=", "a-k=", "ciphertext"),
        ("\"aGk=\"", "7", "ciphertext"),
        ("AAAAAAAAAAAAAAAA\"", "AAAA\"", "initializationVector"),
        ("AES_GCM", "AES_CBC", "encryptionAlgorithm"),
        ("\"encryptionAlgorithm\"", "\"e\"", "encryptionAlgorithm"),
        ("AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", "authenticationTag"),
    ] {
        let refusal = refusal(&good.replacen(from, to, 1), DECRYPT);
        assert_eq!(refusal.name, ErrorName::Validation);
        assert!(refusal.message.contains(field), "{from} -> {to}: {}", refusal.message);
    }
    let long = format!("{good},\"ciphertextMetadata\":\"{}\"", STANDARD.encode([0; 21]));
    assert_eq!(refusal(&long, DECRYPT).name, ErrorName::Validation);
}

#[test]
fn t6_more_aad_than_its_length_can_say_is_unsupported() {
    let with = |n: usize| {
        format!(
            r#""plaintext":"","encryptionAlgorithm":"AES_GCM","additionalAuthenticatedData":"{}""#,
            STANDARD.encode(vec![0; n])
        )
    };
    assert!(read(&with(65_535), ENCRYPT).is_ok());
    assert_eq!(refusal(&with(65_536), ENCRYPT).name, ErrorName::UnsupportedOperation);
}

#[test]
fn each_call_has_its_own_required_metadata() {
    let only_ids = br#"{"requestMetadata":{"kmsOperation":"x","kmsRequestId":""}}"#;
    assert!(Body::read(only_ids, Call::Health).is_ok());
    assert!(Body::read(only_ids, METADATA).is_err());
    let no_key = br#"{"requestMetadata":{"awsPrincipalArn":"p","kmsOperation":"x","kmsRequestId":"r"}}"#;
    assert!(Body::read(no_key, METADATA).is_ok());
    for body in [
        "{}",
        r#"{"requestMetadata":{}}"#,
        r#"{"requestMetadata":[]}"#,
        r#"{"requestMetadata":{"kmsOperation":1,"kmsRequestId":"r"}}"#,
    ] {
        assert_eq!(
            Body::read(body.as_bytes(), Call::Health).err().unwrap().name,
            ErrorName::Validation,
            "{body}"
        );
    }
}

proptest! {
    #[test]
    fn a_refusal_never_repeats_the_plaintext(plaintext in "[!-~]{12,40}") {
        let rest = format!("\"plaintext\":{},\"encryptionAlgorithm\":\"AES_GCM\",", serde_json::to_string(&plaintext).unwrap());
        let refusal = refusal(&rest, ENCRYPT);
        prop_assert!(!refusal.message.contains(&plaintext));
    }

    #[test]
    fn o7_whatever_a_body_holds_a_refusal_is_one_of_the_clients(
        field in "plaintext|encryptionAlgorithm|ciphertext|initializationVector|authenticationTag|additionalAuthenticatedData|requestMetadata|x",
        value in r#"null|[0-9]{1,30}|"[ -!#-\[\]-~]{0,40}"|\[\]|\{"kmsOperation":"[a-z]{0,4}"\}|[ -~]{0,20}"#,
    ) {
        for call in [ENCRYPT, DECRYPT, METADATA, Call::Health] {
            if let Err(refusal) = read(&format!("\"{field}\":{value}"), call) {
                prop_assert!(matches!(refusal.name, ErrorName::Validation | ErrorName::UnsupportedOperation), "{refusal}");
            }
        }
    }
}
