//! The connection to Redis: opened on first use, reopened when it is lost, and replaced when several calls in a row were
//! not answered.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, IntoConnectionInfo, RedisError};

use crate::config::LiveConfig;
use crate::error::InvalidUrl;

/// The longest pause between two attempts to connect.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How long the kernel waits until sent data is acknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
/// After how many unanswered calls in a row the connection is replaced, though the kernel reports no error.
const MAX_UNANSWERED: u32 = 3;

pub(super) struct Connection {
    pub(super) client: Client,
    timeout: Duration,
    current: Mutex<ConnectionManager>,
    unanswered: AtomicU32,
}

impl Connection {
    pub(super) fn new(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(TCP_USER_TIMEOUT);
        let info = url
            .into_connection_info()
            .map_err(|_| InvalidUrl)?
            .set_tcp_settings(tcp);
        let client = Client::open(info).map_err(|_| InvalidUrl)?;
        let current = manager(&client, config.timeout).map_err(|_| InvalidUrl)?;
        Ok(Self {
            client,
            timeout: config.timeout,
            current: Mutex::new(current),
            unanswered: AtomicU32::new(0),
        })
    }

    /// Makes one call. No answer in time is an error.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&mut ConnectionManager) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let mut connection = self.lock().clone();
        let outcome = tokio::time::timeout(self.timeout, call(&mut connection))
            .await
            .unwrap_or_else(|_| Err(timed_out()));
        match &outcome {
            Err(error) if error.is_timeout() => self.count_unanswered(),
            _ => self.unanswered.store(0, Ordering::Relaxed),
        }
        outcome
    }

    fn count_unanswered(&self) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 < MAX_UNANSWERED {
            return;
        }
        self.unanswered.store(0, Ordering::Relaxed);
        // Cannot fail: the same settings were accepted before.
        if let Ok(fresh) = manager(&self.client, self.timeout) {
            *self.lock() = fresh;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ConnectionManager> {
        // Nothing panics while it holds the lock.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a call that was not answered in time.
pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_max_delay(MAX_RECONNECT_PAUSE)
        .set_number_of_retries(usize::MAX);
    ConnectionManager::new_lazy_with_config(client.clone(), settings)
}
