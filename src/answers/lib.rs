//! The life of an answer, from pending to sent or error: beginning an attempt, writing, saving, finishing, cancelling.
//!
//! At most one attempt writes an answer at a time: every write carries the fence that its attempt received, and a write
//! with an old fence changes nothing. An answer becomes final exactly once, in one transaction with everything that
//! follows from it: its usage, the answers that waited for it, follow-up jobs, and its events. Only after that transaction
//! has committed are readers notified.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> pending: stored with its question and a GenerateAnswer job
//!     pending --> running: begin
//!     running --> running: begin (the next attempt, with a higher fence)
//!     running --> running: AnswerWriter take_back (the same, because what was shown was none of the answer)
//!     pending --> sent: cancel
//!     running --> sent: AnswerWriter finish / cancel
//!     running --> error: AnswerWriter finish
//!     pending --> error: fail_abandoned
//!     running --> error: fail_abandoned
//!     error --> pending: retry, for an operator
//! ```
//!
//! # Lock order
//! Every transaction locks rows in this order, several of one kind by ascending id: user, files, conversation, messages, idempotency
//! key, jobs, usage, event counter. [`Finishing`] is that order in code: it is made once the user is held, which keeps
//! an erasure from beginning, and the conversation is locked;
//! its methods lock messages and their jobs, and [`Finishing::close`] does the rest and consumes it. The function `finish_answer`
//! of the migrations is the same for an end that nobody waits for, in one statement. The rows of
//! attempts need no place in the order: only a transaction that holds the lock of a message inserts attempts of it.
//! Beginning an attempt holds the conversation first, and then locks messages, jobs and usage; saving its text locks the message alone.

mod abandon;
mod begin;
mod cancel;
mod finish;
mod finish_alone;
mod follow_ups;
mod retry;
mod save_schedule;
mod shown_text;
mod writer;

use std::sync::Arc;

use cura_domain::message::Usage;
use cura_domain::{Clock, ModelRef};
use cura_live::Live;
use cura_store::{Database, StoreError};
use thiserror::Error;

pub use begin::BeginOptions;
pub use cancel::{CancelMode, CancelOutcome, cancel_all_jobs, cancel_jobs};
pub use cura_store::answers::{AttemptStart, StartedAttempt, TakenAnswer};
pub use cura_store::attempts::Outcome;
pub use finish::{Finished, Finishing};
pub use follow_ups::{FollowUps, make_answers_ready, make_ready_after_scan};
pub use retry::{RetriedJob, RetryError, Retrying};
pub use save_schedule::SaveSchedule;
pub use shown_text::shown_text;
pub use writer::{AnswerWriter, Checkpoint};

/// What the life of an answer needs. Cheap to clone.
#[derive(Clone)]
pub struct Answers(Arc<Parts>);

struct Parts {
    database: Database,
    live: Live,
    clock: Clock,
    default_model: ModelRef,
    /// How many answers of one user may run at a time; 0 is no limit.
    running_answers: u32,
    /// Whether ends of answers are pushed.
    pushes: bool,
}

impl Answers {
    /// Puts the parts together. An attempt whose worker vanished before it saved its model counts for `default_model`; of one
    /// user, `running_answers` may run at a time (0: no limit). With `pushes`, ends of answers are pushed.
    pub fn new(
        database: Database,
        live: Live,
        clock: Clock,
        default_model: ModelRef,
        running_answers: u32,
        pushes: bool,
    ) -> Self {
        Self(Arc::new(Parts {
            database,
            live,
            clock,
            default_model,
            running_answers,
            pushes,
        }))
    }

    /// Where answers are stored.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// The texts of running answers.
    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// The clock by which answers begin and end.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }
}

/// What an attempt cost, and the model that it is billed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptCost {
    /// The model that was asked.
    pub model: ModelRef,
    /// The tokens.
    pub usage: Usage,
    /// Those of them that were spent on thoughts, if any are known.
    pub reasoning_tokens: Option<i64>,
}

/// Why a write to an answer was not done.
#[derive(Debug, Error)]
pub enum WriteError {
    /// A newer attempt writes the answer, or it is final: this attempt is over.
    #[error("a newer attempt has the answer, or it is final")]
    Superseded,
    /// The answer would become longer than [`cura_domain::answer::MAX_ANSWER_BYTES`].
    #[error("the answer is too long")]
    TooLong,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
