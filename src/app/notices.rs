//! Crisis notices: the one to show beside an answer, and stored ones. A stored notice that cannot be read is reported and
//! replaced, never dropped.

use std::sync::Arc;

use cura_care::CareRules;
use cura_domain::MessageId;
use cura_domain::message::Message;
use cura_domain::notice::{Notice, StoredNotice};
use cura_store::messages::StoredMessage;

/// Decides which crisis notice is shown. Cheap to clone.
#[derive(Clone)]
pub struct Notices {
    care: Arc<CareRules>,
}

impl Notices {
    /// Decides by `care`.
    pub fn new(care: CareRules) -> Self {
        Self { care: Arc::new(care) }
    }

    /// Whether professionals have reviewed the rules.
    pub fn are_reviewed(&self) -> bool {
        self.care.is_reviewed()
    }

    /// The care rules.
    pub(crate) fn care(&self) -> &CareRules {
        &self.care
    }

    /// The message with the notice to show: the stored one, or the general one if the stored one cannot be read.
    pub(crate) fn readable(&self, message: StoredMessage) -> Message {
        let id = message.id;
        message.map_notice(|notice| self.notice_to_show(id, notice))
    }

    /// [`Self::readable`] for each of `messages`.
    pub(crate) fn all_readable(&self, messages: Vec<StoredMessage>) -> Vec<Message> {
        messages.into_iter().map(|message| self.readable(message)).collect()
    }

    fn notice_to_show(&self, id: MessageId, notice: StoredNotice) -> Notice {
        match notice {
            StoredNotice::Readable(notice) => notice,
            StoredNotice::Unreadable => {
                tracing::error!(message_id = %id, "stored crisis notice cannot be read; showing the general notice");
                self.care.general_notice().clone()
            }
        }
    }
}
