//! Whether a program can work with the database that it was given: asked once, at its start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::postgres::{PgConnectOptions, PgNotification};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool};

use crate::failover::accepts_writes;
use crate::refusal::{Problem, Refusal};
use crate::subscription::Subscription;

/// How long one step of a check may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// The channel on which sessions of one database hear each other.
const CHANNEL: &str = "cura_start";

/// One of the two URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Url {
    /// `DATABASE_URL`
    Main,
    /// `DATABASE_DIRECT_URL`
    Direct,
}

/// Checks that sessions of `main`, and of `direct` if there is a second URL, accept writes, and that a session keeps its state: it
/// hears what another one notifies it of while it does nothing. Behind a pooler that exchanges sessions it hears nothing, and
/// neither would a worker.
///
/// # Errors
/// The URL that cannot be used, and why.
pub async fn check(main: &PgPool, direct: Option<&PgPool>) -> Result<(), Problem> {
    let of = |url| move |refusal| Problem { url, refusal };
    let mut notifier = open(&main.connect_options()).await.map_err(of(Url::Main))?;
    let (url, pool) = direct.map_or((Url::Main, main), |direct| (Url::Direct, direct));
    if direct.is_some() {
        let opened = open(&pool.connect_options()).await.map_err(of(url))?;
        // Whether it closes orderly does not matter.
        let _ = opened.close().await;
    }
    let heard = hears(pool, &mut notifier).await.map_err(of(url));
    let _ = notifier.close().await;
    if heard? {
        return Ok(());
    }
    let refusal = match url {
        Url::Main => Refusal::TransactionPooling,
        Url::Direct => Refusal::NotDirect,
    };
    Err(Problem { url, refusal })
}

/// A session that accepts writes. Not one of a pool, which would hide why there is none.
async fn open(options: &PgConnectOptions) -> Result<PgConnection, Refusal> {
    in_time(async {
        let mut connection = options.connect().await?;
        accepts_writes(&mut connection).await?;
        Ok(connection)
    })
    .await
}

/// Whether a subscription at `pool` hears what `notifier` says.
async fn hears(pool: &PgPool, notifier: &mut PgConnection) -> Result<bool, Refusal> {
    // Without settings: behind a pooler, the session may be another program's next.
    let beginning = Subscription::begin_with(&[], pool, None, &[CHANNEL]);
    let mut subscription = in_time(beginning).await?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let word = format!("{} {}", std::process::id(), since.as_nanos());
    let notify = sqlx::raw_sql(AssertSqlSafe(format!("SELECT pg_notify('{CHANNEL}', '{word}')")));
    match tokio::time::timeout(STEP_TIMEOUT, notifier.execute(notify)).await {
        Ok(Ok(_)) => {}
        // It was sent the notification: it has the session that subscribed.
        Ok(Err(sqlx::Error::Protocol(_))) => return Ok(false),
        Ok(Err(error)) => return Err(Refusal::from(&error)),
        Err(_) => return Err(Refusal::Silent),
    }
    let is_ours = |notification: &PgNotification| notification.payload() == word;
    let hearing = async {
        loop {
            match subscription.next().await {
                Ok(notification) if notification.as_ref().is_some_and(is_ours) => return Ok(true),
                Ok(_) => {}
                Err(error) => return Err(Refusal::from(&error)),
            }
        }
    };
    tokio::time::timeout(STEP_TIMEOUT, hearing).await.unwrap_or(Ok(false))
}

async fn in_time<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Refusal> {
    match tokio::time::timeout(STEP_TIMEOUT, step).await {
        Ok(done) => done.map_err(|error| Refusal::from(&error)),
        Err(_) => Err(Refusal::Silent),
    }
}
