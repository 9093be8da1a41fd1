//! Access to Postgres: a connection, a transaction, a snapshot or a subscription, each with a deadline.
//!
//! No call waits longer than 3 s for a connection (7 s while others get theirs) and 5 s for Postgres (and then a second at most to see
//! whether it answers at all), no statement runs longer than 10 s, no lock is waited for longer than 5 s, and no connection is
//! handed out that is dead, or that was read only at a failover. A transaction is committed exactly when its work succeeds.
//!
//! Behind a pooler that gives each transaction another session, whatever is done is a transaction: it begins with its settings, and
//! without the prepared statements of the session's last user.

use std::pin::pin;
use std::time::Duration;

use cura_postgres::{
    Connections, Leased, PING_TIMEOUT, ReadOnlySessions, SETTINGS, SessionSetting, connect_options, pool_options,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction};

use crate::StoreError;

/// How long a use case may wait for Postgres once it has a connection. A frozen server or a network that drops packets reports no
/// error by itself.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a probe waits for a connection before it asks whether others get theirs.
const BUSY: Duration = Duration::from_millis(500);
/// How long Postgres itself lets a statement of a [`Database::batch`] run: it ends before we stop waiting for it, so that
/// nothing goes on behind our back, and the rest of the deadline is for the commit.
const BATCH_TIMEOUT: &str = "3s";
/// The settings for schema changes: building an index may take long, and concurrent migrations wait for each other.
const MIGRATION_SETTINGS: [SessionSetting; 5] = [
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("timezone", "UTC"),
    ("jit", "off"),
];
/// Begins a transaction whose reads all see the database as it was at one moment.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
/// Connections past a transaction pooler, for what needs a session: to look at the migrations.
const DIRECT_CONNECTIONS: u32 = 2;

/// A session that is kept, [`Database::session`].
pub type Session = sqlx::pool::PoolConnection<Postgres>;

/// Does `work` in a transaction of a session, and commits it unless `work` fails.
///
/// # Errors
/// The error of `work`, or of beginning or committing.
pub async fn in_transaction<T, E: From<StoreError>>(
    session: &mut Session,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E> {
    let mut transaction = session.begin().await.map_err(StoreError::from)?;
    let done = work(&mut transaction).await?;
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(done)
}

/// A handle to one Postgres database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    connections: Connections,
    /// Where a session keeps its state, if `connections` are behind a pooler that exchanges sessions.
    direct: Option<PgPool>,
}

impl From<PgPool> for Database {
    fn from(pool: PgPool) -> Self {
        Self {
            connections: Connections::sharing(pool),
            direct: None,
        }
    }
}

impl Database {
    /// A handle that connects on first use, so it can be made while Postgres is down.
    ///
    /// # Errors
    /// When `url` is not a Postgres URL.
    pub fn connect_lazy(url: &str, application: &str, max_connections: u32) -> Result<Self, StoreError> {
        let pool = pool_options(&SETTINGS).max_connections(max_connections);
        Ok(Self {
            connections: Connections::keeping(pool.connect_lazy_with(connect_options(url, application)?)),
            direct: None,
        })
    }

    /// [`Self::connect_lazy`] behind a pooler that gives each transaction another session; `direct_url` goes past it.
    ///
    /// # Errors
    /// When one of them is not a Postgres URL.
    pub fn behind_pooler(
        url: &str,
        direct_url: &str,
        application: &str,
        max_connections: u32,
    ) -> Result<Self, StoreError> {
        // Statements are prepared once for each use: the session of the next transaction is another one.
        let options = connect_options(url, application)?.statement_cache_capacity(0);
        let pool = pool_options(&[]).max_connections(max_connections);
        Ok(Self {
            connections: Connections::keeping(pool.connect_lazy_with(options)),
            direct: Some(
                pool_options(&SETTINGS)
                    .max_connections(DIRECT_CONNECTIONS)
                    .connect_lazy_with(connect_options(direct_url, application)?),
            ),
        })
    }

