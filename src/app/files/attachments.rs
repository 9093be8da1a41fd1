//! The files of messages, with links.

use cura_domain::UserId;
use cura_domain::message::{Message, Role};
use cura_store::{PgConnection, StoreError, attachments};

use super::links::FileLinks;

impl FileLinks {
    /// Gives these messages of `user` their files. Asks the database once, if one of the messages may have any.
    pub(crate) async fn add_attachments(
        &self,
        connection: &mut PgConnection,
        user: UserId,
        messages: &mut [Message],
    ) -> Result<(), StoreError> {
        // An answer has none.
        let said = messages.iter().filter(|message| message.role == Role::User);
        let ids: Vec<_> = said.map(|message| message.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        for (id, file) in attachments::list(connection, user, &ids).await? {
            let of = messages.iter_mut().filter(|message| message.id == id);
            for message in of {
                message.attachments.push(self.link(file.clone()));
            }
        }
        Ok(())
    }
}
