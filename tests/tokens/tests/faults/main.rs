//! The fault module passes calls on to SoftHSM2 and to kryoptic, and each fault does what it says.

mod calls;
mod client;
mod forms;
mod message;
mod processes;
mod tokens;
