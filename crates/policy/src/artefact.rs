//! A policy as people and files have it.

pub(crate) mod cases;
pub(crate) mod format;
pub(crate) mod project;
pub(crate) mod question;
pub(crate) mod recorded;
pub(crate) mod signature;
pub(crate) mod source;

pub use cases::{Case, CaseFailure, CasesError, TestReport, effect_name, read_cases, run_cases};
pub use format::{ARTEFACT_LIMIT, Artefact, ArtefactError, Manifest, artefact_digest};
pub use project::{Project, ProjectError};
pub use question::{Question, QuestionError, parse_time};
pub use recorded::{Recorded, RecordedDecision};
pub use signature::{SIGNATURE_SUFFIX, SignatureError, TrustedKeys, signer};
pub use source::{Problem, Source};
