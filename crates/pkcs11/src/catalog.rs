//! The keys of a fleet: which versions there are, on which HSMs, and what they may do.

use crate::module::KeyAttributes;
use crate::settings::KeySettings;
use crate::uses::{Counter, Uses};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// ciphertextMetadata: this format, then the version's number in 4 bytes, big-endian. 1 is the sealed keystore's.
const FORMAT: u8 = 2;

/// The ciphertextMetadata that names a version.
pub(crate) fn metadata_of(version: u32) -> [u8; 5] {
    let [a, b, c, d] = version.to_be_bytes();
    [FORMAT, a, b, c, d]
}

/// The version that ciphertextMetadata names, if it is ours.
pub(crate) fn version_in(metadata: &[u8]) -> Option<u32> {
    match *metadata {
        [FORMAT, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// A version of a key.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) number: u32,
    /// Its CKA_LABEL.
    pub(crate) label: Arc<str>,
    /// A bit for each HSM that has it.
    pub(crate) on: u16,
    /// A bit for each HSM that has another key under this label than there was before.
    pub(crate) replaced: u16,
    /// CKA_CHECK_VALUE; empty where no HSM tells.
    pub(crate) check_value: Arc<[u8]>,
    /// Whether the HSMs have different keys under this label, by their check values.
    pub(crate) differs: bool,
    pub(crate) encrypt: bool,
    pub(crate) decrypt: bool,
    pub(crate) retired: bool,
    start_date: u32,
    end_date: u32,
    pub(crate) counter: Arc<Counter>,
}

impl Version {
    /// Whether CKA_START_DATE has come, and CKA_END_DATE hasn't passed. `today` is as `YYYYMMDD`.
    pub(crate) fn is_in_force(&self, today: u32) -> bool {
        (self.start_date == 0 || self.start_date <= today) && !self.has_ended(today)
    }

    /// Whether CKA_END_DATE has passed.
    pub(crate) fn has_ended(&self, today: u32) -> bool {
        self.end_date != 0 && self.end_date < today
    }
}

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// In ascending order.
    pub(crate) versions: Vec<Version>,
    pub(crate) disabled: bool,
    /// Those that may encrypt but for their dates, by their place in `versions`.
    eligible: Vec<usize>,
}

impl Key {
    /// The version that encrypts: the newest that is in force.
    pub(crate) fn encrypting(&self, today: u32) -> Option<&Version> {
        let eligible = self.eligible.iter().rev().filter_map(|index| self.versions.get(*index));
        eligible.into_iter().find(|version| version.is_in_force(today))
    }

    /// Whether a version would encrypt, but for its dates.
    pub(crate) fn is_out_of_dates(&self, today: u32) -> bool {
        !self.eligible.is_empty() && self.encrypting(today).is_none()
    }

    pub(crate) fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The HSM at this place doesn't serve a version, by its place in `versions`. Where it has another key, nobody encrypts with it.
    pub(crate) fn leave_out(&mut self, version: usize, hsm: usize, differs: bool) {
        self.versions[version].on &= !(1 << hsm);
        self.eligible.retain(|eligible| !differs || *eligible != version);
    }

    /// Whether anything decrypts.
    pub(crate) fn decrypts(&self) -> bool {
        self.versions.iter().any(|version| version.decrypt)
    }
}

/// What was found under a label.
struct Found {
    on: u16,
    replaced: u16,
    merged: KeyAttributes,
    differs: bool,
}

impl Found {
    /// `bound`: the check value that the label's key had before.
    fn first(key: &KeyAttributes, bound: Option<&(Arc<[u8]>, u16)>) -> Found {
        let check_value = bound.map_or_else(|| key.check_value.clone(), |(bound, _)| bound.to_vec());
        Found { on: 0, replaced: 0, merged: KeyAttributes { check_value, ..key.clone() }, differs: false }
    }
}

/// The check values of keys by their labels, since each was found first, and a bit for each HSM that had it.
pub(crate) type Bound = HashMap<Arc<str>, (Arc<[u8]>, u16)>;

/// Whether two HSMs have the same key under a label, as one opened what the other made; and in which connection of each. By label and
/// the two HSMs' places.
pub(crate) type Compared = HashMap<(Arc<str>, usize, usize), (u64, u64, bool)>;

/// All keys.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) keys: HashMap<String, Key>,
    /// Whether any HSM has been listed yet.
    pub(crate) is_known: bool,
}

