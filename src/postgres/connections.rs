//! A pool whose connections can be kept for the next use, instead of being given back each time.
//!
//! sqlx asks every connection that is given back whether it still works: twice with a limit of time, each a round trip. A connection
//! whose work has ended well was just seen to work, so it is kept here. What did not end well is given back, and asked.
//!
//! To open a connection takes longer than most of its uses, and sqlx throws away what it has half made when nobody waits any more.
//! So each is opened to its end, and kept if its caller has gone, or has got another one.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgConnection, PgPool, Postgres};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use crate::failover;
use crate::session::{ACQUIRE_TIMEOUT, FRESH, ping};

/// How long a caller waits for its turn while the work of others goes on: a burst is served late rather than refused.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(7);
/// Nobody's work goes on if none has ended well for this long.
const STANDSTILL: Duration = Duration::from_secs(1);
/// How long a connection is kept in all, and how long unused: then it is given back to the pool, whose rules hold for it again.
const KEPT_AT_MOST: Duration = Duration::from_secs(60);

/// A pool, and the connections of it that are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections {
    pool: PgPool,
    /// `None`: every connection is given back to the pool, which others use as well.
    kept: Option<Arc<Kept>>,
}

#[derive(Debug)]
struct Kept {
    shelf: Mutex<Shelf>,
    /// As many permits as there are connections.
    count: Semaphore,
    /// As many permits as the pool has room: those who ask it take one each.
    asking: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// The last that was used is used next; the others become old, and leave.
    connections: Vec<KeptConnection>,
    /// When work last ended well.
    last_kept: Option<Instant>,
}

#[derive(Debug)]
struct KeptConnection {
    connection: PoolConnection<Postgres>,
    /// Before the pool handed it out.
    taken: Instant,
    used: Instant,
}

/// A connection in use. Given back to the pool when it is dropped.
#[derive(Debug)]
pub struct Leased {
    connection: PoolConnection<Postgres>,
    taken: Instant,
    kept: Option<Arc<Kept>>,
}

impl Connections {
    /// Keeps connections of `pool`, all of them if need be: nobody else may need any for long.
    pub fn keeping(pool: PgPool) -> Self {
        let room = pool.options().get_max_connections() as usize;
        let kept = Kept {
            shelf: Mutex::default(),
            count: Semaphore::new(0),
            asking: Arc::new(Semaphore::new(room)),
        };
        Self {
            pool,
            kept: Some(Arc::new(kept)),
        }
    }

    /// Keeps no connection of `pool`, which others use as well.
    pub fn sharing(pool: PgPool) -> Self {
        Self { pool, kept: None }
    }

    /// The pool itself.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A connection that works, as far as is known: one that was not used for half a second is asked, and none is older than a
    /// read-only session that was noticed.
    ///
    /// # Errors
    /// When there is none within [`ACQUIRE_TIMEOUT`], or while the work of others goes on within [`QUEUE_TIMEOUT`]; or none can be
    /// opened.
    pub async fn acquire(&self) -> Result<Leased, sqlx::Error> {
        let Some(kept) = &self.kept else {
            return Leased::take(&self.pool, None).await;
        };
        if let Some(next) = kept.take_fresh() {
            return Ok(next.lease(kept));
        }
        // It keeps its place among those who wait.
        let mut found = pin!(self.find(kept));
        let mut left = QUEUE_TIMEOUT;
        while !left.is_zero() {
            let wait = left.min(ACQUIRE_TIMEOUT);
            match tokio::time::timeout(wait, &mut found).await {
                Ok(found) => return found,
                Err(_) if kept.is_moving() => left -= wait,
                Err(_) => break,
            }
        }
        Err(sqlx::Error::PoolTimedOut)
    }

