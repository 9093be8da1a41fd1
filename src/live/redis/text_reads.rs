//! The reads of whole texts, beside the messages that go on to arrive: what is published of a text while it is read is applied after it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cura_domain::MessageId;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;
use super::scripts::{ReadReply, Scripts};
use super::trouble::RedisTrouble;

/// How many texts are read at once.
const MAX_READS: usize = 64;
/// How much may be published of a text while it is read, in bytes; if it is more, the text is read again.
const MAX_MEANWHILE_BYTES: usize = 64 * 1024;
/// The first and the longest pause before texts are read that could not be.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The reads of one subscription.
pub(super) struct TextReads {
    connection: Arc<Connection>,
    scripts: Arc<Scripts>,
    /// Not begun yet.
    due: VecDeque<MessageId>,
    /// Those that are due (`None`: what is published before the read is in what is read) or under way.
    meanwhile: HashMap<MessageId, Option<Meanwhile>>,
    under_way: FuturesUnordered<BoxFuture<'static, (MessageId, Result<ReadReply, RedisTrouble>)>>,
    /// Those that could not be read, and when they are tried again.
    failed: HashSet<MessageId>,
    retry_at: Instant,
    pause: Duration,
}

/// What was published of a text while it was read.
#[derive(Default)]
pub(super) struct Meanwhile {
    pub(super) messages: Vec<Vec<u8>>,
    bytes: usize,
    /// Whether there was more, or it has to be read again.
    pub(super) is_cut: bool,
}

impl TextReads {
    pub(super) fn new(connection: Arc<Connection>, scripts: Arc<Scripts>) -> Self {
        Self {
            connection,
            scripts,
            due: VecDeque::new(),
            meanwhile: HashMap::new(),
            under_way: FuturesUnordered::new(),
            failed: HashSet::new(),
            retry_at: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// Reads a text, unless that is about to happen.
    pub(super) fn begin(&mut self, id: MessageId) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.meanwhile.entry(id) {
            place.insert(None);
            self.due.push_back(id);
        }
        self.fill();
    }

    /// Reads a text from here on: of one that is under way, what it finds does not count.
    pub(super) fn begin_anew(&mut self, id: MessageId) {
        if let Some(Some(meanwhile)) = self.meanwhile.get_mut(&id) {
            meanwhile.is_cut = true;
        }
        self.begin(id);
    }

    /// Keeps what is published of a text that is just read; `false` if it is not.
    pub(super) fn keep(&mut self, id: MessageId, message: &[u8]) -> bool {
        // Nearly always none is read.
        let Some(meanwhile) = self.meanwhile.get_mut(&id) else {
            return false;
        };
        let Some(meanwhile) = meanwhile else {
            return true;
        };
        meanwhile.bytes += message.len();
        if meanwhile.bytes > MAX_MEANWHILE_BYTES {
            meanwhile.is_cut = true;
        } else {
            meanwhile.messages.push(message.to_vec());
        }
        true
    }

    /// Forgets a text that is no longer watched.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.failed.remove(&id);
    }

    /// The next text that was read, if Redis has it, and what was published meanwhile. Cancel-safe.
    pub(super) async fn next(&mut self) -> (MessageId, ReadReply, Meanwhile) {
        loop {
            tokio::select! {
                Some((id, read)) = self.under_way.next() => {
                    let meanwhile = self.meanwhile.remove(&id).flatten().unwrap_or_default();
                    self.fill();
                    match read {
                        Ok(reply) => {
                            self.pause = FIRST_PAUSE;
                            return (id, reply, meanwhile);
                        }
                        Err(_) => {
                            if self.failed.is_empty() {
                                self.retry_at = Instant::now() + self.pause;
                                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                            }
                            self.failed.insert(id);
                        }
                    }
                }
                () = sleep_until(self.retry_at), if !self.failed.is_empty() => {
                    for id in std::mem::take(&mut self.failed) {
                        self.begin(id);
                    }
                }
                else => std::future::pending().await,
            }
        }
    }

    fn fill(&mut self) {
        while self.under_way.len() < MAX_READS
            && let Some(id) = self.due.pop_front()
        {
            self.meanwhile.insert(id, Some(Meanwhile::default()));
            let (connection, scripts) = (Arc::clone(&self.connection), Arc::clone(&self.scripts));
            self.under_way
                .push(Box::pin(async move { (id, connection.call(&scripts.read(id)).await) }));
        }
    }
}
