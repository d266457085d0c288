use std::path::Path;
use std::time::Duration;

use super::*;

const GOOD: &str = r#"[server]
listen = "127.0.0.1:8443"
[server.tls]
certificate = "tls/server.pem"
private_key = "tls/server-key.pem"
[server.limits]
body_bytes = "128KiB"
budget = "100ms"
[keystore]
path = "keystore.holdfast"
seal = { key_file = "keystore.seal" }
[audit]
path = "/var/log/holdfast/audit.jsonl"
fsync = "group"
[metrics]
listen = "127.0.0.1:9464"
[components]
sigv4 = { path = "components/sigv4.wasm" }
proxy = { path = "components/proxy.wasm", sha256 = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF" }
cache = "cache"
[[key_store]]
name = "demo"
uri_path_prefix = "/demo"
regions = ["us-east-1", "eu-central-1"]
[key_store.policy]
component = { path = "components/policy-cedar.wasm" }
files = ["policy.cedar"]
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("etc/holdfast.toml"), text)
}

/// The problems of `GOOD` with `from` replaced by `to`, as `line:column: field: message`.
fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(GOOD.contains(from), "{from} is not in the example");
    match parse(&GOOD.replacen(from, to, 1)) {
        Ok(_) => Vec::new(),
        Err(error) => {
            error.to_string().lines().map(|line| line.replacen("etc/holdfast.toml:", "", 1)).collect()
        }
    }
}

#[track_caller]
fn refuses(from: &str, to: &str, expected: &str) {
    let found = problems(from, to);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(expected), "\n   found: {}\nexpected: {expected}", found[0]);
}

#[test]
fn a_whole_configuration_becomes_typed_values() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.server.limits.body_bytes, 128 * 1024);
    assert_eq!(config.server.limits.budget, Duration::from_millis(100));
    assert_eq!(config.server.limits.connections, 4096);
    assert_eq!(config.keystore.path, Path::new("etc/keystore.holdfast"));
    assert_eq!(config.keystore.seal, SealSource::KeyFile("etc/keystore.seal".into()));
    assert_eq!(config.audit.path, Path::new("/var/log/holdfast/audit.jsonl"));
    assert_eq!(config.audit.fsync, Fsync::Group);
    assert_eq!(config.components.proxy.sha256.unwrap().0[..2], [0x00, 0x11]);
    let store = config.key_store("demo").unwrap();
    assert_eq!(store.uri_path_prefix.xks_proxy_uri_path(), "/demo/kms/xks/v1");
    assert_eq!(store.regions.len(), 2);
    assert_eq!(store.rate_limit.unwrap().per_second.get(), 1800);
    assert_eq!(store.policy.as_ref().unwrap().cache_bytes, 8 * 1024 * 1024);
    assert!(config.warnings.is_empty());
}

#[test]
fn an_unknown_field_is_named_with_those_allowed() {
    refuses("fsync =", "fsink =", "14:1: audit.fsink: unknown field; allowed: path, fsync");
    refuses(
        "cache = \"cache\"",
        "cache = \"cache\"\nqache = 1",
        "21:1: components.qache: unknown field; allowed: sigv4, proxy, cache",
    );
    refuses(
        "[metrics]",
        "[metrix]",
        "15:2: metrix: unknown field; allowed: server, hsm, keystore, audit, metrics",
    );
}

#[test]
fn a_missing_field_is_named_with_its_table() {
    refuses("listen = \"127.0.0.1:8443\"\n", "", "1:1: server.listen: is missing");
    refuses("name = \"demo\"\n", "", "21:1: key_store[0].name: is missing");
    refuses(
        "seal = { key_file = \"keystore.seal\" }\n",
        "",
        "9:1: keystore.seal: is missing; give one of key_file, ",
    );
}

#[test]
fn a_value_of_the_wrong_type_says_which_is_needed() {
    refuses(
        "\"128KiB\"",
        "131072",
        "7:14: server.limits.body_bytes: is a value of type integer; a text in quotes is needed",
    );
    refuses(
        "[\"policy.cedar\"]",
        "\"policy.cedar\"",
        "27:9: key_store[0].policy.files: is a value of type string; a list",
    );
}

