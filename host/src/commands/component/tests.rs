use super::contract::judge;
use super::signature::{Function, Interface};

fn interface(name: &str, functions: &[&str]) -> Interface {
    let function = |name: &&str| Function { name: name.to_string(), signature: "func()".to_owned() };
    Interface {
        name: name.to_owned(),
        functions: functions.iter().map(function).collect(),
        types_only: functions.is_empty(),
    }
}

fn reasons(imports: &[Interface], exports: &[Interface]) -> Vec<String> {
    judge(imports, exports).reasons
}

#[test]
fn a_component_that_keeps_its_contract_is_taken() {
    let handler = interface("holdfast:proxy/handler@0.1.0", &["handle"]);
    let gate = interface("holdfast:gate/types@0.1.0", &["[static]request.admit"]);
    let verdict = judge(&[gate], &[handler]);
    assert_eq!(verdict.reasons, [""; 0]);
    assert_eq!(verdict.contract.unwrap().world, "holdfast:proxy/proxy@0.1.0");
}

#[test]
fn an_import_beyond_the_contract_is_named() {
    let claim = || interface("holdfast:authn/sigv4@0.1.0", &["read-claim"]);
    let wasi = interface("wasi:sockets/tcp@0.2.6", &["create-tcp-socket"]);
    let expected = "imports wasi:sockets/tcp@0.2.6; holdfast:authn/authenticator@0.1.0 may import nothing";
    assert_eq!(reasons(&[wasi], &[claim()]), [expected]);
    let gate = interface("holdfast:gate/types@0.1.0", &["[static]request.admit"]);
    assert_eq!(reasons(&[gate], &[claim()]).len(), 1, "the gate is the proxy's alone");
    let types = interface("example:plain/types@1.0.0", &[]);
    assert_eq!(reasons(&[types], &[claim()]), [""; 0], "plain types ask for nothing");
}

#[test]
fn a_missing_function_is_named() {
    let policy = interface("holdfast:policy/policy@0.1.0", &["configure", "evaluate"]);
    assert_eq!(reasons(&[], &[policy]), ["holdfast:policy/policy@0.1.0 lacks the function describe"]);
}

#[test]
fn another_version_and_a_strangers_component_are_told_apart() {
    let newer = interface("holdfast:authn/sigv4@0.2.0", &["read-claim"]);
    let found = reasons(&[], &[newer]);
    assert_eq!(found[1], "exports holdfast:authn/sigv4@0.2.0; this host knows holdfast:authn/sigv4@0.1.0");
    let run = interface("wasi:cli/run@0.2.6", &["run"]);
    let found = reasons(&[interface("wasi:cli/stdout@0.2.6", &["get-stdout"])], &[run]);
    assert!(found[0].starts_with("exports none of holdfast:authn/sigv4@0.1.0, "), "{found:?}");
    assert_eq!(found[1], "imports wasi:cli/stdout@0.2.6, which no component of this host has");
}

#[test]
fn a_function_of_another_type_is_no_contract_kept() {
    let text = r#"(component
        (core module $code (func (export "read")))
        (core instance $instance (instantiate $code))
        (func $read (canon lift (core func $instance "read")))
        (instance $sigv4 (export "read-claim" (func $read)))
        (export "holdfast:authn/sigv4@0.1.0" (instance $sigv4)))"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claims.wasm");
    std::fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    let report = super::inspect(&file).unwrap();
    assert_eq!(report.world, Some("holdfast:authn/authenticator@0.1.0"));
    assert!(!report.accepted);
    let begins = "isn't of the world holdfast:authn/authenticator@0.1.0: ";
    assert!(matches!(report.reasons.as_slice(), [one] if one.starts_with(begins)), "{:?}", report.reasons);
}
