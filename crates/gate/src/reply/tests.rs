use super::*;

fn encrypted() -> Outcome {
    Outcome::Encrypted(Encrypted {
        ciphertext: vec![1, 2],
        iv: vec![3; 12],
        tag: vec![4; 16],
        metadata: vec![5],
        cdiv: None,
    })
}

const ENCRYPTED: &str = r#"{"ciphertext":"AQI=","initializationVector":"AwMDAwMDAwMDAwMD","authenticationTag":"BAQEBAQEBAQEBAQEBAQEBA==","ciphertextMetadata":"BQ=="}"#;

#[test]
fn a_success_says_exactly_what_was_done() {
    assert_eq!(check(200, ENCRYPTED, &encrypted()), Ok(None));
    for altered in [
        ENCRYPTED.replace("AQI=", "AQM="),
        ENCRYPTED.replace("BQ==", "Bg=="),
        ENCRYPTED.replace(",\"ciphertextMetadata\":\"BQ==\"", ""),
        ENCRYPTED.replace('}', ",\"extra\":1}"),
        ENCRYPTED.replace('}', ",\"ciphertextDataIntegrityValue\":\"AQI=\"}"),
        "{}".to_owned(),
    ] {
        assert_eq!(check(200, &altered, &encrypted()), Err(ReplyFault::Differs), "{altered}");
    }
    assert_eq!(check(200, &format!("{ENCRYPTED}{ENCRYPTED}"), &encrypted()), Err(ReplyFault::Json));
    assert_eq!(check(200, ENCRYPTED, &Outcome::Nothing), Err(ReplyFault::Differs));
    assert_eq!(check(200, "{}", &Outcome::Nothing), Err(ReplyFault::Differs));
    assert_eq!(check(201, ENCRYPTED, &encrypted()), Err(ReplyFault::Error));
}

#[test]
fn a_plaintext_is_the_decrypted_one() {
    let outcome = Outcome::Plaintext(Zeroizing::new(b"secret".to_vec()));
    assert_eq!(check(200, r#"{"plaintext":"c2VjcmV0"}"#, &outcome), Ok(None));
    assert_eq!(check(200, r#"{"plaintext":"c2VjcmVU"}"#, &outcome), Err(ReplyFault::Differs));
    assert_eq!(check(200, r#"{"plaintext":"c2VjcmV0","note":"x"}"#, &outcome), Err(ReplyFault::Differs));
}

#[test]
fn key_metadata_and_health_must_agree_member_by_member() {
    let metadata = KeyMetadata {
        key_spec: "AES_256".into(),
        key_usage: vec!["ENCRYPT".into(), "DECRYPT".into()],
        enabled: true,
    };
    let good = r#"{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}"#;
    let outcome = Outcome::KeyMetadata(metadata);
    assert_eq!(check(200, good, &outcome), Ok(None));
    assert!(check(200, &good.replace("ENABLED", "DISABLED"), &outcome).is_err());
    assert!(check(200, &good.replace(",\"DECRYPT\"", ""), &outcome).is_err());
    let health = Outcome::Health(Health {
        fleet_size: 2,
        vendor: "v".into(),
        model: "m".into(),
        ekm_vendor: "e".into(),
        fleet: vec![KeyManager { id: "i".into(), model: "k".into(), status: HealthStatus::Degraded }],
    });
    let good = r#"{"xksProxyFleetSize":2,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"i","model":"k","healthStatus":"DEGRADED"}]}"#;
    assert_eq!(check(200, good, &health), Ok(None));
    assert!(check(200, &good.replace("DEGRADED", "ACTIVE"), &health).is_err());
    assert!(check(200, &good.replace(":2", ":2.5"), &health).is_err());
}

#[test]
fn an_error_has_its_own_status_and_a_printable_message() {
    let nothing = Outcome::Nothing;
    for name in ErrorName::ALL {
        let body = format!(r#"{{"errorName":"{}"}}"#, name.as_str());
        assert_eq!(check(name.status(), &body, &nothing), Ok(Some(name)));
        assert_eq!(check(418, &body, &nothing), Err(ReplyFault::Error));
    }
    let with = |message: &str| {
        check(404, &format!(r#"{{"errorName":"KeyNotFoundException","errorMessage":{message}}}"#), &nothing)
    };
    assert!(with("\"no such key\"").is_ok());
    assert!(with(&format!("\"{}\"", "x".repeat(511))).is_ok());
    for bad in [
        format!("\"{}\"", "x".repeat(512)),
        "\"\\n\"".into(),
        "\"\u{e9}\"".into(),
        "7".into(),
        "\"x\",\"more\":1".into(),
    ] {
        assert_eq!(with(&bad), Err(ReplyFault::Error), "{bad}");
    }
    assert_eq!(
        check(405, r#"{"errorName":"InvalidUriPathException"}"#, &nothing),
        Ok(Some(ErrorName::InvalidUriPath))
    );
}
