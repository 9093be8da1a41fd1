//! Why a program cannot use the Postgres that a setting names: one sentence for the operator, which never repeats the setting.

use std::io::ErrorKind;

use sqlx::error::DatabaseError;

use crate::check::Url;

/// What is wrong, and with which URL.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Problem {
    /// The URL that cannot be used.
    pub url: Url,
    /// Why.
    pub refusal: Refusal,
}

/// Why a connection cannot be used. Each text goes on after the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each text says what it means")]
pub enum Refusal {
    #[error("names a host that cannot be found; correct its name")]
    UnknownHost,
    #[error("names a Postgres that does not answer: nothing listens there; start it, or correct host and port")]
    NothingListens,
    #[error(
        "names a Postgres that does not answer in time, or a pooler whose Postgres does not; start it, or correct the URL"
    )]
    Silent,
    #[error("names a Postgres that closes the connection; see its log")]
    Closed,
    #[error(
        "names a Postgres with which no TLS connection can be made; correct sslmode or sslrootcert, or its certificate"
    )]
    Tls,
    #[error("names a Postgres that does not accept the user or the password; correct them")]
    WrongPassword,
    #[error(
        "names a Postgres that does not let this user in; create the role, or add a line for it and this host to pg_hba.conf"
    )]
    UserNotAllowed,
    #[error("names a database that does not exist; create it, or correct the name")]
    NoSuchDatabase,
    #[error("names a database to which this user may not connect; grant CONNECT on it")]
    NotGranted,
    #[error("names a Postgres that has no connection left; raise max_connections there, or lower DATABASE_POOL_SIZE")]
    TooManyConnections,
    #[error("names a Postgres that starts or stops at this moment; wait for it")]
    StartingUp,
    #[error("names a Postgres that accepts no writes: a standby, or one that is read only; name the primary")]
    ReadOnly,
    #[error(
        "names a PgBouncer that refuses a parameter of the URL ({0}); remove it there, or add it to ignore_startup_parameters"
    )]
    StartupParameter(String),
    #[error("names a PgBouncer that does not know the database; add it to its [databases], or correct the name")]
    PoolerKnowsNoDatabase,
    #[error("names a PgBouncer that does not accept the user or the password; correct them, or its auth_file")]
    PoolerAuthentication,
    #[error("names a PgBouncer that cannot sign in to Postgres itself; see its log, and wait for server_login_retry")]
    PoolerCannotSignIn,
    #[error("names a PgBouncer that has no connection left; raise max_client_conn or default_pool_size there")]
    PoolerIsFull,
    #[error("names a PgBouncer that refuses the connection; see its log")]
    Pooler,
    #[error(
        "names a pooler that gives each transaction another session (PgBouncer's pool_mode = transaction); use pool_mode = session, \
         or name Postgres itself in DATABASE_DIRECT_URL"
    )]
    TransactionPooling,
    #[error(
        "does not reach the sessions of DATABASE_URL's database: name the same database there, at Postgres itself or at a pooler with \
         pool_mode = session"
    )]
    NotDirect,
    #[error("names a Postgres that refuses the connection (SQLSTATE {0}); see its log")]
    Other(String),
}

impl Refusal {
    /// Whether waiting can change nothing.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::TransactionPooling | Self::NotDirect)
    }
}

impl From<&sqlx::Error> for Refusal {
    fn from(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused | ErrorKind::NotFound => Self::NothingListens,
                ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
                // The standard library's kind for a name that cannot be resolved is not stable.
                _ if error.to_string().contains("failed to lookup address") => Self::UnknownHost,
                ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Self::Silent,
                _ => Self::Closed,
            },
            sqlx::Error::Tls(_) => Self::Tls,
            sqlx::Error::PoolTimedOut => Self::Silent,
            sqlx::Error::Database(error) => of_database(&**error),
            _ => Self::Closed,
        }
    }
}