#[test]
fn a_value_out_of_range_says_the_range() {
    refuses(
        "\"128KiB\"",
        "\"1KiB\"",
        "7:14: server.limits.body_bytes: 1KiB is out of range; from 24576 to 262144 bytes",
    );
    refuses(
        "\"100ms\"",
        "\"1ms\"",
        "8:10: server.limits.budget: 1ms is out of range; from 10ms to 10s is allowed",
    );
    refuses("\"100ms\"", "\"100\"", "8:10: server.limits.budget: \"100\" isn't a duration");
    refuses(
        "\"100ms\"",
        "\"99999999999999999999m\"",
        "8:10: server.limits.budget: \"99999999999999999999m\" isn't a duration",
    );
    refuses(
        "\"group\"",
        "\"always\"",
        "14:9: audit.fsync: \"always\" isn't known; allowed: \"never\", \"interval\", \"group\"",
    );
    refuses("\"00112233", "\"zz112233", "19:52: components.proxy.sha256: \"zz112233");
}

#[test]
fn every_problem_is_reported_at_once_in_the_files_order() {
    let text = GOOD.replace("8443", "84430").replace("group", "x").replace("\"demo\"", "\"a b\"");
    let error = parse(&text).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(
        lines[0].starts_with("etc/holdfast.toml:2:10: server.listen: \"127.0.0.1:84430\" isn't an address")
    );
    assert!(lines[1].starts_with("etc/holdfast.toml:14:9: audit.fsync: "));
    assert!(
        lines[2]
            .starts_with("etc/holdfast.toml:22:8: key_store[0].name: a key store's name with a character")
    );
}

#[test]
fn a_syntax_error_has_its_place() {
    refuses("cache = \"cache\"", "cache = cache", "20:9: ");
}

#[test]
fn plain_http_is_taken_only_on_a_loopback_address() {
    let tls = "[server.tls]\ncertificate = \"tls/server.pem\"\nprivate_key = \"tls/server-key.pem\"\n";
    let plain = GOOD.replace(tls, "plain_http = true\n");
    assert_eq!(parse(&plain).unwrap().server.transport, Transport::PlainHttp);
    let error = parse(&plain.replace("127.0.0.1:8443", "0.0.0.0:8443")).unwrap_err().to_string();
    assert!(
        error.contains(":3:14: server.plain_http: plain HTTP is allowed only on a loopback address"),
        "{error}"
    );
    refuses(tls, "", "1:1: server.tls: is missing; give certificate and private_key, or plain_http = true");
    refuses(
        "[server.tls]",
        "plain_http = true\n[server.tls]",
        "4:1: server.tls: stands beside plain_http = true",
    );
}

#[test]
fn exactly_one_seal_is_taken() {
    refuses(
        "{ key_file = \"keystore.seal\" }",
        "{}",
        "11:8: keystore.seal: has 0 of its fields; exactly one of",
    );
    refuses(
        "{ key_file =",
        "{ passphrase_env = \"P\", key_file =",
        "11:8: keystore.seal: has 2 of its fields",
    );
    refuses(
        "{ key_file = \"keystore.seal\" }",
        "{ systemd_credential = \"a/b\" }",
        "11:31: keystore.seal.systemd_credential: ",
    );
}

#[test]
fn t4_a_uri_path_prefix_keeps_to_the_specification() {
    let place = "23:19: key_store[0].uri_path_prefix: ";
    for bad in ["demo", "/demo/", "/a//b", "/a.b", "/a%20", "/ä", "/", &format!("/{}", "a".repeat(117))] {
        refuses("\"/demo\"", &format!("\"{bad}\""), place);
    }
    for good in ["", "/a", "/a/b-c_d/E9", &format!("/{}", "a".repeat(116))] {
        assert!(problems("\"/demo\"", &format!("\"{good}\"")).is_empty(), "{good}");
    }
}

#[test]
fn key_stores_have_unique_names_and_paths() {
    let second = |name: &str, prefix: &str| {
        format!(
            "{GOOD}\n[[key_store]]\nname = \"{name}\"\nuri_path_prefix = \"{prefix}\"\nregions = [\"us-east-1\"]\n"
        )
    };
    let config = parse(&second("other", "/demo2")).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].to_string().starts_with("etc/holdfast.toml:29:1: key_store[1]: has no policy")
    );
    for (name, prefix, expected) in [
        ("demo", "/b", "30:8: key_store[1].name: \"demo\" names another key store too"),
        ("other", "/demo", "31:19: key_store[1].uri_path_prefix: \"/demo/kms/xks/v1\" and"),
        ("other", "/demo/kms/xks/v1/keys", "31:19: key_store[1].uri_path_prefix: "),
    ] {
        let error = parse(&second(name, prefix)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("etc/holdfast.toml:{expected}")), "{error}");
    }
}

