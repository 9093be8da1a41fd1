//! The connection to Redis: made when it is needed, made again when it was lost, and given up when it only swallows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, IntoConnectionInfo, RedisError};

use crate::{InvalidUrl, LiveConfig};

/// The longest pause between two tries to connect.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How long the kernel waits for a peer to acknowledge what we sent.
const PEER_GONE: Duration = Duration::from_secs(5);
/// After how many unanswered calls in a row the connection counts as dead, though nothing said so.
const MAX_UNANSWERED: u32 = 3;

pub(super) struct Connection {
    pub(super) client: Client,
    timeout: Duration,
    current: Mutex<ConnectionManager>,
    unanswered: AtomicU32,
}

impl Connection {
    pub(super) fn new(url: &str, config: LiveConfig) -> Result<Self, InvalidUrl> {
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(PEER_GONE);
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

    /// Makes one call; what Redis does not answer in time is an error.
    pub(super) async fn call<T>(
        &self,
        call: impl AsyncFnOnce(&mut ConnectionManager) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let mut connection = self.lock().clone();
        let outcome = match tokio::time::timeout(self.timeout, call(&mut connection)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        };
        match &outcome {
            Err(error) if error.is_timeout() => self.note_unanswered(),
            _ => self.unanswered.store(0, Ordering::Relaxed),
        }
        outcome
    }

    fn note_unanswered(&self) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 < MAX_UNANSWERED {
            return;
        }
        self.unanswered.store(0, Ordering::Relaxed);
        // The settings worked once, so they do again.
        if let Ok(fresh) = manager(&self.client, self.timeout) {
            *self.lock() = fresh;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ConnectionManager> {
        // Nothing panics while holding it.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let settings = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
        .set_max_delay(MAX_RECONNECT_PAUSE)
        .set_number_of_retries(usize::MAX);
    ConnectionManager::new_lazy_with_config(client.clone(), settings)
}