fn of_database(error: &dyn DatabaseError) -> Refusal {
    let code = error.code().unwrap_or_default();
    match &*code {
        "28P01" => Refusal::WrongPassword,
        "28000" => Refusal::UserNotAllowed,
        "3D000" => Refusal::NoSuchDatabase,
        "42501" => Refusal::NotGranted,
        "53300" => Refusal::TooManyConnections,
        "57P01" | "57P02" | "57P03" => Refusal::StartingUp,
        "25006" => Refusal::ReadOnly,
        // PgBouncer says nearly everything with this one.
        "08P01" => of_pooler(error.message()),
        other => Refusal::Other(other.to_owned()),
    }
}

/// What PgBouncer 1.18 to 1.25 mean. A sentence may quote what Postgres said to it, so its own words come first.
fn of_pooler(message: &str) -> Refusal {
    let says = |words: &str| message.contains(words);
    let parameter = [
        "unsupported startup parameter in options: ",
        "unsupported startup parameter: ",
    ]
    .iter()
    .find_map(|words| message.strip_prefix(words));
    if let Some(parameter) = parameter {
        // Its name, whatever a later version writes behind it.
        let name = parameter.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        return Refusal::StartupParameter(name.take(1).collect());
    }
    // What Postgres said to it is passed on with the SQLSTATE of PgBouncer.
    if says("the database system is ") {
        Refusal::StartingUp
    } else if says("too many clients") || says("connection slots") {
        Refusal::TooManyConnections
    } else if says("database \"") && says("does not exist") {
        Refusal::NoSuchDatabase
    } else if [
        "server_login_retry",
        "server login failed",
        "role \"",
        "failed for user",
        "pg_hba.conf",
    ]
    .iter()
    .any(|words| says(words))
    {
        Refusal::PoolerCannotSignIn
    } else if says("max_client_conn") || says("client connections exceeded") || says("query_wait_timeout") {
        Refusal::PoolerIsFull
    } else if says("no such database") || (says("database \"") && says("is disabled")) {
        Refusal::PoolerKnowsNoDatabase
    } else if says("authentication failed") || says("no such user") || says("login rejected") || says("password") {
        Refusal::PoolerAuthentication
    } else if says("SSL required") {
        Refusal::Tls
    } else {
        Refusal::Pooler
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_pooler_are_understood() {
        for (said, meant) in [
            ("no such database: cura", Refusal::PoolerKnowsNoDatabase),
            ("database \"cura\" is disabled", Refusal::PoolerKnowsNoDatabase),
            ("\"trust\" authentication failed", Refusal::PoolerAuthentication),
            ("password authentication failed", Refusal::PoolerAuthentication),
            ("SASL authentication failed", Refusal::PoolerAuthentication),
            ("no such user: cura", Refusal::PoolerAuthentication),
            (
                "server login has been failing, try again later (server_login_retry)",
                Refusal::PoolerCannotSignIn,
            ),
            (
                "server login has been failing, cached error: password authentication failed (server_login_retry)",
                Refusal::PoolerCannotSignIn,
            ),
            ("role \"cura\" does not exist", Refusal::PoolerCannotSignIn),
            (
                "password authentication failed for user \"cura\"",
                Refusal::PoolerCannotSignIn,
            ),
            ("database \"cura\" does not exist", Refusal::NoSuchDatabase),
            ("sorry, too many clients already", Refusal::TooManyConnections),
            ("the database system is starting up", Refusal::StartingUp),
            ("no more connections allowed (max_client_conn)", Refusal::PoolerIsFull),
            ("query_wait_timeout", Refusal::PoolerIsFull),
            ("bouncer config error", Refusal::Pooler),
            (
                "unsupported startup parameter: options",
                Refusal::StartupParameter("options".to_owned()),
            ),
            (
                "unsupported startup parameter in options: search_path=hunter2",
                Refusal::StartupParameter("search_path".to_owned()),
            ),
        ] {
            assert_eq!(of_pooler(said), meant, "{said}");
        }
    }
}