    /// A handle for schema changes, with no limits of time.
    ///
    /// # Errors
    /// When `url` is not a Postgres URL.
    pub fn connect_for_migrations(url: &str, application: &str) -> Result<Self, StoreError> {
        let pool = pool_options(&MIGRATION_SETTINGS).max_connections(1);
        Ok(pool.connect_lazy_with(connect_options(url, application)?).into())
    }

    /// Connections whose sessions keep their state, for the migrator and the queue's workers, which have deadlines of their own.
    pub fn pool(&self) -> &PgPool {
        self.direct.as_ref().unwrap_or(self.connections.pool())
    }

    /// A session for work that is one command's: it is the caller's until it is dropped. Nothing bounds what is done with it but the settings
    /// of this handle.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn session(&self) -> Result<Session, StoreError> {
        Ok(self.pool().acquire().await?)
    }

    /// A connection that is nobody else's afterwards: when it is dropped, whatever it was doing ends with it.
    ///
    /// # Errors
    /// When there is no connection in time.
    pub async fn own_connection(&self) -> Result<PgConnection, StoreError> {
        Ok(self.pool().acquire().await?.detach())
    }

    /// Closes all connections: those that are in use once they are given back.
    pub async fn close(&self) {
        self.connections.close().await;
        if let Some(direct) = &self.direct {
            direct.close().await;
        }
    }

    /// Checks, at the start of a program, that it can work with the database.
    ///
    /// # Errors
    /// The URL that cannot be used, and why.
    pub async fn check(&self) -> Result<(), cura_postgres::Problem> {
        cura_postgres::check(self.connections.pool(), self.direct.as_ref()).await
    }

    /// A connection to a server that accepts writes.
    async fn acquire(&self) -> Result<Leased, StoreError> {
        Ok(self.connections.acquire().await?.unless_suspect()?)
    }

    /// Begins a transaction with this statement.
    async fn begin<'c>(
        &self,
        connection: &'c mut Leased,
        statement: &str,
    ) -> Result<Transaction<'c, Postgres>, StoreError> {
        let begun = match &self.direct {
            None => connection.begin_with(AssertSqlSafe(statement)).await,
            Some(_) => connection.begin_with(AssertSqlSafe(behind_pooler(statement))).await,
        };
        Ok(begun?)
    }

    /// Runs reads, or one writing statement, on a connection.
    ///
    /// # Errors
    /// [`StoreError::TookTooLong`] after the deadline, or [`StoreError::Unavailable`] if Postgres does not answer; else the
    /// error of `work`.
    pub async fn connection<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.direct.is_some() {
            return self.transaction(work).await;
        }
        let mut connection = self.acquire().await?;
        self.within_deadline(async move {
            let done = work(&mut connection).await?;
            connection.keep();
            Ok(done)
        })
        .await
    }

    /// Runs `work` in a transaction and commits it, unless `work` fails: then it is rolled back.
    ///
    /// # Errors
    /// As of [`Self::connection`]. After a deadline the transaction was rolled back, or committed without the reply reaching
    /// us.
    pub async fn transaction<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.acquire().await?;
        self.within_deadline(async move {
            let mut transaction = self.begin(&mut connection, "BEGIN").await?;
            let done = work(&mut transaction).await?;
            transaction.commit().await.map_err(StoreError::from)?;
            connection.keep();
            Ok(done)
        })
        .await
    }

    /// [`Self::transaction`] for one batch of a long work, whose statements find their rows by an index, and which Postgres ends
    /// after three seconds: then nothing of the batch happened, and a smaller one can be tried.
    ///
    /// # Errors
    /// As of [`Self::transaction`]; [`StoreError::TookTooLong`] says that the batch is too large.
    pub async fn batch<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.acquire().await?;
        self.within_deadline(async move {
            let mut transaction = self.begin(&mut connection, "BEGIN").await?;
            // Next to rows that were deleted a moment ago, only an index knows which ones to pass over: whatever reads the table
            // itself, as the planner likes to for a few rows, reads what earlier batches have left, again and again.
            let settings =
                "SELECT set_config('statement_timeout', $1, true), set_config('enable_seqscan', 'off', true),
                                   set_config('enable_bitmapscan', 'off', true)";
            sqlx::query(settings)
                .bind(BATCH_TIMEOUT)
                .execute(&mut *transaction)
                .await
                .map_err(StoreError::from)?;
            let done = work(&mut transaction).await?;
            transaction.commit().await.map_err(StoreError::from)?;
            connection.keep();
            Ok(done)
        })
        .await
    }

    async fn within_deadline<T, E: From<StoreError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(done) => done,
            Err(_) => Err(self.after_deadline().await.into()),
        }
    }

    /// What a missed deadline says: whether Postgres is away, or was given too much to do.
    async fn after_deadline(&self) -> StoreError {
        let answers = tokio::time::timeout(PING_TIMEOUT, async {
            let mut connection = self.connections.acquire().await?;
            connection.ping().await
        });
        match answers.await {
            Ok(Ok(())) => StoreError::TookTooLong,
            Ok(Err(error)) => StoreError::Unavailable(error),
            Err(_) if self.connections.is_moving() => StoreError::TookTooLong,
            Err(_) => StoreError::Unavailable(sqlx::Error::PoolTimedOut),
        }
    }

    /// [`Self::transaction`] without a deadline for the whole: `work` bounds each of its steps by [`with_deadline`].
    ///
    /// # Errors
    /// The error of `work`, or of beginning or committing.
    pub async fn long_transaction<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.acquire().await?;
        let mut transaction = with_deadline(self.begin(&mut connection, "BEGIN")).await?;
        let done = work(&mut transaction).await?;
        with_deadline(async { Ok(transaction.commit().await?) }).await?;
        connection.keep();
        Ok(done)
    }

    /// Runs reads that all see the database as it was at one moment (repeatable read, read only). There is no deadline for
    /// the whole: `work` bounds each of its steps by [`with_deadline`].
    ///
    /// # Errors
    /// The error of `work`, or of beginning.
    pub async fn snapshot<T, E: From<StoreError>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.acquire().await?;
        let mut transaction = with_deadline(self.begin(&mut connection, SNAPSHOT)).await?;
        let read = work(&mut transaction).await?;
        with_deadline(async { Ok(transaction.rollback().await?) }).await?;
        connection.keep();
        Ok(read)
    }

    /// Checks that Postgres answers and accepts writes. One round trip; none while all connections are in use and others' work goes on.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let read_only = ReadOnlySessions::from_now();
        let mut acquiring = pin!(self.acquire());
        let mut connection = loop {
            match tokio::time::timeout(BUSY, &mut acquiring).await {
                Ok(acquired) => break acquired?,
                Err(_) if self.connections.is_moving() => return Ok(read_only.none_noticed()?),
                Err(_) => {}
            }
        };
        self.within_deadline(async move {
            cura_postgres::accepts_writes(&mut connection).await?;
            connection.keep();
            Ok(())
        })
        .await
    }
}

