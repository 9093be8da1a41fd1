//! What a backend has been found to accept.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cura_domain::UserId;
use tokio::time::Instant;

use super::limits::Limits;
use super::parameters::ParametersOff;

/// What a backend has been found to accept, for the process. Shared by all of its requests.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    off: AtomicU8,
    no_prefill: AtomicBool,
    limits: Mutex<Limits>,
}

/// A request that was accepted, and what was taken out of it because it had been refused before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) person: Option<UserId>,
    /// The tokens of its prompt, by estimate.
    pub(super) tokens: usize,
    /// The tokens of a longer one that was refused for its length.
    pub(super) refused: Option<usize>,
    /// Parameters that were refused.
    pub(super) off: ParametersOff,
    /// Whether a prefilled answer was refused.
    pub(super) no_prefill: bool,
    /// The longest answer, if a longer one was refused.
    pub(super) max_output_tokens: Option<u32>,
}

impl Learned {
    /// The parameters that were refused.
    pub(super) fn off(&self) -> ParametersOff {
        ParametersOff::from_bits(self.off.load(Ordering::Relaxed))
    }

    /// Whether a prefilled answer was refused.
    pub(super) fn no_prefill(&self) -> bool {
        self.no_prefill.load(Ordering::Relaxed)
    }

    /// The longest prompt to send for `person`, in tokens by estimate; `None` when no limit is known.
    pub(crate) fn max_prompt_tokens(&self, person: Option<UserId>) -> Option<usize> {
        self.limits().prompt(person, Instant::now())
    }

    /// The longest answer to ask for; `None` when no limit is known.
    pub(super) fn max_output_tokens(&self) -> Option<u32> {
        self.limits().output(Instant::now())
    }

    /// Remembers what a request had to do without.
    pub(super) fn accepted(&self, accepted: &Accepted, backend: &str) {
        let before = self.off.fetch_or(accepted.off.bits(), Ordering::Relaxed);
        let no_prefill_before = self.no_prefill.fetch_or(accepted.no_prefill, Ordering::Relaxed);
        if before | accepted.off.bits() != before || accepted.no_prefill && !no_prefill_before {
            tracing::warn!(
                provider = backend, stream_options = %on(self.off(), super::Parameter::StreamOptions),
                max_tokens = %on(self.off(), super::Parameter::MaxTokens),
                max_completion_tokens = %on(self.off(), super::Parameter::MaxCompletionTokens),
                prefill = if self.no_prefill() { "refused" } else { "sent" },
                "the provider refuses a part of our requests and accepts them without it; it is left out from now on"
            );
        }
        if let Some(refused) = accepted.refused {
            tracing::warn!(
                provider = backend,
                refused,
                accepted = accepted.tokens,
                "the provider refuses prompts for their length; they are shortened for a while"
            );
        }
        let now = Instant::now();
        let mut limits = self.limits();
        limits.accepted(accepted.person, accepted.tokens, accepted.refused, now);
        if let Some(tokens) = accepted.max_output_tokens {
            limits.accepted_output(tokens, now);
        }
    }

    /// A prompt was too long, as the provider said within an answer.
    pub(super) fn too_long(&self, person: Option<UserId>, tokens: usize) {
        self.limits().too_long(person, tokens, Instant::now());
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on(off: ParametersOff, parameter: super::Parameter) -> &'static str {
    if off.contains(parameter) { "off" } else { "on" }
}
