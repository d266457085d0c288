//! Where a key store answers.

/// What follows the optional prefix in every XKS path.
const API: &str = "/kms/xks/v1";

/// A key store's address: scheme, host, port and URI path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
    uri_path: String,
}

/// Why a URL isn't that of a key store.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Neither http nor https, or unparsable.
    #[error("{url:?} is no URL of a key store; write https://HOST[:PORT][/PREFIX] (or http:// on loopback)")]
    Url {
        /// As given.
        url: String,
    },
    /// The spec allows letters, digits, `/`, `-` and `_`, at most 128 in all.
    #[error("the URI path {path:?} is not allowed: letters, digits, '/', '-' and '_', no '//', at most 128")]
    Path {
        /// As given.
        path: String,
    },
}

impl Endpoint {
    /// Parses `https://HOST[:PORT][/PREFIX[/kms/xks/v1]]`. A URL without a path takes `uri_path` (the console file's
    /// `XksProxyUriPath`), where given.
    pub fn parse(url: &str, uri_path: Option<&str>) -> Result<Self, EndpointError> {
        let bad_url = || EndpointError::Url { url: url.to_owned() };
        let uri: http::Uri = url.parse().map_err(|_| bad_url())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad_url()),
        };
        let authority = uri.authority().ok_or_else(bad_url)?;
        if uri.query().is_some() || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(bad_url());
        }
        let default_port = if tls { 443 } else { 80 };
        let port = match authority.port() {
            Some(port) => port.as_str().parse().map_err(|_| bad_url())?,
            None => default_port,
        };
        let shown = authority.host();
        let host = shown.trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = if port == default_port { shown.to_owned() } else { format!("{shown}:{port}") };

        let given = uri.path().trim_end_matches('/');
        let prefix = match (given, uri_path) {
            ("", Some(path)) => path,
            _ => given,
        };
        let path = if prefix.ends_with(API) { prefix.to_owned() } else { format!("{prefix}{API}") };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
        if path.len() > 128 || path.contains("//") || !path.starts_with('/') || !path.bytes().all(allowed) {
            return Err(EndpointError::Path { path });
        }
        Ok(Self { tls, host, port, authority, uri_path: path })
    }

    /// Whether to speak TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the signed `host` header; the scheme's default port is left out.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `[/PREFIX]/kms/xks/v1`.
    pub fn uri_path(&self) -> &str {
        &self.uri_path
    }

    /// Whether the host is this machine by its name: `localhost`, names below it, 127.0.0.0/8 or ::1.
    pub fn is_loopback(&self) -> bool {
        let name = self.host.to_ascii_lowercase();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_end_before_or_after_the_fixed_part_of_the_path() {
        for url in ["https://localhost:8443/a/b", "https://localhost:8443/a/b/kms/xks/v1/"] {
            let endpoint = Endpoint::parse(url, Some("/ignored/kms/xks/v1")).unwrap();
            assert_eq!(endpoint.uri_path(), "/a/b/kms/xks/v1");
            assert_eq!(endpoint.authority(), "localhost:8443");
            assert!(endpoint.is_loopback() && endpoint.tls());
        }
        let endpoint = Endpoint::parse("https://xks.example.com", Some("/p/kms/xks/v1")).unwrap();
        assert_eq!((endpoint.uri_path(), endpoint.authority()), ("/p/kms/xks/v1", "xks.example.com"));
        assert_eq!(endpoint.port(), 443);
        assert!(!endpoint.is_loopback());
        assert_eq!(Endpoint::parse("http://[::1]:80", None).unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_key_store_address_is_refused() {
        for url in
            ["localhost:1", "ftp://localhost", "https://localhost/a?b", "https://u@localhost", "https:///a"]
        {
            assert!(Endpoint::parse(url, None).is_err(), "{url}");
        }
        for url in ["https://localhost/a//b", "https://localhost/a%2fb", "https://localhost/a.b"] {
            assert!(matches!(Endpoint::parse(url, None), Err(EndpointError::Path { .. })), "{url}");
        }
    }
}
