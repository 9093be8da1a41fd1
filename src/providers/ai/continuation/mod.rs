//! Continuing an answer that was interrupted: how the model is asked, and how text that it repeats is removed.

mod mode;
mod overlap;
mod without_overlap;

pub use mode::Continuation;
pub(crate) use mode::ContinuationMode;
pub(crate) use overlap::Overlap;
pub(crate) use without_overlap::without_overlap;
