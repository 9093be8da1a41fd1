//! Signals to open connections after a transaction has committed. A signal may be lost: connections also ask Postgres.

use cura_domain::MessageId;
use cura_domain::answer::Fence;
use cura_live::Live;
use futures_util::future::join_all;

/// Signals the readers of these answers that no attempt writes them any more.
pub(crate) async fn publish_ends(live: &Live, answers: &[MessageId]) {
    join_all(answers.iter().map(|answer| live.end(*answer, Fence::MAX))).await;
}