    /// Whether somebody's work ended well a moment ago: who waits for a connection then waits for his turn, and not for Postgres.
    pub fn is_moving(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.is_moving())
    }

    /// Closes all connections: those that are in use once they are given back.
    pub async fn close(&self) {
        if let Some(kept) = &self.kept {
            kept.end();
        }
        self.pool.close().await;
    }

    async fn find(&self, kept: &Arc<Kept>) -> Result<Leased, sqlx::Error> {
        while let Some(mut next) = kept.take() {
            if next.is_worn() {
                continue;
            }
            if ping(&mut next.connection).await.is_ok() {
                return Ok(next.lease(kept));
            }
            // The pool would wait for its answer once more.
            next.connection.close_on_drop();
        }
        let mut next = pin!(kept.next_unworn());
        loop {
            tokio::select! {
                biased;
                // Whoever waits for the pool gets what is kept meanwhile.
                next = &mut next => return Ok(next.lease(kept)),
                taken = self.take(kept) => match taken {
                    // All are in use: one of them will be kept.
                    Err(sqlx::Error::PoolTimedOut) if kept.is_moving() => {}
                    taken => return taken,
                },
            }
        }
    }

    /// A connection of the pool. Once the pool was asked, dropping this only leaves the connection to others.
    async fn take(&self, kept: &Arc<Kept>) -> Result<Leased, sqlx::Error> {
        let Ok(permit) = Arc::clone(&kept.asking).acquire_owned().await else {
            return Err(sqlx::Error::PoolClosed);
        };
        let (hand_over, taken) = oneshot::channel();
        TaskTracker::new().spawn(take_for(hand_over, self.pool.clone(), Arc::clone(kept), permit));
        // The task is gone when the runtime ends.
        taken.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

/// Takes a connection from the pool, within the time that the pool allows, for whoever waits for it, or else to keep it.
async fn take_for(
    caller: oneshot::Sender<Result<Leased, sqlx::Error>>,
    pool: PgPool,
    kept: Arc<Kept>,
    asking: OwnedSemaphorePermit,
) {
    let taken = Leased::take(&pool, Some(kept)).await;
    if let Err(Ok(unwanted)) = caller.send(taken) {
        unwanted.keep_if_it_works().await;
    }
    drop(asking);
}

impl Kept {
    /// The connection that was used last, if it needs no question.
    fn take_fresh(&self) -> Option<KeptConnection> {
        self.take_if(|next| next.used.elapsed() <= FRESH && !next.is_worn())
    }

    fn take(&self) -> Option<KeptConnection> {
        self.take_if(|_| true)
    }

    fn take_if(&self, wanted: impl Fn(&KeptConnection) -> bool) -> Option<KeptConnection> {
        let permit = self.count.try_acquire().ok()?;
        let next = self.lock().connections.pop_if(|next| wanted(next))?;
        permit.forget();
        Some(next)
    }

    /// The next connection that is kept. Cancel safe.
    async fn next(&self) -> KeptConnection {
        loop {
            match self.count.acquire().await {
                Ok(permit) => {
                    if let Some(next) = self.lock().connections.pop() {
                        permit.forget();
                        return next;
                    }
                }
                // None is kept any more.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// The next connection that is kept and need not be looked at by the pool. Cancel safe.
    async fn next_unworn(&self) -> KeptConnection {
        loop {
            let next = self.next().await;
            if !next.is_worn() {
                return next;
            }
        }
    }

    /// Gives all connections back to the pool, and keeps none from here on.
    fn end(&self) {
        self.count.close();
        self.lock().connections.clear();
    }

    fn keep(&self, connection: KeptConnection) {
        let mut worn = Vec::new();
        let mut shelf = self.lock();
        if self.count.is_closed() {
            return;
        }
        shelf.last_kept = Some(connection.used);
        shelf.connections.push(connection);
        // As many as leave have a permit, which nobody else holds.
        while shelf
            .connections
            .first()
            .is_some_and(|oldest| oldest.used.elapsed() > KEPT_AT_MOST)
        {
            match self.count.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => break,
            }
            worn.push(shelf.connections.remove(0));
        }
        drop(shelf);
        self.count.add_permits(1);
    }

    /// Whether somebody's work ended well a moment ago.
    fn is_moving(&self) -> bool {
        self.lock().last_kept.is_some_and(|last| last.elapsed() <= STANDSTILL)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Nothing panics while holding it.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Giving a connection back takes a runtime.
        if tokio::runtime::Handle::try_current().is_err() {
            let shelf = self.shelf.get_mut().unwrap_or_else(PoisonError::into_inner);
            for kept in shelf.connections.drain(..) {
                drop(kept.connection.leak());
            }
        }
    }
}

impl KeptConnection {
    /// Whether the pool has to look at it: it was kept for long, or a read-only session was noticed since.
    fn is_worn(&self) -> bool {
        let age = self.taken.elapsed();
        age > KEPT_AT_MOST || failover::is_suspect(age)
    }

    fn lease(self, kept: &Arc<Kept>) -> Leased {
        Leased {
            connection: self.connection,
            taken: self.taken,
            kept: Some(Arc::clone(kept)),
        }
    }
}

impl Leased {
    /// Takes a connection from the pool. Not cancel safe: what the pool is opening is lost.
    async fn take(pool: &PgPool, kept: Option<Arc<Kept>>) -> Result<Self, sqlx::Error> {
        // A read-only session that is noticed while it is opened may be this one.
        let taken = Instant::now();
        let connection = pool.acquire().await?;
        Ok(Self {
            connection,
            taken,
            kept,
        })
    }

    /// Keeps a connection that was not used, and may have been dead when it was opened.
    async fn keep_if_it_works(mut self) {
        match ping(&mut self.connection).await {
            Ok(()) => self.keep(),
            Err(_) => self.close(),
        }
    }

    /// Keeps the connection for the next use. Its work has ended well: every answer of the session was read.
    pub fn keep(self) {
        let Self {
            connection,
            taken,
            kept,
        } = self;
        // What was queued, as the end of a transaction that was dropped, is sent by the pool.
        if let Some(kept) = kept
            && !connection.is_in_transaction()
            && !connection.should_flush()
        {
            let used = Instant::now();
            kept.keep(KeptConnection {
                connection,
                taken,
                used,
            });
        }
    }

    /// Closes the connection if a read-only session was noticed since it was taken from the pool: it may be another.
    ///
    /// # Errors
    /// When it was.
    pub fn unless_suspect(self) -> Result<Self, sqlx::Error> {
        if failover::is_suspect(self.taken.elapsed()) {
            self.close();
            return Err(failover::error());
        }
        Ok(self)
    }

    /// Closes the connection instead of giving it back.
    pub fn close(mut self) {
        self.connection.close_on_drop();
    }
}

impl Deref for Leased {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Leased {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}
