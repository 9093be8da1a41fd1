//! What operators tell everybody, as this server knows it: within two seconds of the announcement, on every open stream and socket, and on
//! those that are opened until its end.
//!
//! It is kept in memory, so that a connection costs no query. It is not in the event log, and moves no cursor: a connection gets each
//! announcement once, and a client that reconnects gets it again and knows it by its id.

use std::sync::Arc;

use cura_domain::announcement::Announcement;
use cura_domain::{AnnouncementId, Clock};
use tokio::sync::watch;

/// What is told now, oldest first.
type Living = Arc<[Announcement]>;

/// The announcements as this server knows them. Cheap to clone.
#[derive(Clone)]
pub struct Announcements {
    clock: Clock,
    living: watch::Sender<Living>,
}

/// What one connection is told.
pub struct AnnouncementReader {
    clock: Clock,
    living: watch::Receiver<Living>,
    /// Ids grow, so one of them says what was told.
    last_told: AnnouncementId,
}

impl Announcements {
    /// There is none until they were read, which happens while [`crate::operator_changes::OperatorChanges::run`] runs.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            living: watch::Sender::new(Arc::default()),
        }
    }

    /// What a new connection is told: everything that is not over, then what comes.
    pub fn open(&self) -> AnnouncementReader {
        AnnouncementReader {
            clock: self.clock.clone(),
            living: self.living.subscribe(),
            last_told: AnnouncementId(0),
        }
    }

    /// The clock by which announcements end.
    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Takes note of what is told now. Wakes connections only if that has changed.
    pub(crate) fn apply(&self, living: Vec<Announcement>) {
        self.living.send_if_modified(|known| {
            let is_new = **known != *living;
            if is_new {
                *known = living.into();
            }
            is_new
        });
    }
}

impl AnnouncementReader {
    /// The next one that this connection was not told; waits for it. Cancel safe.
    pub async fn next(&mut self) -> Announcement {
        loop {
            if let Some(next) = self.untold() {
                self.last_told = next.id;
                return next;
            }
            if self.living.changed().await.is_err() {
                // The server ends, and with it the connection.
                std::future::pending::<()>().await;
            }
        }
    }

    fn untold(&mut self) -> Option<Announcement> {
        let living = self.living.borrow_and_update();
        let now = self.clock.now();
        let untold = living.iter().find(|one| one.id > self.last_told && one.until > now);
        untold.cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use chrono::{DateTime, Utc};
    use futures_util::FutureExt;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn announcement(id: i64, until: i64) -> Announcement {
        Announcement {
            id: AnnouncementId(id),
            title: "Maintenance".to_owned(),
            text: "Tonight.".to_owned(),
            until: at(until),
            created_at: at(0),
        }
    }

    fn with_clock() -> (Announcements, Arc<AtomicI64>) {
        let now = Arc::new(AtomicI64::new(0));
        let clock = Clock::new({
            let now = Arc::clone(&now);
            move || at(now.load(Ordering::Relaxed))
        });
        (Announcements::new(clock), now)
    }

    fn ready(reader: &mut AnnouncementReader) -> Option<i64> {
        reader.next().now_or_never().map(|told| told.id.0)
    }

    #[tokio::test]
    async fn each_connection_is_told_each_announcement_once_until_it_ends() {
        let (announcements, now) = with_clock();
        let mut early = announcements.open();
        assert_eq!(ready(&mut early), None);
        announcements.apply(vec![announcement(1, 10)]);
        assert_eq!((ready(&mut early), ready(&mut early)), (Some(1), None));
        announcements.apply(vec![announcement(1, 10), announcement(2, 20)]);
        announcements.apply(vec![announcement(1, 10), announcement(2, 20)]);
        assert_eq!((ready(&mut early), ready(&mut early)), (Some(2), None));
        let mut late = announcements.open();
        assert_eq!(
            (ready(&mut late), ready(&mut late), ready(&mut late)),
            (Some(1), Some(2), None)
        );
        // Also while nobody has read that the first one is over.
        now.store(10, Ordering::Relaxed);
        assert_eq!(ready(&mut announcements.open()), Some(2));
        announcements.apply(Vec::new());
        assert_eq!(ready(&mut announcements.open()), None);
    }

    #[tokio::test]
    async fn a_thousand_connections_wait_and_all_are_told() {
        let (announcements, _) = with_clock();
        let readers: Vec<_> = (0..1000).map(|_| announcements.open()).collect();
        let told =
            futures_util::future::join_all(readers.into_iter().map(|mut reader| async move { reader.next().await }));
        let tell = async {
            tokio::task::yield_now().await;
            announcements.apply(vec![announcement(7, 10)]);
        };
        let (told, ()) = tokio::time::timeout(Duration::from_secs(5), futures_util::future::join(told, tell))
            .await
            .unwrap();
        assert!(told.iter().all(|told| told.id.0 == 7));
    }
}
