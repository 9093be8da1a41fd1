//! Acts of operators: each is done in one transaction with the row that says who did it, and one that fails leaves a row as well.

use chrono::{DateTime, Utc};
use cura_domain::Clock;
use cura_domain::operator::OperatorName;
use cura_store::operator_actions::{self, NewAction};
use cura_store::{Database, PgConnection, StoreError};
use serde::Serialize;
use serde_json::{Map, Value};

pub use cura_store::operator_actions::{Action, ActionFilter};

/// By what operators act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `cura-admin`.
    Command,
    /// A page.
    Page,
}

impl Via {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Page => "page",
        }
    }
}

/// Why an act failed, as a word for programs.
pub trait OperateError: From<StoreError> {
    /// The word: snake case, and never anything that was given.
    fn code(&self) -> &'static str;
}

impl OperateError for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "database_away",
            Self::TookTooLong => "too_slow",
            Self::UserGone => "user_not_found",
            error if error.is_not_allowed() => "not_allowed",
            Self::Query(_) | Self::UnknownWord(_) => "failed",
        }
    }
}

/// What is done, for the record.
#[derive(Debug, Clone)]
pub struct Act {
    action: &'static str,
    target: Option<String>,
    arguments: Map<String, Value>,
}

impl Act {
    /// An act: the noun and the verb, as in `files.delete`.
    pub fn new(action: &'static str) -> Self {
        Self {
            action,
            target: None,
            arguments: Map::new(),
        }
    }

    /// What it is done to: an id, never an address.
    #[must_use]
    pub fn on(mut self, target: impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    /// With what it is done, or how much: never a secret, an address or a word of somebody.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.note(name, value);
        self
    }

    /// Says what it is done to once that is known.
    pub fn set_target(&mut self, target: impl ToString) {
        self.target = Some(target.to_string());
    }

    /// Adds what became known while it was done.
    pub fn note(&mut self, name: &str, value: impl Serialize) {
        // What cannot be written as JSON is no argument of any act.
        let value = serde_json::to_value(value).unwrap_or_default();
        self.arguments.insert(name.to_owned(), value);
    }
}

/// Where one operator acts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acts {
    database: Database,
    clock: Clock,
    operator: OperatorName,
    via: Via,
}

impl Acts {
    /// The acts of this operator.
    pub fn new(database: Database, clock: Clock, operator: OperatorName, via: Via) -> Self {
        Self {
            database,
            clock,
            operator,
            via,
        }
    }

    /// The time, in the precision that is stored.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now_micros()
    }

    /// The database, for what changes nothing.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Who acts.
    pub const fn operator(&self) -> &OperatorName {
        &self.operator
    }

    /// Does `work` in a transaction with the row that records it. If it fails, nothing of it happened, and a row says so.
    ///
    /// # Errors
    /// The error of `work`, or of recording it.
    pub async fn transaction<T, E: OperateError>(
        &self,
        mut act: Act,
        work: impl AsyncFnOnce(&mut PgConnection, &mut Act) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = self.database.transaction(async |connection| {
            let done = work(connection, &mut act).await?;
            self.done(connection, act.clone()).await?;
            Ok(done)
        });
        let done: Result<T, E> = done.await;
        if let Err(error) = &done {
            self.failed(act, error.code()).await;
        }
        done
    }

    /// Records, in the caller's transaction, what is done in it.
    pub async fn done(&self, connection: &mut PgConnection, act: Act) -> Result<(), StoreError> {
        self.insert(connection, act, None).await
    }

    /// Records an act that is done in transactions of its own, as schema changes are. Where that fails the log has it: the record may not
    /// exist yet.
    pub async fn record(&self, act: Act) {
        let action = act.action;
        let recorded = self
            .database
            .connection(async |connection| self.insert(connection, act, None).await);
        if let Err(error) = recorded.await {
            tracing::warn!(action, %error, "an act could not be recorded");
        }
    }

    /// Records that an act failed, in a transaction of its own. Where that fails too the log has it, unless it is for the same reason.
    pub async fn failed(&self, act: Act, code: &'static str) {
        let action = act.action;
        let recorded = self
            .database
            .connection(async |connection| self.insert(connection, act, Some(code)).await);
        match recorded.await {
            Err(error) if error.code() != code => {
                tracing::warn!(action, code, %error, "a failed act could not be recorded");
            }
            _ => {}
        }
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        act: Act,
        failure: Option<&'static str>,
    ) -> Result<(), StoreError> {
        let action = NewAction {
            operator: self.operator.as_str(),
            via: self.via.as_str(),
            action: act.action,
            target: act.target.as_deref(),
            arguments: &Value::Object(act.arguments),
            failure,
        };
        operator_actions::insert(connection, &action, self.now()).await
    }

    /// At most `limit` acts of all operators, newest first, and whether there are more.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list(&self, which: &ActionFilter, limit: u32) -> Result<(Vec<Action>, bool), StoreError> {
        let (limit, wanted) = (limit as usize, i64::from(limit) + 1);
        let listed = self
            .database
            .connection(async |connection| operator_actions::list(connection, which, wanted).await);
        let mut listed = listed.await?;
        let has_more = listed.len() > limit;
        listed.truncate(limit);
        Ok((listed, has_more))
    }
}
