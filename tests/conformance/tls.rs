//! Checklist T3: TLS versions, cipher suites, HTTP/2 by ALPN. openssl, curl and rustls are the clients.

use std::process::{Command, Stdio};

use holdfast_tests::{HandMade, Host, Operation, Protocol, encrypt_body, metadata_body};

use crate::setup;

/// What `openssl s_client` says of a handshake with these arguments; `None` when there was none.
fn handshake(host: &Host, arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &host.authority(), "-servername", "localhost"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && !said.contains("Cipher is (NONE)")).then_some(said)
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        println!("skipped: openssl isn't installed");
    }
    found
}

/// The suites of both versions that are taken with a certificate of this kind, and those that aren't.
#[track_caller]
fn assert_suites(host: &Host, kind: &str) {
    for suite in ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let said = handshake(host, &["-tls1_3", "-ciphersuites", suite]).unwrap_or_else(|| panic!("{suite}"));
        assert!(said.contains(&format!("TLSv1.3, Cipher is {suite}")), "{said}");
    }
    let suite = format!("ECDHE-{kind}-AES256-GCM-SHA384");
    let said = handshake(host, &["-tls1_2", "-cipher", &suite]).unwrap_or_else(|| panic!("{suite}"));
    assert!(said.contains(&format!("TLSv1.2, Cipher is {suite}")), "{said}");

    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_128_CCM_SHA256"] {
        assert!(handshake(host, &["-tls1_3", "-ciphersuites", suite]).is_none(), "{suite}");
    }
    for suite in ["AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES256-SHA384"] {
        let suite = format!("ECDHE-{kind}-{suite}");
        assert!(handshake(host, &["-tls1_2", "-cipher", &suite]).is_none(), "{suite}");
    }
    assert!(handshake(host, &["-tls1_2", "-cipher", "AES256-GCM-SHA384"]).is_none(), "without ECDHE");
    for version in ["-tls1", "-tls1_1"] {
        assert!(handshake(host, &[version, "-cipher", "DEFAULT:@SECLEVEL=0"]).is_none(), "{version}");
    }
}

#[test]
fn t3_only_the_specifications_cipher_suites_are_taken_with_an_ecdsa_certificate() {
    if has_openssl() {
        assert_suites(&setup().tls().start(), "ECDSA");
    }
}

#[test]
fn t3_only_the_specifications_cipher_suites_are_taken_with_an_rsa_certificate() {
    if !has_openssl() {
        return;
    }
    let setup = setup().tls().config(|config, home| {
        let (key, certificate) = (home.join("tls/rsa-key.pem"), home.join("tls/rsa.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let tls = config["server"]["tls"].as_table_mut().unwrap();
        tls.insert("certificate".into(), certificate.to_str().unwrap().into());
        tls.insert("private_key".into(), key.to_str().unwrap().into());
    });
    assert_suites(&setup.start(), "RSA");
}

#[test]
fn t3_http2_is_spoken_by_alpn_and_authority_is_the_signed_host() {
    let host = setup().tls().start();
    let mut client = host.client_of(Protocol::Http2);
    let reply = client.call(Operation::Health, "", metadata_body("KmsHealthCheck"));
    reply.ok();
    assert_eq!(reply.version, "HTTP/2.0");
    client.call(Operation::Encrypt, "demo", encrypt_body("attack at dawn")).ok();
    // Signed for another host than `:authority` says.
    let mut request = client.request(Operation::Health, "", metadata_body("KmsHealthCheck"));
    let authorization = other_host(&host).authorization();
    request.headers_mut().insert("authorization", authorization.parse().unwrap());
    client.send(request).refused(401, "AuthenticationFailedException");
    if let Some(reply) = host.curl("/health", metadata_body("KmsHealthCheck"), &["--http2"]) {
        reply.ok();
        assert_eq!(reply.version, "HTTP/2.0");
    }
}

/// A request to a host that this isn't.
fn other_host(host: &Host) -> HandMade {
    let mut request = HandMade::new(host, "/health", metadata_body("KmsHealthCheck"));
    request.set("host", "other.example.com");
    request
}

#[test]
fn t3_http11_is_spoken_to_those_who_do_not_ask_for_http2() {
    let host = setup().tls().start();
    // ALPN without h2.
    host.client().call(Operation::Health, "", metadata_body("KmsHealthCheck")).ok();
    let request = HandMade::new(&host, "/health", metadata_body("KmsHealthCheck")).sign();
    host.raw().exchange(request.bytes()).ok();
    // No ALPN at all.
    if let Some(reply) = host.curl("/health", metadata_body("KmsHealthCheck"), &["--no-alpn", "--http2"]) {
        reply.ok();
        assert_eq!(reply.version, "HTTP/1.1");
    }
    if has_openssl() {
        let said = handshake(&host, &["-tls1_3"]).unwrap();
        assert!(said.contains("No ALPN negotiated"), "{said}");
        let said = handshake(&host, &["-tls1_3", "-alpn", "h2,http/1.1"]).unwrap();
        assert!(said.contains("ALPN protocol: h2"), "{said}");
    }
}

#[test]
fn t3_http2_refusals_arrive_though_the_body_is_still_on_its_way() {
    let host = setup().tls().start();
    for _ in 0..20 {
        let Some(reply) = host.curl("/nowhere", metadata_body("KmsHealthCheck"), &["--http2"]) else {
            return;
        };
        reply.refused(404, "InvalidUriPathException");
    }
}
