//! The end of an answer: the answer, its conversation, and whoever waited for it. What it cost and the events come after.

use chrono::{DateTime, Utc};
use cura_domain::answer::Fence;
use cura_domain::{ConversationId, MessageId, UserId};
use cura_queue::GenerateAnswer;
use cura_store::answers::{End, Ended};
use cura_store::{PgConnection, StoreError, answers, conversations};

/// An end that was written.
pub(crate) struct WrittenEnd {
    pub(crate) ended: Ended,
    /// Whether the conversation's title is a cut of its first message.
    pub(crate) title_is_cut: bool,
}

/// Writes the end of an answer of `conversation`; `None` when it was final already, or `fence` is given and old. Then the
/// transaction is to be rolled back.
///
/// # Errors
/// When Postgres fails.
pub(crate) async fn write(
    connection: &mut PgConnection,
    conversation: ConversationId,
    id: MessageId,
    fence: Option<Fence>,
    end: &End<'_>,
    now: DateTime<Utc>,
) -> Result<Option<WrittenEnd>, StoreError> {
    // The conversation first, as everybody locks them.
    let title_is_cut = conversations::touch(connection, conversation, 0, None, now).await?;
    let Some(ended) = answers::end(connection, id, fence, end, now).await? else {
        return Ok(None);
    };
    if ended.others_wait {
        let_others_begin(connection, ended.user_id).await?;
    }
    Ok(Some(WrittenEnd { ended, title_is_cut }))
}

/// Lets answers of `user` begin that waited for one that has just become final.
async fn let_others_begin(connection: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
    let waiting = answers::list_startable(connection, user).await?;
    if waiting.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = waiting.iter().map(MessageId::to_string).collect();
    cura_queue::make_ready::<GenerateAnswer>(connection, &keys)
        .await
        .map_err(StoreError::from)
}
