use super::*;

/// The body that leaves with a 200 of this body.
fn leaves(body: &str, outcome: &Outcome) -> Result<String, ReplyFault> {
    match check(200, body, outcome, Words::Gates(None))? {
        Reply::Success(own) => Ok(String::from_utf8(own.to_vec()).unwrap()),
        Reply::Error(..) => panic!("{body}"),
    }
}

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

/// The same in the form that leaves.
const OWN: &str = r#"{"authenticationTag":"BAQEBAQEBAQEBAQEBAQEBA==","ciphertext":"AQI=","ciphertextMetadata":"BQ==","initializationVector":"AwMDAwMDAwMDAwMD"}"#;

#[test]
fn one_result_leaves_in_one_form() {
    for form in [
        OWN.to_owned(),
        ENCRYPTED.to_owned(),
        ENCRYPTED.replace(',', " ,\n"),
        OWN.replace("tag", "t\\u0061g"),
        OWN.replace("AQI=", "AQI\\u003d"),
    ] {
        assert_eq!(leaves(&form, &encrypted()).as_deref(), Ok(OWN), "{form}");
    }
}

#[test]
fn what_is_rendered_is_no_longer_than_was_foreseen() {
    for length in [0, 1, 2, 3, 32, 4300] {
        let encrypted = Encrypted {
            ciphertext: vec![1; length],
            iv: vec![2; 16],
            tag: vec![3; 16],
            metadata: vec![4; 20],
            cdiv: Some([5; 32]),
        };
        let own = render::encrypted(&encrypted);
        assert_eq!((own.len(), own.capacity()), (244 + length.div_ceil(3) * 4, own.len()));
        // Grown, it would leave a part of the plaintext behind.
        let own = render::plaintext(&vec![6; length]);
        assert_eq!(own.capacity(), own.len());
    }
}

#[test]
fn a_success_says_exactly_what_was_done() {
    assert_eq!(leaves(ENCRYPTED, &encrypted()).as_deref(), Ok(OWN));
    for altered in [
        ENCRYPTED.replace("AQI=", "AQM="),
        ENCRYPTED.replace("BQ==", "Bg=="),
        ENCRYPTED.replace(",\"ciphertextMetadata\":\"BQ==\"", ""),
        ENCRYPTED.replace('}', ",\"extra\":1}"),
        ENCRYPTED.replace('}', ",\"ciphertextDataIntegrityValue\":\"AQI=\"}"),
        "{}".to_owned(),
    ] {
        assert_eq!(leaves(&altered, &encrypted()), Err(ReplyFault::Differs), "{altered}");
    }
    assert_eq!(leaves(&format!("{ENCRYPTED}{ENCRYPTED}"), &encrypted()), Err(ReplyFault::Json));
    assert_eq!(leaves(ENCRYPTED, &Outcome::Nothing), Err(ReplyFault::Differs));
    assert_eq!(leaves("{}", &Outcome::Nothing), Err(ReplyFault::Differs));
    assert_eq!(check(201, ENCRYPTED, &encrypted(), Words::Gates(None)), Err(ReplyFault::Error));
}

#[test]
fn a_plaintext_is_the_decrypted_one() {
    let outcome = Outcome::Plaintext(Zeroizing::new(b"secret".to_vec()));
    assert!(leaves(r#"{"plaintext":"c2VjcmV0"}"#, &outcome).is_ok());
    assert_eq!(leaves(r#"{"plaintext":"c2VjcmVU"}"#, &outcome), Err(ReplyFault::Differs));
    assert_eq!(leaves(r#"{"plaintext":"c2VjcmV0","note":"x"}"#, &outcome), Err(ReplyFault::Differs));
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
    assert!(leaves(good, &outcome).is_ok());
    assert!(leaves(&good.replace("ENABLED", "DISABLED"), &outcome).is_err());
    assert!(leaves(&good.replace(",\"DECRYPT\"", ""), &outcome).is_err());
    let health = Outcome::Health(Health {
        fleet_size: 2,
        vendor: "v".into(),
        model: "m".into(),
        ekm_vendor: "e".into(),
        fleet: vec![KeyManager { id: "i".into(), model: "k".into(), status: HealthStatus::Degraded }],
    });
    let good = r#"{"xksProxyFleetSize":2,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"i","model":"k","healthStatus":"DEGRADED"}]}"#;
    assert!(leaves(good, &health).is_ok());
    assert!(leaves(&good.replace("DEGRADED", "ACTIVE"), &health).is_err());
    assert!(leaves(&good.replace(":2", ":2.5"), &health).is_err());
}

#[test]
fn an_error_has_its_own_status_and_a_printable_message() {
    let check = |status, body: &str| check(status, body, &Outcome::Nothing, Words::Components);
    for name in ErrorName::ALL {
        let body = format!(r#"{{"errorName":"{}"}}"#, name.as_str());
        assert_eq!(check(name.status(), &body), Ok(Reply::Error(name.status(), Refusal::new(name, ""))));
        assert_eq!(check(418, &body), Err(ReplyFault::Error));
    }
    let with = |message: &str| {
        check(404, &format!(r#"{{"errorName":"KeyNotFoundException","errorMessage":{message}}}"#))
    };
    let told = Reply::Error(404, Refusal::new(ErrorName::KeyNotFound, "no such key"));
    assert_eq!(with("\"no such key\""), Ok(told));
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
    let not_a_post = Refusal::new(ErrorName::InvalidUriPath, "");
    assert_eq!(check(405, r#"{"errorName":"InvalidUriPathException"}"#), Ok(Reply::Error(405, not_a_post)));
}

#[test]
fn an_error_of_who_has_seen_the_body_is_told_in_the_gates_words() {
    let noted = Refusal::new(ErrorName::AccessDenied, "the gate's reason");
    for name in ErrorName::ALL {
        let body = format!(r#"{{"errorName":"{}","errorMessage":"c2VjcmV0"}}"#, name.as_str());
        let told = |words| check(name.status(), &body, &Outcome::Nothing, words).unwrap();
        let fixed = Reply::Error(name.status(), Refusal::new(name, name.message()));
        assert_eq!(told(Words::Gates(None)), fixed);
        let expected = if name == noted.name { Reply::Error(403, noted.clone()) } else { fixed };
        assert_eq!(told(Words::Gates(Some(&noted))), expected);
        assert_eq!(
            check(name.status(), &body, &encrypted(), Words::Gates(Some(&noted))),
            Err(ReplyFault::Hides)
        );
    }
}
