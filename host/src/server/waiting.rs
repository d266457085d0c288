//! Requests that wait for their body. Their number is bounded, and with it the memory of bodies that come slowly; at the
//! bound the oldest that a stranger sent makes room.
//!
//! Access key ids are no secret, so anybody can send a head that passes the cheap checks, and no body. An honest body
//! comes within a round trip of its head: whoever waits longest is the least likely to be honest, and a client that
//! had a request authenticated on its connection needs to yield to none.

use super::connections::Activity;
use holdfast_gate::{ErrorName, Refusal};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Those that wait.
#[derive(Default)]
pub struct WaitingRoom {
    places: Mutex<Places>,
    /// Waits that were given up to make room, and requests that found none, since the start.
    pub given_up: AtomicU64,
}

#[derive(Default)]
struct Places {
    next: u64,
    /// By their age.
    taken: BTreeMap<u64, Waiting>,
}

struct Waiting {
    activity: Arc<Activity>,
    leave: Arc<Notify>,
}

/// Requests that wait at a time: with bodies of 64 KiB at most, 64 MiB.
const PLACES: usize = 1024;

impl WaitingRoom {
    /// What `body` gives when it has come. `activity` is the connection's.
    pub async fn body<T>(
        &self,
        activity: &Arc<Activity>,
        body: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let Some(place) = self.take(activity) else { return Err(self.no_room()) };
        let mut body = pin!(body);
        tokio::select! {
            biased;
            came = &mut body => came,
            () = place.leave.notified() => Err(self.no_room()),
        }
    }

    /// How many wait.
    pub fn taken(&self) -> usize {
        self.lock().taken.len()
    }

    fn take(&self, activity: &Arc<Activity>) -> Option<Place<'_>> {
        let mut places = self.lock();
        if places.taken.len() >= PLACES {
            let stranger = places.taken.iter().find(|(_, waiting)| waiting.activity.is_stranger());
            let oldest = stranger.map(|(id, _)| *id)?;
            if let Some(waiting) = places.taken.remove(&oldest) {
                waiting.leave.notify_one();
            }
        }
        let id = places.next;
        places.next += 1;
        let leave = Arc::new(Notify::new());
        places.taken.insert(id, Waiting { activity: activity.clone(), leave: leave.clone() });
        Some(Place { room: self, id, leave })
    }

    fn no_room(&self) -> Refusal {
        self.given_up.fetch_add(1, Ordering::Relaxed);
        Refusal::new(
            ErrorName::Throttling,
            "too many requests wait for their body, and this one has to make room; try again",
        )
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place, given back when the wait is over.
struct Place<'a> {
    room: &'a WaitingRoom,
    id: u64,
    leave: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.room.lock().taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_makes_room_and_a_known_client_never() {
        let room = WaitingRoom::default();
        let (known, stranger) = (Arc::new(Activity::new()), Arc::new(Activity::new()));
        known.is_known_now();
        let mut places: Vec<_> = (0..PLACES - 2).map(|_| room.take(&known).unwrap()).collect();
        let older = room.take(&stranger).unwrap();
        let newer = room.take(&stranger).unwrap();
        places.push(room.take(&known).unwrap());
        let still = room.lock();
        assert!(!still.taken.contains_key(&older.id) && still.taken.contains_key(&newer.id));
        drop(still);
        places.push(room.take(&known).unwrap());
        assert!(room.take(&stranger).is_none(), "only known clients wait");
        drop(places.pop());
        assert!(room.take(&stranger).is_some());
        assert_eq!(room.taken(), PLACES - 1);
    }
}
