//! Deleting a file, whoever asks for it.

use chrono::{DateTime, Utc};
use cura_domain::event::Event;
use cura_domain::{FileId, UserId};
use cura_queue::DeleteObjects;
use cura_store::{PgConnection, StoreError, attachments, events, exports, files, users};

/// Deletes a file of `user`, once it is stored: its row is gone with the transaction, from its messages, too, and so is the archive that
/// holds it, and answers that wait for its scan are ready; a job deletes the bytes. The number of its event; `None` when there is no such file.
///
/// # Errors
/// [`StoreError::UserGone`] while the user is being erased.
pub(crate) async fn delete_file(
    connection: &mut PgConnection,
    user: UserId,
    id: FileId,
    now: DateTime<Utc>,
) -> Result<Option<i64>, StoreError> {
    users::hold(connection, user).await?.ok_or(StoreError::UserGone)?;
    // Before it goes: then nothing says which they are.
    let waiting = attachments::list_waiting_answers(connection, user, id).await?;
    if !files::delete_owned(connection, user, id).await? {
        return Ok(None);
    }
    cura_answers::make_answers_ready(connection, &waiting).await?;
    // An archive must not contain what was deleted.
    exports::delete(connection, user).await?;
    cura_queue::enqueue(connection, &DeleteObjects::of_file(id)).await?;
    Ok(Some(events::append(connection, user, &[Event::Upload(id)], now).await?))
}
