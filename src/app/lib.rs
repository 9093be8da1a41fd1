//! The use cases: what users can do, one module for each noun.
//!
//! A use case opens a transaction, locks what the user owns, applies a rule of the domain, writes, enqueues jobs and
//! commits. Only after that does it publish to open connections.

pub mod accounts;
pub mod budget;
mod caller;
pub mod chat;
pub mod conversations;
pub mod exports;
pub mod feed;
pub mod health;
pub mod messages;
mod notices;
mod page;
pub mod passwords;
pub mod profile;
mod publish;
pub mod session_watch;
pub mod sessions;
mod stopping;
pub mod tokens;

use std::ops::Deref;
use std::sync::Arc;

use accounts::Accounts;
use budget::Allowance;
use conversations::Conversations;
use cura_domain::answer::{Fence, Position};
use cura_domain::message::Message;
use cura_domain::{Clock, Entropy, MessageId, UserId};
use cura_live::Live;
use cura_providers::ai::Ai;
use cura_store::messages::StoredMessage;
use cura_store::{Database, PgConnection};
use exports::Exports;
use feed::{AnswerFollower, Feed};
use health::Health;
use messages::{MessageError, Messages};
use profile::Profile;
use session_watch::SessionWatch;
use sessions::Sessions;

/// Rate limits, which are counted where `live` is.
pub mod limits {
    pub use cura_live::{Limit, RateDecision, RateLimiter};
}

pub use caller::Caller;
pub use cura_store::StoreError;
pub use notices::Notices;
pub use page::Page;

/// All use cases. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Services>);

/// What [`App`] consists of.
pub struct Services {
    /// Registering, logging in, passwords, erasing.
    pub accounts: Accounts,
    /// Authenticating, refreshing and ending sessions; tickets.
    pub sessions: Sessions,
    /// The end of sessions with open streams.
    pub session_watch: SessionWatch,
    /// Profiles and usage.
    pub profile: Profile,
    /// Conversations.
    pub conversations: Conversations,
    /// Reading messages.
    pub messages: Messages,
    /// Following answers and users.
    pub feed: Feed,
    /// Archives of all data of a user.
    pub exports: Exports,
    /// Probes of the dependencies.
    pub health: Health,
    /// The time.
    pub clock: Clock,
    /// Cryptographic randomness.
    pub entropy: Entropy,
    /// Postgres.
    pub database: Database,
    /// The texts of running answers.
    pub live: Live,
    /// The AI provider.
    pub ai: Ai,
    /// What answers may cost.
    pub allowance: Allowance,
    /// Crisis notices.
    pub notices: Notices,
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl App {
    /// Bundles the services.
    pub fn new(services: Services) -> Self {
        Self(Arc::new(services))
    }

    async fn announce(&self, user: UserId, seq: i64) {
        self.live.publish_event(user, seq).await;
    }

    async fn message(&self, caller: Caller, id: MessageId) -> Result<Message, MessageError> {
        self.messages.get(caller, id).await
    }

    fn follow(&self, caller: Caller, answer: MessageId, position: Position) -> AnswerFollower {
        self.feed.follow(caller, answer, position)
    }

    async fn shown(&self, answer: MessageId, fence: Fence, saved: String) -> String {
        messages::shown_text(&self.live, answer, fence, saved).await
    }

    fn readable(&self, message: StoredMessage) -> Message {
        self.notices.readable(message)
    }

    async fn read<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.database.connection(work).await
    }

    async fn write<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.0.database.transaction(work).await
    }
}
