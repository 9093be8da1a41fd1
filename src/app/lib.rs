//! The use cases: what users can do, one module for each noun.
//!
//! A use case opens a transaction, locks what the user owns, applies a rule of the domain, writes, enqueues jobs and
//! commits. Only after that does it publish to open connections.

pub mod accounts;
pub mod announcements;
pub mod auth_tokens;
mod caller;
pub mod chat;
pub mod conversations;
mod derived_key;
pub mod devices;
mod erasure;
pub mod exports;
pub mod feed;
pub mod files;
pub mod health;
pub mod log_key;
pub mod messages;
mod notices;
pub mod operate;
pub mod operator_changes;
mod page;
pub mod passwords;
pub mod profile;
pub mod session_cache;
pub mod session_watch;
pub mod sessions;
pub mod sign_in_guard;
mod still_signed_in;
pub mod switches;

use std::ops::Deref;
use std::sync::Arc;

use accounts::Accounts;
use announcements::Announcements;
use chat::Chat;
use conversations::Conversations;
use cura_domain::{Clock, Entropy};
use devices::Devices;
use exports::Exports;
use feed::Feed;
use files::{Avatars, Files};
use health::Health;
use messages::Messages;
use operate::page_sessions::PageSessions;
use operator_changes::OperatorChanges;
use profile::Profile;
use session_watch::SessionWatch;
use sessions::Sessions;
use switches::Switches;

/// Rate limits, which are counted where `live` is.
pub mod limits {
    pub use cura_live::{Limit, RateDecision, RateLimiter};
}

pub use caller::Caller;
pub use cura_store::StoreError;
pub use derived_key::SecretKeys;
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
    /// Asking for answers and cancelling them.
    pub chat: Chat,
    /// Reading messages.
    pub messages: Messages,
    /// Following answers and users.
    pub feed: Feed,
    /// Devices that pushes go to.
    pub devices: Devices,
    /// Files that users upload.
    pub files: Files,
    /// Pictures of users.
    pub avatars: Avatars,
    /// Archives of all data of a user.
    pub exports: Exports,
    /// Probes of the dependencies.
    pub health: Health,
    /// The time.
    pub clock: Clock,
    /// Cryptographic randomness.
    pub entropy: Entropy,
    /// Crisis notices.
    pub notices: Notices,
    /// What operators have switched off.
    pub switches: Switches,
    /// What operators tell everybody.
    pub announcements: Announcements,
    /// Signing in to the operators' page.
    pub page_sessions: PageSessions,
    /// How the server learns of what operators switch and announce.
    pub operator_changes: OperatorChanges,
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
}
