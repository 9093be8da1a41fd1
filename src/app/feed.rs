//! Feeds: reading one answer as it is generated, and everything that happens to a user.

mod answer_event;
mod answer_follower;
mod answer_state;
mod catch_up;
mod lazy_timer;
mod log_reader;
mod replay_turns;
mod sources;
mod typing_signals;
mod user_event;
mod user_feed;

use std::time::Duration;

use cura_domain::answer::Position;
use cura_domain::cursor::Cursor;
use cura_domain::message::Message;
use cura_domain::{ConversationId, Entropy, MessageId};
use cura_live::{Live, Signal};
pub use cura_live::{Liveness, Watcher};
use cura_store::{Database, StoreError, events};

pub use answer_event::AnswerEvent;
pub use answer_follower::AnswerFollower;
pub use user_event::{FeedItem, Resync, UserEvent};
pub use user_feed::UserFeed;

use crate::caller::Caller;
use crate::files::FileLinks;
use crate::notices::Notices;
use sources::Sources;

/// How often every connection compares its cursor with the event log, in case a signal was lost.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Users checked in one statement.
const BATCH: usize = 1000;

/// The use cases of feeds. Cheap to clone.
#[derive(Clone)]
pub struct Feed(Sources);

impl Feed {
    /// Puts the sources together.
    pub fn new(database: Database, live: Live, entropy: Entropy, notices: Notices, links: FileLinks) -> Self {
        Self(Sources::new(database, live, entropy, notices, links))
    }

    /// Reads an answer from `position`. The caller has checked that it is theirs.
    pub fn follow(&self, caller: Caller, answer: MessageId, position: Position) -> AnswerFollower {
        AnswerFollower::new(&self.0, caller.user, answer, position)
    }

    /// Reads an answer whose row was just read: the text up to there is ready at once, and if it is final, so is its end.
    pub fn follow_message(&self, caller: Caller, message: Message, position: Position) -> AnswerFollower {
        AnswerFollower::of_message(&self.0, caller.user, message, position)
    }

    /// All events of a final answer.
    pub fn replay(&self, caller: Caller, answer: Message) -> impl Iterator<Item = AnswerEvent> + Send + use<> {
        let mut follower = self.follow_message(caller, answer, Position::START);
        follower.take_ready().into_iter()
    }

    /// Everything that happens to the caller after `cursor`, or from now on; restricted to one conversation, and what happens in none, if
    /// one is given, of which the caller has checked that it is theirs.
    pub async fn open(
        &self,
        caller: Caller,
        only: Option<ConversationId>,
        cursor: Option<Cursor>,
    ) -> Result<UserFeed, StoreError> {
        UserFeed::open(self.0.clone(), caller.user, only, cursor).await
    }

    /// Registers a connection of the caller that looks at what happens to them: while it counts, they need no push.
    pub fn watcher(&self, caller: Caller, liveness: Liveness) -> Watcher {
        self.0.live.watcher(caller.user, liveness)
    }

    /// Publishes to the caller's other connections that they type in this conversation, or have stopped: at most once a second,
    /// and the newest state always.
    pub fn publish_typing(&self, caller: Caller, conversation: ConversationId, is_typing: bool, origin: u64) {
        let state = Signal::Typing {
            conversation,
            is_typing,
            origin,
        };
        self.0.typing.publish(caller.user, conversation, state);
    }

    /// Gives every connection of this server the number of its user's last event now and then, so a lost signal delays
    /// events by ten seconds at most. Runs until dropped, once per server.
    pub async fn run_heartbeat(self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            heartbeat.tick().await;
            for users in self.0.live.local_users().chunks(BATCH) {
                let last = self
                    .0
                    .database
                    .connection(async |connection| events::list_last(connection, users).await);
                match last.await {
                    Ok(last) => {
                        for (user, seq) in last {
                            self.0.live.publish_to_local_user(user, Signal::LastEvent(seq));
                        }
                    }
                    Err(error) => tracing::debug!(%error, "the last events of connected users could not be read"),
                }
            }
        }
    }
}
