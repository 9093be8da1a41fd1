//! Why a query failed, as far as a caller can act on it.

use thiserror::Error;

/// A query failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Postgres cannot be reached, is starting or shutting down, accepts no writes, or has no free connection: a retry makes
    /// sense.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Postgres answers, but this work did not end in time: it is too much at once, or Postgres is overloaded. A job that
    /// takes it for an outage would try it for ever.
    #[error("the database did not finish in time")]
    TookTooLong,
    /// The user was erased at this moment.
    #[error("the user is gone")]
    UserGone,
    /// Anything else: a bug, or a damaged database.
    #[error("a query failed")]
    Query(#[source] sqlx::Error),
    /// A stored word is unknown to this version.
    #[error("a row holds an unknown {0}")]
    UnknownWord(&'static str),
}

impl StoreError {
    /// Whether the database user lacks a right (SQLSTATE 42501).
    pub fn is_not_allowed(&self) -> bool {
        match self {
            Self::Query(error) => error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42501"),
            _ => false,
        }
    }
}

/// Also for errors of the queue, whose statements run in the same transactions.
impl<E: Into<sqlx::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        let error = error.into();
        cura_postgres::note(&error);
        if is_statement_timeout(&error) {
            Self::TookTooLong
        } else if cura_postgres::is_unavailable(&error) {
            Self::Unavailable(error)
        } else if refers_to_missing_user(&error) {
            Self::UserGone
        } else {
            Self::Query(error)
        }
    }
}

/// Whether Postgres ended a statement because it took too long (SQLSTATE 57014).
fn is_statement_timeout(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some("57014")
}

/// Whether a row was refused because its user does not exist any more.
fn refers_to_missing_user(error: &sqlx::Error) -> bool {
    let constraint = error
        .as_database_error()
        .filter(|error| error.is_foreign_key_violation())
        .and_then(|error| error.constraint());
    constraint.is_some_and(|name| name.ends_with("user_id_fkey"))
}
