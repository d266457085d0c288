//! `[hsm.quirks]`: in what an HSM differs.

use holdfast_pkcs11::{GcmParameters, IvSource, Quirks, TagPlace};

use super::reader::Section;

/// Reads it; what is missing is as usual.
pub fn quirks(section: Section<'_>) -> Option<Quirks> {
    let usual = Quirks::default();
    let iv = section.get("iv").map_or(Some(usual.iv), |entry| {
        entry.choice(&[
            ("host", IvSource::Host),
            ("message", IvSource::Message),
            ("parameters", IvSource::Parameters),
            ("prepended", IvSource::Prepended),
            ("appended", IvSource::Appended),
        ])
    });
    let parameters = section.get("gcm_parameters").map_or(Some(usual.parameters), |entry| {
        entry.choice(&[
            ("standard", GcmParameters::Standard),
            ("iv-bits-zero", GcmParameters::IvBitsZero),
            ("without-iv-bits", GcmParameters::WithoutIvBits),
        ])
    });
    let tag = section.get("tag").map_or(Some(usual.tag), |entry| {
        entry.choice(&[("appended", TagPlace::Appended), ("apart", TagPlace::Apart)])
    });
    let mechanism = section
        .get("mechanism")
        .map_or(Some(usual.mechanism), |entry| entry.integer(0..=u64::from(u32::MAX)));
    let thread_safe = section.get("thread_safe").map_or(Some(usual.thread_safe), |entry| entry.boolean());
    section.finish();
    Some(Quirks {
        iv: iv?,
        parameters: parameters?,
        tag: tag?,
        mechanism: mechanism?,
        thread_safe: thread_safe?,
    })
}
