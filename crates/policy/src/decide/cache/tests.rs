use std::sync::Arc;

use holdfast_gate::query::{Decision, Effect};

use crate::decide::cache::{DecisionCache, ENTRY_OVERHEAD};
use crate::policy::PolicyMetrics;

fn decision(rule: &str) -> Arc<Decision> {
    Arc::new(Decision {
        effect: Effect::Allow,
        rules: vec![rule.to_owned()],
        errors: Vec::new(),
        message: None,
    })
}

fn key(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

fn metrics(cache: &DecisionCache) -> PolicyMetrics {
    let mut metrics = PolicyMetrics::default();
    cache.measure(&mut metrics);
    metrics
}

#[test]
fn a_decision_comes_back_by_its_key_only() {
    let cache = DecisionCache::new(1 << 20);
    assert_eq!(cache.get(b"a"), None);
    cache.put(b"a".to_vec(), decision("one"));
    assert_eq!(cache.get(b"a"), Some(decision("one")));
    assert_eq!(cache.get(b"b"), None);
    let metrics = metrics(&cache);
    assert_eq!((metrics.hits, metrics.misses, metrics.entries, metrics.evictions), (1, 2, 1, 0));
}

#[test]
fn memory_stays_bounded_and_used_decisions_stay() {
    let bytes = 200 * ENTRY_OVERHEAD;
    let cache = DecisionCache::new(bytes);
    cache.put(key(u32::MAX), decision("used"));
    for number in 0..10_000 {
        cache.put(key(number), decision("once"));
        assert!(cache.get(&key(u32::MAX)).is_some(), "after {number} others");
        assert!(metrics(&cache).bytes <= bytes as u64);
    }
    let metrics = metrics(&cache);
    assert!(metrics.entries < 200, "{metrics:?}");
    assert_eq!(metrics.evictions + metrics.entries, 10_001, "{metrics:?}");
    assert_eq!(cache.get(&key(0)), None);
}

#[test]
fn bytes_are_those_of_the_entries_after_any_sequence() {
    let cache = DecisionCache::new(20 * ENTRY_OVERHEAD);
    for number in 0..1000u32 {
        let number = number.wrapping_mul(2_654_435_761) % 13;
        if cache.get(&key(number)).is_none() {
            cache.put(key(number), decision("r"));
        }
        cache.put(key(number), decision("r"));
        let metrics = metrics(&cache);
        let one = (ENTRY_OVERHEAD + 4 + 1 + size_of::<String>()) as u64;
        assert_eq!(metrics.bytes, metrics.entries * one);
    }
}

#[test]
fn bytes_are_those_of_all_texts() {
    let bytes = |message: Option<String>| {
        let cache = DecisionCache::new(1 << 20);
        cache.put(key(1), Arc::new(Decision { message, ..(*decision("r")).clone() }));
        metrics(&cache).bytes
    };
    assert_eq!(bytes(Some("m".repeat(400))), bytes(None) + (400 + size_of::<String>()) as u64);
}

#[test]
fn a_decision_larger_than_a_generation_is_not_kept() {
    let cache = DecisionCache::new(1000);
    cache.put(key(1), decision("small"));
    cache.put(key(2), decision(&"x".repeat(1000)));
    assert!(cache.get(&key(1)).is_some() && cache.get(&key(2)).is_none());
}