#[test]
fn a_rate_of_zero_is_no_limit() {
    let config = parse(&GOOD.replace("name = \"demo\"", "name = \"demo\"\nrate_limit = 0")).unwrap();
    assert_eq!(config.key_stores[0].rate_limit, None);
}

#[test]
fn a_budget_past_what_kms_waits_is_warned_of() {
    let config = parse(&GOOD.replace("100ms", "300ms")).unwrap();
    assert!(config.warnings[0].to_string().contains("server.limits"), "{:?}", config.warnings);
}

#[test]
fn a_problem_found_later_still_has_its_place() {
    let problem = parse(GOOD).unwrap().problem("key_store[0].policy.files[0]", "isn't there");
    assert_eq!(problem.to_string(), "etc/holdfast.toml:27:10: key_store[0].policy.files[0]: isn't there");
}

const HSM: &str = r#"[[hsm]]
name = "hsm-1"
module = "/usr/lib/p11.so"
token_label = "t"
pin_file = "pin"
"#;

#[test]
fn a_seal_names_an_hsm_of_the_file_and_refused_pins_are_kept_once_for_all_beside_the_keystore() {
    let by_hsm = "seal = { hsm = \"hsm-1\" }";
    let text = format!("{}{HSM}", GOOD.replace("seal = { key_file = \"keystore.seal\" }", by_hsm));
    let SealSource::Hsm(seal) = parse(&text).unwrap().keystore.seal else { panic!("another seal") };
    assert_eq!((seal.hsm.name.as_str(), seal.key.as_str()), ("hsm-1", "holdfast-seal"));
    assert_eq!(seal.pin_folder, Path::new("etc/hsm-pins"));

    let serving = text.replace("uri_path_prefix", "hsm = [\"hsm-1\"]\nuri_path_prefix");
    let config = parse(&serving).unwrap();
    let SealSource::Hsm(seal) = &config.keystore.seal else { panic!("another seal") };
    assert_eq!(seal.pin_folder, Path::new("etc/hsm-pins"));
    let store = &config.key_stores[0];
    let fleet = config.fleet(store, store.hsm.as_ref().unwrap());
    assert_eq!(fleet.pin_folder, seal.pin_folder);
    assert_eq!(fleet.hidden, ["holdfast-seal"], "requests can't name the key that seals");

    let unknown = parse(&text.replace("{ hsm = \"hsm-1\" }", "{ hsm = \"hsm-2\" }")).unwrap_err();
    assert!(unknown.to_string().contains("\"hsm-2\" is no [[hsm]] of this file"), "{unknown}");
}

#[test]
fn what_is_said_of_an_hsm_reaches_the_fleet() {
    use holdfast_pkcs11::{GcmParameters, Isolation, IvSource, Quirks, TagPlace, TokenSelector};
    let hsm = |more: &str| parse(&format!("{GOOD}{HSM}{more}")).unwrap().hsms.remove(0).settings();
    let usual = hsm("");
    assert_eq!((usual.sessions, usual.queue, usual.isolation), (16, 256, Isolation::Process));
    assert_eq!((usual.hang_time, usual.create_test_key), (Duration::from_secs(2), false));
    assert_eq!((usual.quirks, usual.test_key.as_deref()), (Quirks::default(), Some("holdfast-health")));
    let other = hsm(
        "isolation = \"threads\"\nthreads_replaced = 7\nsessions = 3\nqueue = 5\nhang_time = \"9s\"\ntest_key = \"k\"",
    );
    assert_eq!((other.sessions, other.queue, other.hang_time), (3, 5, Duration::from_secs(9)));
    assert_eq!(other.isolation, Isolation::Threads { replaced_at_most: 7 });
    assert_eq!(other.test_key.as_deref(), Some("k"));
    let by_serial = parse(&format!("{GOOD}{}", HSM.replace("token_label", "token_serial"))).unwrap();
    assert_eq!(by_serial.hsms[0].token, TokenSelector::Serial("t".into()));

    let quirks = |text: &str| hsm(&format!("[hsm.quirks]\n{text}\n")).quirks;
    let usual = Quirks::default();
    for (name, iv) in [
        ("host", IvSource::Host),
        ("message", IvSource::Message),
        ("parameters", IvSource::Parameters),
        ("prepended", IvSource::Prepended),
        ("appended", IvSource::Appended),
    ] {
        assert_eq!(quirks(&format!("iv = \"{name}\"")), Quirks { iv, ..usual });
    }
    for (name, parameters) in [
        ("standard", GcmParameters::Standard),
        ("iv-bits-zero", GcmParameters::IvBitsZero),
        ("without-iv-bits", GcmParameters::WithoutIvBits),
    ] {
        assert_eq!(quirks(&format!("gcm_parameters = \"{name}\"")), Quirks { parameters, ..usual });
    }
    assert_eq!(quirks("tag = \"apart\""), Quirks { tag: TagPlace::Apart, ..usual });
    assert_eq!(quirks("mechanism = 0x80001087"), Quirks { mechanism: 0x8000_1087, ..usual });
    assert_eq!(quirks("thread_safe = false"), Quirks { thread_safe: false, ..usual });
}

