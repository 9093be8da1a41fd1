//! Signals to open connections after a transaction has committed. A signal may be lost: connections also ask Postgres.

use cura_domain::answer::Fence;
use cura_domain::{MessageId, UserId};
use cura_live::{Live, Signal};
use futures_util::future::join_all;

/// Signals the connections of `user` that their event log has an event with number `seq`.
pub(crate) async fn publish_event(live: &Live, user: UserId, seq: i64) {
    if let Err(error) = live.publish_to_user(user, Signal::Logged(seq)).await {
        tracing::debug!(%error, "an event could not be published; connections find it in the log");
    }
}

/// Signals the readers of these answers that no attempt writes them any more.
pub(crate) async fn publish_ends(live: &Live, answers: &[MessageId]) {
    join_all(answers.iter().map(|answer| live.end(*answer, Fence::MAX))).await;
}
