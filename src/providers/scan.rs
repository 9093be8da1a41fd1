//! Looking into files that people send. Whatever their bytes are: no panic, no endless loop, no memory by a number that they claim.

mod detect;

pub use detect::{MAX_DOCUMENT_READ, detect};
