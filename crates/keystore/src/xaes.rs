//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>): AES-256-GCM with a 24-byte nonce that may be random for ever.
//!
//! The nonce's first 12 bytes derive the key of this message (NIST SP 800-108r1 in counter mode with AES-CMAC), its
//! last 12 are the nonce of AES-256-GCM under that key.

use zeroize::Zeroizing;

use crate::crypto::{Aes256, Cipher, KEY_LEN};

/// The cipher of the message whose nonce begins with `context`.
pub fn message_cipher(key: &[u8; KEY_LEN], context: &[u8; 12]) -> Cipher {
    let cipher = Cipher::new(key);
    // CMAC's subkey K1 (NIST SP 800-38B, 6.1): the encrypted zero block, doubled in GF(2^128).
    let mut block = Zeroizing::new([0; 16]);
    cipher.encrypt_block(&mut block);
    let encrypted_zero = Zeroizing::new(u128::from_be_bytes(*block));
    let carry = 0u128.wrapping_sub(*encrypted_zero >> 127);
    let k1 = Zeroizing::new(((*encrypted_zero << 1) ^ (carry & 0x87)).to_be_bytes());

    let mut message_key = Zeroizing::new([0; KEY_LEN]);
    for (counter, half) in (1..).zip(message_key.chunks_exact_mut(16)) {
        let mut input = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        input[4..].copy_from_slice(context);
        for ((out, input), k1) in block.iter_mut().zip(input).zip(k1.iter()) {
            *out = input ^ k1;
        }
        cipher.encrypt_block(&mut block);
        half.copy_from_slice(&*block);
    }
    Cipher::new(&message_key)
}

#[cfg(test)]
mod tests;
