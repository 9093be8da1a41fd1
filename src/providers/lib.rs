//! Services outside Cura. None of them is trusted to be up, fast or honest: every wait has a deadline, every buffer a limit.

pub mod ai;
pub mod files;
pub mod push;
pub mod scan;
mod short_answer;

/// A key or password. `Debug` is masked and the memory is wiped when it is dropped.
pub use secrecy::SecretString as Secret;
