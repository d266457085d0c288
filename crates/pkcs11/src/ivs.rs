//! IVs that HSMs make: none may be zero, none may come twice.

use crate::fault::Fault;
use crate::request::Iv;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How many are remembered. A generator that is stuck or begins anew repeats itself sooner.
const REMEMBERED: usize = 16_384;

#[derive(Default)]
pub(crate) struct Ivs {
    seen: Mutex<(HashSet<Iv>, VecDeque<Iv>)>,
}

impl Ivs {
    pub(crate) fn judge(&self, iv: &Iv) -> Result<(), Fault> {
        if iv.is_zero() {
            return Err(Fault::ZeroIv);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, order) = &mut *seen;
        if !set.insert(*iv) {
            return Err(Fault::RepeatedIv);
        }
        order.push_back(*iv);
        if order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            set.remove(&oldest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_and_a_repeated_iv_are_refused() {
        let ivs = Ivs::default();
        assert_eq!(ivs.judge(&Iv::zero(12)), Err(Fault::ZeroIv));
        let iv = Iv::random().unwrap();
        assert_eq!(ivs.judge(&iv), Ok(()));
        assert_eq!(ivs.judge(&Iv::random().unwrap()), Ok(()));
        assert_eq!(ivs.judge(&iv), Err(Fault::RepeatedIv));
    }

    #[test]
    fn memory_is_bounded() {
        let ivs = Ivs::default();
        for _ in 0..2 * REMEMBERED {
            ivs.judge(&Iv::random().unwrap()).unwrap();
        }
        let seen = ivs.seen.lock().unwrap();
        assert_eq!((seen.0.len(), seen.1.len()), (REMEMBERED, REMEMBERED));
    }
}
