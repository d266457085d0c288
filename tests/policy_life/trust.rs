//! A key is taken out of the configuration after it signed what is staged.

use holdfast_tests::{Host, Operation, encrypt_body};
use toml::Table;

use crate::artefact::cedar;
use crate::room::{activate, permits, policy, refused, stage, standing};
use crate::signer::{Signer, policies, trusting};

/// Restarts the host with these keys only.
fn trust_only(host: &mut Host, signers: &[&Signer]) {
    let mut config: Table = std::fs::read_to_string(host.config_file()).unwrap().parse().unwrap();
    config.insert("policies".into(), policies(signers).into());
    std::fs::write(host.config_file(), config.to_string()).unwrap();
    host.restart();
}

#[test]
fn what_a_key_signed_that_is_taken_out_stays_in_force_and_is_activated_no_more() {
    let [kept, taken_out] = [0, 1].map(|_| Signer::new());
    let mut host = trusting(&[&kept, &taken_out]).start();
    let one = cedar(host.scratch(), "one", &permits("one"), "");
    let two = cedar(host.scratch(), "two", &permits("two"), "");
    for artefact in [&one, &two] {
        taken_out.sign(artefact);
        stage(&host, artefact);
    }
    activate(&host, &one);
    activate(&host, &two);
    assert!(standing(&host, "demo")["untrusted"].is_null());

    trust_only(&mut host, &[&kept]);
    host.client().call(Operation::Encrypt, "demo", encrypt_body("text")).ok();
    assert!(host.log().contains("THE POLICY IN FORCE ISN'T TRUSTED NOW"), "{}", host.log());
    let standing_now = standing(&host, "demo");
    assert_eq!(
        (&standing_now["decides"], &standing_now["artefact"]),
        (&true.into(), &two.digest.clone().into())
    );
    assert!(standing_now["untrusted"].as_str().unwrap().contains("trusted_keys"), "{standing_now}");
    for command in ["activate", "shadow"] {
        let complaint = refused(&host, &[command, &one.digest]);
        assert!(
            complaint.contains("isn't trusted now") && complaint.contains("stage it again"),
            "{complaint}"
        );
    }
    assert!(refused(&host, &["rollback"]).contains("isn't trusted now"));

    kept.sign(&one);
    stage(&host, &one);
    policy(&host, &["rollback"]);
    assert_eq!(standing(&host, "demo")["artefact"], one.digest.as_str());
    assert!(standing(&host, "demo")["untrusted"].is_null());
}
