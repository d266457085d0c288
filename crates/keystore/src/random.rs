//! Where random bytes come from: the operating system, or whoever embeds this crate where there is none.

/// No random bytes could be had.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes could be had: {reason}")]
pub struct RandomError {
    /// What the source said.
    pub reason: String,
}

/// A cryptographically secure source of random bytes.
pub trait Random {
    /// Fills all of `out`, or fails.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError>;
}

impl<R: Random + ?Sized> Random for &mut R {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        (**self).fill(out)
    }
}

/// The operating system's random numbers.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

#[cfg(not(target_arch = "wasm32"))]
impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
        getrandom::fill(out).map_err(|error| RandomError { reason: error.to_string() })
    }
}

/// `N` random bytes that needn't be secret, such as a nonce.
pub(crate) fn array<const N: usize>(random: &mut (impl Random + ?Sized)) -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes)?;
    Ok(bytes)
}
