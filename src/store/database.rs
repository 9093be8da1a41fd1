//! Access to Postgres: a connection, a transaction, a snapshot or a subscription, each with a deadline.
//!
//! No call waits longer than 5 s for Postgres (and then a second at most to see whether it answers at all), no statement runs
//! longer than 10 s, no lock is waited for longer than 5 s, and no dead connection is handed out. A transaction is committed exactly when its work succeeds.

use std::str::FromStr;
use std::time::Duration;

use cura_postgres::ACQUIRE_TIMEOUT;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};

use crate::StoreError;

/// How long a use case may wait for Postgres in all. A frozen server or a network that drops packets reports no error by
/// itself.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long Postgres itself lets a statement of a [`Database::batch`] run: it ends before we stop waiting for it, so that
/// nothing goes on behind our back, and the rest of the deadline is for the commit.
const BATCH_TIMEOUT: &str = "3s";
/// A connection used within this time is assumed to work.
const FRESH: Duration = Duration::from_millis(500);
/// How long a connection may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle to one Postgres database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
}

impl From<PgPool> for Database {
    fn from(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl Database {
    /// A handle that connects on first use, so it can be made while Postgres is down.
    ///
    /// Transactions idle for 5 s are aborted: the locks of a frozen process must not block others.
    ///
    /// # Errors
    /// When `url` is not a Postgres URL.
    pub fn connect_lazy(url: &str, application: &str, max_connections: u32) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?.application_name(application).options([
            ("statement_timeout", "10s"),
            ("lock_timeout", "5s"),
            ("idle_in_transaction_session_timeout", "5s"),
            ("timezone", "UTC"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .max_lifetime(Duration::from_secs(30 * 60))
            .idle_timeout(Duration::from_secs(5 * 60))
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    // After a restart of Postgres every idle connection is dead.
                    if meta.idle_for > FRESH {
                        ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            // An abandoned query leaves its connection waiting for the answer; sqlx would wait too and occupy the slot.
            .after_release(|connection, _| Box::pin(async move { ping(connection).await.map(|()| true) }))
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// A handle for schema changes: building an index may take long, and concurrent migrations wait for each other.
    ///
    /// # Errors
    /// When `url` is not a Postgres URL.
    pub fn connect_for_migrations(url: &str, application: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?.application_name(application).options([
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("timezone", "UTC"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// The connection pool, for the migrator and the queue's workers, which have deadlines of their own.
    pub fn pool(&self) -> &PgPool {
        &self.pool
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
        self.within_deadline(async {
            let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
            work(&mut connection).await
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
        self.within_deadline(async {
            let mut transaction = self.pool.begin().await.map_err(StoreError::from)?;
            let done = work(&mut transaction).await?;
            transaction.commit().await.map_err(StoreError::from)?;
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
        self.within_deadline(async {
            let mut transaction = self.pool.begin().await.map_err(StoreError::from)?;
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
            let mut connection = self.pool.acquire().await?;
            connection.ping().await
        });
        match answers.await {
            Ok(Ok(())) => StoreError::TookTooLong,
            Ok(Err(error)) => StoreError::Unavailable(error),
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
        let mut transaction = begin(self.pool.begin()).await?;
        let done = work(&mut transaction).await?;
        with_deadline(async { Ok(transaction.commit().await?) }).await?;
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
        let beginning = self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        let mut transaction = begin(beginning).await?;
        let read = work(&mut transaction).await?;
        with_deadline(async { Ok(transaction.rollback().await?) }).await?;
        Ok(read)
    }

    /// Checks that Postgres answers.
    ///
    /// # Errors
    /// When it does not within the deadline.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.connection(async |connection| {
            sqlx::query("SELECT 1").execute(connection).await?;
            Ok(())
        })
        .await
    }
}

async fn begin(
    beginning: impl Future<Output = Result<Transaction<'static, Postgres>, sqlx::Error>>,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    with_deadline(async { Ok(beginning.await?) }).await
}

async fn ping(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
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
