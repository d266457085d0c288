use super::inside::Next;
use super::pace::{MOST_MICROS, QUICK_MICROS, STALLED};
use super::*;
use crate::request::{Iv, Operation, Work};
use std::time::Duration;
use zeroize::Zeroizing;

const QUICK: usize = 3;
const TOOK: Duration = Duration::from_micros(20);

fn lane() -> Lane {
    let lane = Lane::new(100, QUICK);
    lane.open(16);
    lane
}

fn push(lane: &Lane, operation: Operation) {
    let work = Work {
        check_value: [].into(),
        operation,
        label: "k".into(),
        iv: Iv::zero(12),
        aad: [].into(),
        data: Arc::new(Zeroizing::new(Vec::new())),
    };
    lane.push(Call::new(work, Instant::now() + Duration::from_secs(60)), false).unwrap();
}

/// What can be begun now.
fn begin(lane: &Lane) -> Vec<(usize, u64)> {
    std::iter::from_fn(|| lane.assign()).map(|assigned| (assigned.place, assigned.generation)).collect()
}

#[test]
fn few_quick_calls_are_inside_and_one_that_ends_makes_room() {
    let lane = lane();
    (0..10).for_each(|_| push(&lane, Operation::Encrypt));
    let inside = begin(&lane);
    assert_eq!(inside.len(), QUICK);
    let (place, generation) = inside[0];
    assert!(lane.release(place, generation, TOOK).is_some());
    assert_eq!(begin(&lane).len(), 1);
}

#[test]
fn a_thread_that_was_woken_for_a_call_that_waited_makes_way_again() {
    let lane = Lane::new(100, 1);
    lane.open(3);
    (0..2).for_each(|place| lane.attach(place, lane.generation(place)));
    let next = |place| lane.next(place, lane.generation(place));
    assert!([next(0), next(1)].iter().all(|next| matches!(next, Next::Park)));
    // The first call wakes one of the two, and the third, which waits for long, the other.
    (0..3).for_each(|_| push(&lane, Operation::Encrypt));
    assert!(matches!(next(1), Next::Run(_)));
    std::thread::sleep(2 * STALLED);
    assert_eq!(lane.watch(Duration::from_secs(60)).wake.len(), 1);
    assert!(matches!(next(0), Next::Run(_)), "it waited for long");
    drop(lane.state().waiting.pop_front());
    push(&lane, Operation::Encrypt);
    assert!(matches!(next(0), Next::Park), "the other is there");
    assert!(matches!(next(1), Next::Run(_)));
}

#[test]
fn calls_that_wait_for_long_are_begun_all_the_same() {
    let lane = lane();
    (0..10).for_each(|_| push(&lane, Operation::Encrypt));
    assert_eq!(begin(&lane).len(), QUICK);
    std::thread::sleep(2 * STALLED);
    assert_eq!(begin(&lane).len(), 10 - QUICK);
}

#[test]
fn a_place_without_a_session_rests_and_is_nobody_who_is_there() {
    let lane = Lane::new(100, 1);
    lane.open(2);
    (0..2).for_each(|place| lane.attach(place, lane.generation(place)));
    let next = |place| lane.next(place, lane.generation(place));
    assert!([next(0), next(1)].iter().all(|next| matches!(next, Next::Park)));
    for _ in 0..3 {
        push(&lane, Operation::Encrypt);
        // The last that came to rest is woken first.
        let Next::Run(call) = next(1) else { panic!("there is a call") };
        lane.put_back(1, lane.generation(1), call);
        assert_eq!(lane.state().awake(), 0, "the other is idle");
        assert_eq!(lane.watch(Duration::from_secs(60)).wake.len(), 0, "it waits for no time yet");
        // The other one takes it.
        std::thread::sleep(2 * STALLED);
        assert_eq!(lane.watch(Duration::from_secs(60)).wake.len(), 1);
        assert!(matches!(next(0), Next::Run(_)));
        assert!(matches!(next(0), Next::Park));
        // Its rest is over, and there is nothing to do.
        assert!(matches!(next(1), Next::Park));
        let state = lane.state();
        assert_eq!((state.idle.len(), state.resting, state.awake()), (2, 0, 0));
    }
}

#[test]
fn places_that_are_free_are_no_queue() {
    let lane = Lane::new(1, QUICK);
    lane.open(8);
    (0..9).for_each(|_| push(&lane, Operation::Encrypt));
    assert_eq!(begin(&lane).len(), QUICK);
}

#[test]
fn slow_calls_get_all_places() {
    let (slow, verified) = (lane(), lane());
    for _ in 0..10 {
        for (lane, operation) in [(&slow, Operation::Encrypt), (&verified, Operation::EncryptVerified)] {
            push(lane, operation);
            for (place, generation) in begin(lane) {
                // Two operations in this time are quick ones.
                lane.release(place, generation, Duration::from_micros(150));
            }
        }
    }
    for lane in [&slow, &verified] {
        (0..20).for_each(|_| push(lane, Operation::Encrypt));
    }
    assert_eq!((begin(&slow).len(), begin(&verified).len()), (16, QUICK));
}

#[test]
fn a_call_that_is_held_up_once_and_calls_that_hold_each_other_up_make_no_slow_hsm() {
    let lane = lane();
    (0..3).for_each(|_| push(&lane, Operation::Encrypt));
    let inside = begin(&lane);
    for ((place, generation), took) in inside.iter().zip([TOOK, Duration::from_secs(1), TOOK]) {
        lane.release(*place, *generation, took);
    }
    (0..16).for_each(|_| push(&lane, Operation::Encrypt));
    assert_eq!(begin(&lane).len(), QUICK);
    std::thread::sleep(2 * STALLED);
    for (place, generation) in begin(&lane) {
        lane.release(place, generation, Duration::from_millis(1));
    }
    assert!(lane.service.load(Ordering::Relaxed) < QUICK_MICROS);
    // And one that is known for slow shows that it isn't, however many are inside.
    lane.service.store(MOST_MICROS, Ordering::Relaxed);
    lane.state().waiting.clear();
    (0..32).for_each(|_| push(&lane, Operation::Encrypt));
    let mut inside = begin(&lane);
    assert_eq!(inside.len(), 16 - QUICK, "and those that are still inside");
    while let Some((place, generation)) = inside.pop() {
        lane.release(place, generation, TOOK);
        inside.extend(begin(&lane));
    }
    assert!(lane.service.load(Ordering::Relaxed) < QUICK_MICROS);
}
