//! A PKCS#11 module that passes every call on to a real module, except as a control file commands.
//!
//! The library (`libholdfast_fault_module.so`) finds its settings in the file `MODULE.conf` beside itself, where `MODULE` is its own path:
//!
//! ```text
//! real /usr/lib/softhsm/libsofthsm2.so     the module that calls are passed on to
//! control /tmp/x/faults.control            commands, see below
//! status /tmp/x/faults.status              counters that a test maps into its memory
//! env SOFTHSM2_CONF /tmp/x/softhsm2.conf   set before the real module initialises; any number of lines
//! ```
//!
//! or, without that file, in `HOLDFAST_FAULT_REAL`, `HOLDFAST_FAULT_CONTROL` and `HOLDFAST_FAULT_STATUS`. It has the functions of PKCS#11
//! 2.40, and those of 3.0 if the real one does. [`control::Faults`] makes all these files, writes commands and reads counters.
//!
//! # The control file
//!
//! One command a line; empty lines and those that begin with `#` mean nothing. A changed file holds for the next call if
//! [`control::Faults`] changed it, within 20 ms otherwise. Rules are looked at in their order, each for calls of its functions:
//!
//! ```text
//! [@COUNTER] FUNCTIONS ACTION [WHEN]
//!
//! FUNCTIONS  C_Encrypt | C_Encrypt,C_Decrypt | *
//! ACTION     delay MILLISECONDS      then go on to the next rule, or the real module
//!            fail CKR_NAME | NUMBER  the session's operation ends in C_Encrypt, C_Decrypt, C_Digest and C_Sign
//!            garble                  go on, and flip a bit of what comes of it; C_Encrypt, C_Decrypt, C_Digest and C_Sign
//!            hang                    until the rule is gone, then go on
//!            crash abort | segfault | exit
//! WHEN       next N                  only the next N calls since the rule was made
//!            every N                 every N-th
//! COUNTER    0 to 255: which counter of the status file; else the line's number. A new `next N` needs a fresh one.
//! ```
//!
//! Only the call that is delayed or hangs waits; other threads go on. The other commands:
//!
//! | command | effect |
//! |---|---|
//! | `token removed [CKR]` | no slots; calls with a slot return CKR_TOKEN_NOT_PRESENT, with a session `CKR` or CKR_DEVICE_REMOVED; sessions are closed, logins over |
//! | `token present N` | the token was put in N times; another N closes sessions too |
//! | `sessions N` | C_OpenSession returns CKR_SESSION_COUNT when N are open, of all processes |
//! | `exclusive` | a call during another one in this process returns CKR_GENERAL_ERROR |
//! | `no-check-values` | keys have no CKA_CHECK_VALUE |
//! | `token-flags BITS` | put on the flags of C_GetTokenInfo |
//! | `iv zero`, `iv repeat` | IVs that the HSM makes are zero bytes, or the last one again; it does encrypt with them |
//! | `form iv-in-params` | C_Encrypt makes the IV and writes it to `pIv`, which must hold zero bytes before (CloudHSM, nShield) |
//! | `form iv-before` | 12 bytes of IV before the ciphertext, in C_Decrypt too; `pIv` is null; mechanism CKM_AES_GCM or 0x80001087 (CloudHSM) |
//! | `form iv-after` | 16 bytes of IV after the tag; C_Decrypt takes it by `pIv` (Luna) |
//! | `form message` | the message functions of 3.0 with CKM_AES_GCM, tag apart, on a token that has only 2.40; set it before loading |
//! | `gcm-params short` | `CK_GCM_PARAMS` must lack `ulIvBits` |
//! | `gcm-params iv-bits`, `gcm-params no-iv-bits` | `ulIvBits` must be 8 times `ulIvLen`, or 0 |
//!
//! A line that isn't understood is printed to standard error, and the rules stay as they were.

mod codes;
pub mod control;
mod entry;
mod fault;
mod functions;
mod gcm;
mod iv;
mod message;
mod module;
mod real;
mod rules;
mod session;
mod settings;
mod status;
