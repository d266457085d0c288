//! A token bucket: so many requests a second over time, so many at once after a quiet time.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Limits the authenticated requests of one key store.
pub struct RateLimiter {
    per_second: f64,
    burst: f64,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl RateLimiter {
    /// A full bucket.
    pub fn new(per_second: u32, burst: u32) -> RateLimiter {
        let bucket = Mutex::new(Bucket { tokens: burst.into(), filled: Instant::now() });
        RateLimiter { per_second: per_second.into(), burst: burst.into(), bucket }
    }

    /// Takes a token, if there is one.
    pub fn take(&self) -> bool {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * self.per_second).min(self.burst);
        bucket.filled = now;
        let taken = bucket.tokens >= 1.0;
        if taken {
            bucket.tokens -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = RateLimiter::new(10, 3);
        let start = Instant::now();
        let taken = |after_ms| limiter.take_at(start + Duration::from_millis(after_ms));
        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(100), taken(100)], [true, false]);
        assert_eq!([taken(10_000), taken(10_000), taken(10_000), taken(10_000)], [true, true, true, false]);
    }
}
