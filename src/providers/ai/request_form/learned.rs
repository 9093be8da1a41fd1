//! What a backend has been found to accept.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::UserId;
use cura_domain::prompt::Takes;
use tokio::time::Instant;

use super::limits::{Limits, Refused};
use super::parameters::{Parameter, ParametersOff};

/// After this time pictures and PDFs are tried again that were refused: a server may have another model by then.
const REFUSED_FILES_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What a backend has been found to accept, for the process. Shared by all of its requests.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    off: AtomicU8,
    no_prefill: AtomicBool,
    no_system_role: AtomicBool,
    limits: Mutex<Limits>,
    refused_files: Mutex<RefusedFiles>,
}

/// When a model refused what goes beside the text.
#[derive(Debug, Clone, Copy, Default)]
struct RefusedFiles {
    pictures: Option<Instant>,
    pdfs: Option<Instant>,
}

/// A request that was accepted, and what was taken out of it because it had been refused before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) person: Option<UserId>,
    /// The tokens of its prompt, by estimate.
    pub(super) tokens: usize,
    /// The tokens of a longer one that was refused for its length.
    pub(super) refused: Option<usize>,
    /// Whether that one was refused in a way that holds for everybody's prompts.
    pub(super) for_everybody: bool,
    /// Parameters that were refused.
    pub(super) off: ParametersOff,
    /// Whether a prefilled answer was refused.
    pub(super) no_prefill: bool,
    /// Whether the system's role was refused.
    pub(super) no_system_role: bool,
    /// The longest answer, if a longer one was refused.
    pub(super) max_output_tokens: Option<u32>,
    /// Whether pictures were refused.
    pub(super) no_pictures: bool,
    /// Whether PDFs were refused.
    pub(super) no_pdfs: bool,
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

    /// Whether the system's role was refused.
    pub(super) fn no_system_role(&self) -> bool {
        self.no_system_role.load(Ordering::Relaxed)
    }

    /// What was not refused of late.
    pub(crate) fn takes(&self) -> Takes {
        let now = Instant::now();
        let refused = self.refused_files();
        let takes =
            |at: Option<Instant>| at.is_none_or(|at| now.saturating_duration_since(at) >= REFUSED_FILES_LIFETIME);
        Takes {
            pictures: takes(refused.pictures),
            pdfs: takes(refused.pdfs),
        }
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
        let known = (self.off(), self.no_prefill(), self.no_system_role());
        self.off.fetch_or(accepted.off.bits(), Ordering::Relaxed);
        self.no_prefill.fetch_or(accepted.no_prefill, Ordering::Relaxed);
        self.no_system_role.fetch_or(accepted.no_system_role, Ordering::Relaxed);
        let learned = (self.off(), self.no_prefill(), self.no_system_role());
        if learned != known {
            let off: Vec<&str> = Parameter::ALL
                .iter()
                .filter(|name| learned.0.contains(**name))
                .map(|name| name.name())
                .collect();
            tracing::warn!(
                provider = backend,
                parameters = off.join(","),
                prefill = learned.1,
                system_role = learned.2,
                "the provider refuses a part of our requests and accepts them without it; it is left out from now on"
            );
        }
        self.refuse_files(accepted, backend);
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
        let refused = accepted.refused.map(|tokens| Refused {
            tokens,
            for_everybody: accepted.for_everybody,
        });
        limits.accepted(accepted.person, accepted.tokens, refused, now);
        if let Some(tokens) = accepted.max_output_tokens {
            limits.accepted_output(tokens, now);
        }
    }

    /// A prompt was too long, as the provider said within an answer.
    pub(super) fn too_long(&self, person: Option<UserId>, tokens: usize) {
        self.limits().too_long(person, tokens, Instant::now());
    }

    fn refuse_files(&self, accepted: &Accepted, backend: &str) {
        if !(accepted.no_pictures || accepted.no_pdfs) {
            return;
        }
        tracing::warn!(
            provider = backend,
            pictures = accepted.no_pictures,
            pdfs = accepted.no_pdfs,
            "the provider's model takes no such files; they are left out for an hour, and people are told; AI_VISION=off says so for good"
        );
        let at = Some(Instant::now());
        let mut refused = self.refused_files();
        refused.pictures = at.filter(|_| accepted.no_pictures).or(refused.pictures);
        refused.pdfs = at.filter(|_| accepted.no_pdfs).or(refused.pdfs);
    }

    fn refused_files(&self) -> MutexGuard<'_, RefusedFiles> {
        self.refused_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
