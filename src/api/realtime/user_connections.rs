//! How many streams, sockets and uploads each person has open on this server. Every server counts its own, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::UserId;
use poem::http::StatusCode;

use crate::http::problem::Problem;

/// The most files that arrive from a person at a time.
const MAX_UPLOADS: usize = 4;
/// When a client that holds too many may try again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The open streams, sockets and uploads of every person. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct UserConnections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The most streams, and the most sockets, that a person may hold; 0 is no limit.
    max: usize,
    held: Mutex<HashMap<(UserId, Kind), usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Stream,
    Socket,
    Upload,
}

/// One of a person's connections. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct UserConnection {
    all: UserConnections,
    key: (UserId, Kind),
}

impl UserConnections {
    /// A person may hold `max` streams and `max` sockets; 0 is no limit. Uploads have a limit of their own.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared {
            max,
            held: Mutex::default(),
        }))
    }

    /// Room for a stream of events.
    ///
    /// # Errors
    /// 429 if the person holds too many.
    pub(crate) fn open_stream(&self, user: UserId) -> Result<UserConnection, Problem> {
        self.open((user, Kind::Stream), self.0.max).ok_or_else(|| {
            let detail = "You have too many open streams; close one first.";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", detail);
            problem.with_retry_after(RETRY_AFTER)
        })
    }

    /// Room for a socket; `None` if the person holds too many.
    pub(crate) fn open_socket(&self, user: UserId) -> Option<UserConnection> {
        self.open((user, Kind::Socket), self.0.max)
    }

    /// Room for a file that arrives.
    ///
    /// # Errors
    /// 429 if as many of the person's arrive as may.
    pub(crate) fn open_upload(&self, user: UserId) -> Result<UserConnection, Problem> {
        self.open((user, Kind::Upload), MAX_UPLOADS).ok_or_else(|| {
            let detail = "4 of your files are being uploaded; send more when one is there.";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_uploads", detail);
            problem.with_limit(MAX_UPLOADS).with_retry_after(RETRY_AFTER)
        })
    }

    fn open(&self, key: (UserId, Kind), max: usize) -> Option<UserConnection> {
        let mut held = self.lock();
        let count = held.get(&key).copied().unwrap_or_default();
        if max > 0 && count >= max {
            return None;
        }
        held.insert(key, count + 1);
        Some(UserConnection { all: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(UserId, Kind), usize>> {
        // Nothing panics while it holds the lock.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserConnection {
    fn drop(&mut self) {
        let mut held = self.all.lock();
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_person_has_room_for_so_many_of_each_kind_and_gets_it_back() {
        let all = UserConnections::new(2);
        let (ann, bob) = (UserId(1), UserId(2));
        let first = all.open_stream(ann).unwrap();
        let _second = all.open_stream(ann).unwrap();
        assert_eq!(all.open_stream(ann).unwrap_err().code(), "too_many_connections");
        let socket = all.open_socket(ann).unwrap();
        assert!(all.open_stream(bob).is_ok());
        drop((first, socket));
        assert!(all.open_stream(ann).is_ok());
        assert_eq!(all.lock().len(), 1);
        let unlimited = UserConnections::new(0);
        let mut uploads: Vec<_> = (0..MAX_UPLOADS).map(|_| unlimited.open_upload(ann).unwrap()).collect();
        assert_eq!(unlimited.open_upload(ann).unwrap_err().code(), "too_many_uploads");
        assert!(unlimited.open_upload(bob).is_ok());
        uploads.pop();
        assert!(unlimited.open_upload(ann).is_ok());
        let many: Vec<_> = (0..100).map(|_| unlimited.open_socket(ann).unwrap()).collect();
        assert_eq!(many.len(), 100);
    }
}