#[test]
fn what_is_said_of_keys_in_hsms_reaches_the_fleet() {
    let keys = "hsm = [\"hsm-1\"]\naccept = \"aws-sample-proxy\"\n\
                hsm_keys = { orders = { label = \"prod\", retired = [1, 3] }, old = { disabled = true } }\nuri_path_prefix";
    let config = parse(&format!("{}{HSM}", GOOD.replace("uri_path_prefix", keys))).unwrap();
    let store = &config.key_stores[0];
    let fleet = config.fleet(store, store.hsm.as_ref().unwrap());
    let keys = fleet.keys.unwrap();
    assert_eq!(
        (keys["orders"].label.as_deref(), keys["orders"].retired.as_slice()),
        (Some("prod"), &[1, 3][..])
    );
    assert!(keys["old"].disabled && !keys["orders"].disabled);
    assert!(fleet.accept_aws_sample_proxy);
    // NIST SP 800-38D, 8.3: random IVs of 96 bits.
    assert_eq!((fleet.warn_after, fleet.refuse_after), (1 << 31, 1 << 32));
}

#[test]
fn a_token_is_described_once() {
    let twice = |second: &str| parse(&format!("{GOOD}{HSM}{}", second.replace("hsm-1", "hsm-2")));
    let error = twice(HSM).unwrap_err().to_string();
    assert!(error.contains("hsm[1].token_label: is the same token as \"hsm-1\"'s"), "{error}");
    // Another file of the vendor's may mean another device.
    twice(&format!("{HSM}environment = {{ CONF = \"other\" }}\n")).unwrap();
    twice(&HSM.replace("\"t\"", "\"another\"")).unwrap();
}

#[test]
fn a_seals_hsm_key_needs_an_hsm_and_a_label() {
    refuses(
        "{ key_file = \"keystore.seal\" }",
        "{ key_file = \"keystore.seal\", hsm_key = \"k\" }",
        "11:8: keystore.seal.hsm_key: is only for a seal with `hsm = \"...\"`",
    );
    refuses(
        "{ key_file = \"keystore.seal\" }",
        "{ hsm = \"h\" }",
        "11:16: keystore.seal.hsm: \"h\" is no [[hsm]] of this file",
    );
}

#[test]
fn policies_are_taken_from_trusted_keys_only() {
    let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    let with = |text: &str| GOOD.replacen("[components]", &format!("[policies]\n{text}\n[components]"), 1);
    let config = parse(&with(&format!("trusted_keys = [\"{key}\"]"))).unwrap();
    assert_eq!(config.policies.trusted_keys.ids().collect::<Vec<_>>(), ["E7620F1842B4E81F"]);
    assert!(!config.policies.allow_unsigned);
    let unsigned = parse(&with("allow_unsigned = true")).unwrap();
    assert!(unsigned.policies.allow_unsigned && unsigned.warnings[0].message.contains("nobody signed"));
    refuses(
        "[components]",
        "[policies]\ntrusted_keys = [\"RWx\"]\n[components]",
        "18:16: policies.trusted_keys: \"RWx\" isn't a minisign public key",
    );
}
