//! Where an HSM doesn't tell check values: what one HSM makes with a key, each other has to open before it serves that key.

use super::Inner;
use crate::catalog::{Catalog, Compared, Version};
use crate::fault::Fault;
use crate::hsm::Hsm;
use crate::module::KeyAttributes;
use crate::request::{Answer, Iv, Operation};
use crate::rv::Meaning;
use std::sync::Arc;
use zeroize::Zeroizing;

type Listings = [Option<Arc<Vec<KeyAttributes>>>];

/// What is encrypted.
const TEXT: &[u8] = b"holdfast: is it the same key?";

impl Inner {
    /// Leaves out HSMs that don't open what another made, or couldn't be asked yet, and says of which the keys differ. It asks HSMs.
    pub(super) fn compare(
        &self,
        catalog: &mut Catalog,
        listings: &Listings,
        compared: &mut Compared,
    ) -> Vec<String> {
        let mut apart = Vec::new();
        for key in catalog.keys.values_mut() {
            for place in 0..key.versions.len() {
                let version = &key.versions[place];
                let label = Arc::clone(&version.label);
                let (first, others) = self.to_compare(version, listings);
                for other in others {
                    match self.is_same(&key.versions[place], first, other, compared) {
                        Some(true) => {}
                        same => {
                            key.leave_out(place, other, same == Some(false));
                            if same == Some(false) {
                                apart.push(format!(
                                    "the HSMs have different keys with the label '{label}': {} doesn't open what {} made, so it isn't used for it, and nothing is encrypted until it is one key everywhere",
                                    self.hsms[other].name, self.hsms[first].name
                                ));
                            }
                        }
                    }
                }
            }
        }
        apart
    }

    /// The HSM whose ciphertext is opened, and those that have to open it: none where all tell check values, or nobody can be asked.
    fn to_compare(&self, version: &Version, listings: &Listings) -> (usize, Vec<usize>) {
        let holders: Vec<usize> =
            (0..self.hsms.len()).filter(|index| version.on & (1 << index) != 0).collect();
        let tells = |index: &usize| {
            let listing = listings[*index].iter().flat_map(|listing| listing.iter());
            listing.into_iter().any(|key| *key.label == *version.label && !key.check_value.is_empty())
        };
        let first = holders.iter().find(|index| self.hsms[**index].connection().is_some()).copied();
        let Some(first) = first.filter(|_| version.encrypt && version.decrypt && !version.differs) else {
            return (0, Vec::new());
        };
        let told = tells(&first);
        // One that is away serves nothing, and is looked at when it is back.
        let is_there = |index: &usize| self.hsms[*index].connection().is_some();
        let others = holders.into_iter().filter(|index| *index != first && !(told && tells(index)));
        (first, others.filter(is_there).collect())
    }

    /// Whether two HSMs have the same key; none where that can't be told now.
    fn is_same(
        &self,
        version: &Version,
        first: usize,
        other: usize,
        compared: &mut Compared,
    ) -> Option<bool> {
        let (one, two) = (&self.hsms[first], &self.hsms[other]);
        let connections = (one.connection()?, two.connection()?);
        let of = (Arc::clone(&version.label), first, other);
        if let Some((a, b, same)) = compared.get(&of)
            && (*a, *b) == connections
        {
            return Some(*same);
        }
        // Where nothing can be counted, nothing is encrypted: there is nothing to keep apart.
        if self.uses.count(&version.label, &version.counter).is_err() {
            return Some(true);
        }
        let result = made_and_opened(one, two, &version.label);
        if let Err(fault) = &result {
            tracing::warn!(label = &*version.label, one = &*one.name, other = &*two.name, %fault, "whether two HSMs have the same key can't be told yet");
        }
        let same = result.ok()?;
        compared.insert(of, (connections.0, connections.1, same));
        Some(same)
    }
}

fn made_and_opened(one: &Hsm, other: &Hsm, label: &str) -> Result<bool, Fault> {
    let iv = Iv::random().map_err(|error| Fault::Token(error.to_string()))?;
    let made = one.ask(Operation::Encrypt, label, iv, Zeroizing::new(TEXT.to_vec()))?;
    one.judge(Operation::Encrypt, iv, &made)?;
    let Answer { iv, data, .. } = made;
    match other.ask(Operation::Decrypt, label, iv, data) {
        Ok(opened) => Ok(*opened.data == TEXT),
        Err(fault) if fault.meaning() == Meaning::Altered => Ok(false),
        Err(fault) => Err(fault),
    }
}
