//! The rows of answers. At most one attempt writes an answer at a time: every write carries the fence that its attempt
//! received, and a write with an old fence, or to a final answer, changes nothing.

mod finish;
mod finish_alone;
mod list;
mod retry;
mod save;
mod start;
mod take;
mod turn;

pub use finish::{
    FinalAnswer, FinishedAnswer, LockedAnswer, UnfinishedAnswer, finish, lock_unfinished, request_cancel,
};
pub use finish_alone::{ClaimedRow, EndAlone, EndedAlone, NewRow, finish_alone};
pub use list::{list_recent, list_recent_deleted, list_running, list_stale, list_startable};
pub use retry::{AnswerToRetry, lock_to_retry, retry};
pub use save::{SavedText, checkpoint, note_attempt, restart_at, save_at_leave, take_back};
pub use start::{AttemptStart, StartedAttempt, start_attempt};
pub use take::{TakenAnswer, take};
pub use turn::{record_eligible, was_eligible};
