//! The others: services outside Cura that it depends on but does not trust to be up, fast or honest.

pub mod ai;

/// A key or password. `Debug` is masked and the memory is wiped when it is dropped.
pub use secrecy::SecretString as Secret;
