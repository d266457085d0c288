//! A certification authority for development and a server certificate signed by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};

/// What systems take from authorities that their owner added, and no more.
const VALIDITY: Duration = Duration::from_secs(825 * 24 * 3600);

/// PEM texts.
pub struct Certificates {
    pub authority: String,
    pub authority_key: String,
    pub server: String,
    pub server_key: String,
}

/// The certificates couldn't be made.
#[derive(Debug, thiserror::Error)]
#[error("can't make the certificates")]
pub struct CertificateError(#[from] rcgen::Error);

/// For `localhost`, the loopback addresses and `listen`. The authority can't sign for anything else, so that trusting
/// it on a machine puts no other name at risk.
pub fn make(listen: IpAddr) -> Result<Certificates, CertificateError> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    let authority_key = KeyPair::generate()?;
    let authority = authority(&addresses);
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let server_key = KeyPair::generate()?;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let server = server(&addresses)?.signed_by(&server_key, &issuer)?;
    Ok(Certificates {
        authority: authority_pem,
        authority_key: authority_key.serialize_pem(),
        server: server.pem(),
        server_key: server_key.serialize_pem(),
    })
}

fn authority(addresses: &[IpAddr]) -> CertificateParams {
    let mut params = dated();
    params.distinguished_name.push(DnType::CommonName, "Holdfast development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let address = |address: &IpAddr| {
        let whole = if address.is_ipv4() { 32 } else { 128 };
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, whole))
    };
    let mut permitted = vec![GeneralSubtree::DnsName("localhost".to_owned())];
    permitted.extend(addresses.iter().map(address));
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() });
    params
}

fn server(addresses: &[IpAddr]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated();
    params.distinguished_name.push(DnType::CommonName, "Holdfast development server");
    params.subject_alt_names = vec![SanType::DnsName("localhost".try_into()?)];
    params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn dated() -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A clock that is a little behind on the client's side should not refuse a new certificate.
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(Duration::from_secs(3600));
    params.not_after = params.not_before + VALIDITY;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}