/// What begins a transaction whose session was somebody else's a moment ago, and has other settings, and prepared statements with
/// the names of ours. One round trip, as without a pooler.
fn behind_pooler(statement: &str) -> String {
    let settings = SETTINGS.map(|(name, value)| format!("; SET LOCAL {name} = '{value}'"));
    format!("{statement}; DEALLOCATE ALL{}", settings.concat())
}

/// Runs one step of a [`Database::long_transaction`] or a [`Database::snapshot`] for at most the deadline (5 s); then it is
/// dropped.
///
/// # Errors
/// [`StoreError::Unavailable`] after the deadline, else the error of `work`.
pub async fn with_deadline<T, E: From<StoreError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    #[tokio::test]
    async fn work_can_be_done_in_a_spawned_task() {
        let database = Database::connect_lazy("postgres://127.0.0.1:1/none", "test", 1).unwrap();
        let text = String::from("text");
        let saving = async move {
            let borrowed = text.as_str();
            database
                .transaction(async |connection| {
                    sqlx::query("SELECT $1")
                        .bind(borrowed)
                        .execute(&mut *connection)
                        .await?;
                    Ok::<_, StoreError>(borrowed.len())
                })
                .await
        };
        is_send(&saving);
        assert!(matches!(saving.await, Err(StoreError::Unavailable(_))));
    }
}
