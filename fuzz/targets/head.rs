//! The request target, and the claim in a head: no panic, and what is taken is what was there.
#![no_main]

use holdfast_gate::sigv4::{Claim, Headers, check_head};
use holdfast_gate::target::{API_PATH, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(path) = std::str::from_utf8(bytes)
        && let Ok(target) = Target::parse(path)
    {
        assert_eq!(format!("{}{API_PATH}{}", target.prefix, target.tail), path);
    }
    let Ok(claim) = holdfast_sigv4::claim::read(bytes) else { return };
    let claim = Claim {
        access_key_id: claim.access_key_id.into(),
        date: claim.date.into(),
        region: claim.region.into(),
        service: claim.service.into(),
        signed_headers: claim.signed_headers.into(),
        signature: claim.signature.into(),
    };
    let lines = bytes.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((
            std::str::from_utf8(&line[..colon]).ok()?,
            line[colon + 1..].strip_prefix(b" ").unwrap_or_default(),
        ))
    });
    let headers = Headers::new(fields.collect());
    let regions = [claim.region.clone()];
    let _ = check_head("POST", "/kms/xks/v1/health", &headers, &claim, 1_795_500_000, &regions, |_| Some(()));
});
