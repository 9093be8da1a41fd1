//! What people can do: one module a use case. A use case opens the transaction, locks what is owned, applies a rule of
//! the domain, writes, enqueues, commits; then it announces.

pub mod accounts;
pub mod budget;
pub mod chat;
pub mod conversations;
pub mod export;
pub mod follow;
pub mod health;
mod notices;
pub mod passwords;
pub mod profile;
pub mod session_watch;
pub mod sessions;
mod stopping;
pub mod tokens;
pub mod user_feed;

use std::path::PathBuf;
use std::sync::Arc;

use budget::Allowance;
use chrono::{DateTime, Utc};
use cura_care::CareRules;
use cura_domain::{Clock, Entropy, UserId};
use cura_live::{Live, Signal};
use cura_providers::ai::Ai;
use cura_store::{Database, PgConnection};

/// Rate limits, counted where the streams are.
pub mod limits {
    pub use cura_live::{Limit, RateDecision, RateLimiter};
}

pub use accounts::Caller;
pub use cura_store::StoreError;
use health::AiProbe;
use passwords::Passwords;
use session_watch::SessionWatch;
use tokens::Tokens;

/// Everything a use case needs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What [`App`] is made of; the composition root decides.
pub struct Parts {
    /// Truth.
    pub database: Database,
    /// The texts of running answers.
    pub live: Live,
    /// Who answers; asked here only whether it is there.
    pub ai: Ai,
    /// The time.
    pub clock: Clock,
    /// Randomness fit for secrets.
    pub entropy: Entropy,
    /// Access tokens.
    pub tokens: Tokens,
    /// Password hashes.
    pub passwords: Passwords,
    /// Where files are kept; asked here only whether there is room.
    pub data_dir: PathBuf,
    /// What is known of the AI service.
    pub ai_probe: AiProbe,
    /// The sessions with open streams here.
    pub session_watch: SessionWatch,
    /// What answers may cost.
    pub allowance: Allowance,
    /// What is said beside an answer when a question points to danger.
    pub care: Arc<CareRules>,
}

impl App {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// Randomness fit for secrets.
    pub fn entropy(&self) -> &Entropy {
        &self.0.entropy
    }

    /// What is said beside an answer when a question points to danger.
    pub fn care(&self) -> &CareRules {
        &self.0.care
    }

    /// Tells the connections of `user` that the log has an event with this number. Whoever misses it finds out at the next
    /// look at the log.
    async fn announce(&self, user: UserId, seq: i64) {
        if let Err(error) = self.0.live.publish_to_user(user, Signal::Logged(seq)).await {
            tracing::debug!(%error, "an event could not be announced");
        }
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

/// A page of a list and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<T, P> {
    /// At most as many as asked for.
    pub items: Vec<T>,
    /// The position after the last item, when there is more.
    pub next: Option<P>,
    /// How many there are in all.
    pub total: i64,
}

impl<T, P> Page<T, P> {
    /// Makes a page of `items`, which were fetched with one more than `limit` to see whether there is more.
    fn cut(mut items: Vec<T>, limit: u32, total: i64, position: impl Fn(&T) -> P) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(position);
        Self { items, next, total }
    }
}

/// `now` as Postgres keeps it: whole microseconds, so that what is answered at once equals what is read later.
fn stamp(clock: &Clock) -> chrono::DateTime<chrono::Utc> {
    use chrono::SubsecRound;
    clock.now().trunc_subsecs(6)
}