/// A label as a name and a version: `name`, `name#2`, ...
pub(crate) fn split_label(label: &str) -> (&str, u32) {
    let version = label.rsplit_once('#').and_then(|(name, number)| {
        let is_number = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = number.parse().ok().filter(|number| is_number && *number >= 2)?;
        Some((name, number))
    });
    version.unwrap_or((label, 1))
}

/// Whether a label is, in any version, one that requests can't name.
fn is_hidden(label: &str, hidden: &[String]) -> bool {
    let (name, _) = split_label(label);
    hidden.iter().any(|hidden| hidden == label || hidden == name)
}

/// The label of a version.
pub(crate) fn label_of(name: &str, version: u32) -> String {
    if version == 1 { name.to_owned() } else { format!("{name}#{version}") }
}

pub(crate) fn is_key_id(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

impl Catalog {
    /// From what each HSM listed; none for one that hasn't been reached yet. `bound`: the check values that keys had before, by label.
    pub(crate) fn build(
        listings: &[Option<Arc<Vec<KeyAttributes>>>],
        settings: Option<&BTreeMap<String, KeySettings>>,
        hidden: &[String],
        bound: &Bound,
        uses: &Uses,
    ) -> Catalog {
        let mut by_label: BTreeMap<&str, Found> = BTreeMap::new();
        let (mut known, mut holding) = (0, 0);
        for (index, listing) in listings.iter().enumerate() {
            let Some(listing) = listing else { continue };
            known |= 1 << index;
            for key in listing.iter().filter(|key| !is_hidden(&key.label, hidden)) {
                let found = by_label
                    .entry(&key.label)
                    .or_insert_with(|| Found::first(key, bound.get(key.label.as_str())));
                let Found { on, replaced, merged, differs } = found;
                holding |= 1 << index;
                if listing.iter().filter(|other| other.label == key.label).count() > 1 {
                    // Nobody can say which of them is meant: the HSM has none.
                    continue;
                }
                let had = bound.get(key.label.as_str()).is_some_and(|(_, had)| had & (1 << index) != 0);
                if had && !merged.may_be(key) {
                    *replaced |= 1 << index;
                    continue;
                }
                *on |= 1 << index;
                *differs |= !merged.may_be(key);
                if merged.check_value.is_empty() {
                    merged.check_value.clone_from(&key.check_value);
                }
                // What one HSM forbids is forbidden: the key is the same.
                merged.encrypt &= key.encrypt;
                merged.decrypt &= key.decrypt;
                merged.start_date = merged.start_date.max(key.start_date);
                merged.end_date = match (merged.end_date, key.end_date) {
                    (0, date) | (date, 0) => date,
                    (one, other) => one.min(other),
                };
            }
        }
        let mut versions: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
        for label in by_label.keys() {
            let (name, number) = split_label(label);
            versions.entry(name).or_default().push((number, label));
        }
        let default = KeySettings::default();
        let named: Vec<(&str, &str, &KeySettings)> = match settings {
            Some(settings) => settings
                .iter()
                .map(|(id, key)| (id.as_str(), key.label.as_deref().unwrap_or(id), key))
                .collect(),
            None => {
                versions.keys().filter(|name| is_key_id(name)).map(|name| (*name, *name, &default)).collect()
            }
        };
        let mut keys = HashMap::new();
        for (id, name, key) in named {
            let Some(numbers) = versions.get(name) else { continue };
            let version = |(number, label): &(u32, &str)| {
                let Found { on, replaced, merged: attributes, differs } = by_label.get(label)?;
                Some(Version {
                    number: *number,
                    label: Arc::from(*label),
                    on: *on,
                    replaced: *replaced,
                    check_value: match differs {
                        // Nobody can say which of them is meant.
                        true => Arc::from([].as_slice()),
                        false => Arc::from(attributes.check_value.as_slice()),
                    },
                    differs: *differs,
                    encrypt: attributes.encrypt,
                    decrypt: attributes.decrypt,
                    retired: key.retired.contains(number),
                    start_date: attributes.start_date,
                    end_date: attributes.end_date,
                    counter: uses.counter(label),
                })
            };
            let mut versions: Vec<Version> = numbers.iter().filter_map(version).collect();
            versions.sort_by_key(|version| version.number);
            // A version that some HSM lacks would make ciphertexts that it can't decrypt. One without any key stops nobody.
            // One that isn't the same key everywhere would make ciphertexts that the others can't decrypt.
            let may_encrypt = |version: &Version| {
                version.on == holding && version.encrypt && !version.retired && !version.differs
            };
            let eligible = (0..versions.len()).filter(|index| may_encrypt(&versions[*index])).collect();
            keys.insert(id.to_owned(), Key { versions, disabled: key.disabled, eligible });
        }
        Catalog { keys, is_known: known != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: u32 = 20_260_615;

    fn key(label: &str) -> KeyAttributes {
        KeyAttributes { label: label.into(), encrypt: true, decrypt: true, ..KeyAttributes::default() }
    }

    fn build(
        listings: &[Option<Vec<KeyAttributes>>],
        settings: Option<&BTreeMap<String, KeySettings>>,
    ) -> Catalog {
        let folder = tempfile::tempdir().unwrap();
        let uses = Uses::open(folder.path().join("uses"), 1, 2);
        let listings: Vec<_> = listings.iter().map(|listing| listing.clone().map(Arc::new)).collect();
        Catalog::build(&listings, settings, &["health".to_owned()], &Bound::new(), &uses)
    }

    #[test]
    fn labels_name_versions() {
        assert_eq!(split_label("a"), ("a", 1));
        assert_eq!(split_label("a#2"), ("a", 2));
        for odd in ["a#1", "a#02", "a#", "a#x", "a#99999999999"] {
            assert_eq!(split_label(odd), (odd, 1), "{odd}");
        }
        assert_eq!((label_of("a", 1), label_of("a", 7)), ("a".into(), "a#7".into()));
    }

    #[test]
    fn what_is_hidden_is_hidden_in_all_its_versions() {
        let catalog = build(&[Some(vec![key("health"), key("health#2"), key("a")])], None);
        assert_eq!(catalog.keys.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn metadata_names_a_version_and_is_not_the_keystores() {
        assert_eq!(metadata_of(0x0102), [2, 0, 0, 1, 2]);
        assert_eq!(version_in(&metadata_of(77)), Some(77));
        assert_eq!(version_in(&[1, 0, 0, 0, 1]), None);
        assert_eq!(version_in(&[2, 0, 0, 0]), None);
        assert_eq!(version_in(&[]), None);
    }

    #[test]
    fn the_newest_version_that_every_reached_hsm_has_encrypts() {
        let old = vec![key("a")];
        let new = vec![key("a"), key("a#2")];
        let encrypting = |catalog: &Catalog| catalog.keys["a"].encrypting(TODAY).unwrap().number;
        assert_eq!(encrypting(&build(&[Some(new.clone()), Some(old)], None)), 1);
        assert_eq!(encrypting(&build(&[Some(new.clone()), Some(new.clone())], None)), 2);
        assert_eq!(encrypting(&build(&[Some(new.clone()), None], None)), 2);
    }

    #[test]
    fn an_hsm_without_any_key_leaves_them_to_the_others() {
        let empty = Some(vec![key("health")]);
        let catalog = build(&[Some(vec![key("a")]), empty, Some(vec![key("a"), key("a#2")])], None);
        let encrypting = catalog.keys["a"].encrypting(TODAY).unwrap();
        assert_eq!((encrypting.number, encrypting.on), (1, 0b101));
        let catalog = build(&[Some(vec![key("a"), key("b")]), Some(vec![key("b")])], None);
        assert!(catalog.keys["a"].encrypting(TODAY).is_none());
    }

    #[test]
    fn a_retired_version_still_decrypts() {
        let retired = KeySettings { retired: vec![2], ..KeySettings::default() };
        let settings = BTreeMap::from([("a".to_owned(), retired)]);
        let catalog = build(&[Some(vec![key("a"), key("a#2")])], Some(&settings));
        assert_eq!(catalog.keys["a"].encrypting(TODAY).unwrap().number, 1);
        assert!(catalog.keys["a"].version(2).unwrap().decrypt);
    }

    #[test]
    fn only_the_named_keys_are_there_and_the_test_key_never_is() {
        let listing = vec![key("a"), key("b"), key("health"), key("not a key id")];
        let all = build(&[Some(listing.clone())], None);
        let mut ids: Vec<_> = all.keys.keys().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b"]);
        let named = KeySettings { label: Some("not a key id".into()), ..KeySettings::default() };
        let settings = BTreeMap::from([("x".to_owned(), named)]);
        let some = build(&[Some(listing)], Some(&settings));
        assert_eq!(some.keys.keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn a_label_that_is_there_twice_is_no_key_and_the_others_serve() {
        let catalog = build(&[Some(vec![key("a"), key("a"), key("b")])], None);
        assert_eq!(catalog.keys["a"].version(1).unwrap().on, 0);
        assert!(catalog.keys["a"].encrypting(TODAY).is_none());
        assert!(catalog.keys["b"].encrypting(TODAY).is_some());
        // Where another HSM has it once, that one decrypts, and nobody encrypts.
        let catalog = build(&[Some(vec![key("a"), key("a")]), Some(vec![key("a")])], None);
        assert_eq!(catalog.keys["a"].version(1).unwrap().on, 0b10);
        assert!(catalog.keys["a"].encrypting(TODAY).is_none());
    }

    #[test]
    fn a_label_is_one_key_on_all_hsms_or_encrypts_nothing() {
        let of = |label: &str, check: &[u8]| KeyAttributes { check_value: check.to_vec(), ..key(label) };
        let encrypts = |one: &[u8], other: &[u8]| {
            let listings =
                [Some(vec![of("a", b"xyz"), of("a#2", one)]), Some(vec![of("a", b"xyz"), of("a#2", other)])];
            build(&listings, None).keys["a"].encrypting(TODAY).map(|version| version.number)
        };
        assert_eq!(encrypts(b"abc", b"abc"), Some(2));
        assert_eq!(encrypts(b"abc", b"abd"), Some(1));
        assert_eq!(encrypts(b"abc", b""), Some(2), "one that doesn't tell is believed");
        let three = [Some(vec![of("a", b"abc")]), Some(vec![of("a", b"")]), Some(vec![of("a", b"abd")])];
        assert!(build(&three, None).keys["a"].version(1).unwrap().differs);
    }

    #[test]
    fn a_label_that_was_given_to_another_key_is_not_used_where_that_is_so() {
        let of = |check: &[u8]| KeyAttributes { check_value: check.to_vec(), ..key("a") };
        let folder = tempfile::tempdir().unwrap();
        let uses = Uses::open(folder.path().join("uses"), 1, 2);
        let bound = Bound::from([(Arc::from("a"), (Arc::from(b"abc".as_slice()), 0b1))]);
        let build = |listings: &[&[u8]]| {
            let listings: Vec<_> = listings.iter().map(|check| Some(Arc::new(vec![of(check)]))).collect();
            let catalog = Catalog::build(&listings, None, &[], &bound, &uses);
            let version = catalog.keys["a"].version(1).unwrap();
            (version.on, version.replaced, catalog.keys["a"].encrypting(TODAY).is_some())
        };
        assert_eq!(build(&[b"abc"]), (0b1, 0, true));
        assert_eq!(build(&[b"xyz"]), (0, 0b1, false));
        assert_eq!(build(&[b"xyz", b"abc"]), (0b10, 0b1, false));
        assert_eq!(build(&[b"abc", b"xyz"]), (0b11, 0, false), "this one never had it: the HSMs differ");
        assert_eq!(build(&[b"abc", b""]), (0b11, 0, true), "one that doesn't tell is believed");
    }

    #[test]
    fn the_newest_version_that_has_begun_and_not_ended_encrypts() {
        let dated =
            |label: &str, start, end| KeyAttributes { start_date: start, end_date: end, ..key(label) };
        let number = |listing: Vec<KeyAttributes>| {
            build(&[Some(listing)], None).keys["a"].encrypting(TODAY).map(|version| version.number)
        };
        assert_eq!(number(vec![key("a"), dated("a#2", TODAY + 1, 0)]), Some(1));
        assert_eq!(number(vec![key("a"), dated("a#2", TODAY, 0)]), Some(2));
        assert_eq!(number(vec![key("a"), dated("a#2", 0, TODAY - 1)]), Some(1));
        assert_eq!(number(vec![dated("a", 0, TODAY - 1)]), None);
        assert!(build(&[Some(vec![dated("a", 0, TODAY - 1)])], None).keys["a"].is_out_of_dates(TODAY));
    }

    #[test]
    fn dates_bound_a_versions_use() {
        let dated = KeyAttributes { start_date: 20_260_101, end_date: 20_261_231, ..key("a") };
        let catalog = build(&[Some(vec![dated])], None);
        let version = catalog.keys["a"].version(1).unwrap();
        assert!(version.is_in_force(20_260_101) && version.is_in_force(20_261_231));
        assert!(!version.is_in_force(20_251_231) && !version.is_in_force(20_270_101));
    }
}
