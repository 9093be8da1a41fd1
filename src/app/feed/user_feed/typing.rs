//! In which conversations the user types on another connection.

use std::time::Duration;

use cura_domain::ConversationId;
use tokio::time::Instant;

/// How long a user is considered typing after the last typing signal.
const TYPING: Duration = Duration::from_secs(6);

/// The conversations in which the user types on another connection, and when each of them expires.
#[derive(Default)]
pub(super) struct Typing(Vec<(ConversationId, Instant)>);

impl Typing {
    /// Records a typing signal.
    pub(super) fn set(&mut self, conversation: ConversationId, is_typing: bool) {
        self.0.retain(|(typed, _)| *typed != conversation);
        if is_typing {
            self.0.push((conversation, Instant::now() + TYPING));
        }
    }

    /// When [`Self::expire`] has something to remove next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.0.iter().map(|(_, until)| *until).min()
    }

    /// Removes and returns the conversations in which the user has stopped typing without saying so.
    pub(super) fn expire(&mut self) -> Vec<ConversationId> {
        let now = Instant::now();
        let expired = self.0.extract_if(.., |(_, until)| *until <= now);
        expired.map(|(conversation, _)| conversation).collect()
    }
}
