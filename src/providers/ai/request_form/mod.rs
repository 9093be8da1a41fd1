//! The form of a request: what servers disagree about. A backend begins with the form that most servers accept, takes out what
//! one refuses, and remembers for the process what was accepted then.
//!
//! - A refusal is no paid call, and each leads to one further request with less in it: at most [`MAX_REFORMS`] for a prompt.
//! - A refusal within an answer was paid for: only one further request follows, with a quarter of the prompt.
//! - Without pictures and PDFs a request is made again when they are refused, or may have been. That nobody's are taken is believed when it
//!   is said, and for an hour.
//! - A provider's words shorten the asker's own prompt. They change what everybody's requests hold only once such a request
//!   was refused and accepted without it, and no prompt below [`limits::MIN_PROMPT_TOKENS`].

mod asking;
mod learned;
mod limits;
mod parameters;

pub(crate) use asking::Asking;
pub(crate) use learned::Learned;
pub use parameters::{Parameter, ParametersOff, RequestPart};

use cura_domain::prompt::Takes;

use super::continuation::ContinuationMode;

/// How many further requests follow refusals of one prompt: one for each part that can be left out, and for shorter prompts.
const MAX_REFORMS: usize = 10;

/// What one request holds of what servers disagree about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RequestForm {
    /// Parameters that are left out.
    pub(crate) off: ParametersOff,
    /// The longest answer, in the provider's tokens.
    pub(crate) max_output_tokens: Option<u32>,
    /// How the model is asked to continue `written`.
    pub(crate) continuation: Option<ContinuationMode>,
    /// Whether the system's messages are sent as the beginning of the person's first one.
    pub(crate) system_as_user: bool,
    /// Whether pictures are left out; a line says that they are there.
    pub(crate) no_pictures: bool,
    /// Whether PDFs are left out; a line says that they are there.
    pub(crate) no_pdfs: bool,
}

impl RequestForm {
    /// What goes beside the text.
    pub(crate) const fn takes(&self) -> Takes {
        Takes {
            pictures: !self.no_pictures,
            pdfs: !self.no_pdfs,
        }
    }
}
