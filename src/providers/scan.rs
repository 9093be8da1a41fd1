//! Looking into files that people send. Whatever their bytes are: no panic, no endless loop, no memory by a number that they claim.

mod child;
mod clamd;
mod detect;
mod error;
mod health;
mod scanner;
mod verdict;

pub use child::{Death, InspectError, Inspection, Inspector, SandboxState, TIME_LIMIT};
pub use clamd::{Clamd, ClamdAddress, ClamdTimeouts, InvalidClamdAddress};
pub use detect::{MAX_DOCUMENT_READ, detect};
pub use error::ScanError;
pub use health::{CLAMD, SANDBOX, ScanHealth};
pub use scanner::Scanner;
pub use verdict::Verdict;
