//! The strict JSON reader: no panic, and what it takes every other reader reads the same.
#![no_main]

use holdfast_gate::body::Body;
use holdfast_gate::strict::{Value, object};
use holdfast_gate::target::{Call, Operation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(members) = object(bytes) {
        let other: serde_json::Value = serde_json::from_slice(bytes).expect("the strict reader takes less");
        let ours = Value::Object(members).to_json();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).expect("it writes JSON"), other);
    }
    for operation in [Operation::GetKeyMetadata, Operation::Encrypt, Operation::Decrypt] {
        let _ = Body::read(bytes, Call::Key { key_id: "k", operation });
    }
    let _ = Body::read(bytes, Call::Health);
});
