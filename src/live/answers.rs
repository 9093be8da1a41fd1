//! The table of running answers in this process: the whole truth without Redis, a mirror of what is watched here with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cura_domain::MessageId;
use cura_domain::answer::{Bases, Fence};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{AppendError, LiveConfig};

/// How often what is over is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// One answer as far as it is known here. Fence 0: nobody has begun it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) fence: Fence,
    pub(crate) bases: Bases,
    pub(crate) text: String,
    pub(crate) ended: bool,
}

struct Entry {
    answer: watch::Sender<Answer>,
    touched: Instant,
}

struct Table {
    entries: HashMap<MessageId, Entry>,
    swept: Instant,
}

#[derive(Clone)]
pub(crate) struct Answers {
    config: LiveConfig,
    table: Arc<Mutex<Table>>,
}

/// What a piece did to the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mirrored {
    /// It is in, or was known.
    Fits,
    /// Something before it is missing here: read the whole.
    Gap,
}

impl Answers {
    pub(crate) fn new(config: LiveConfig) -> Self {
        let table = Table {
            entries: HashMap::new(),
            swept: Instant::now(),
        };
        Self {
            config,
            table: Arc::new(Mutex::new(table)),
        }
    }

    /// A view of an answer, begun or not.
    pub(crate) fn watch(&self, id: MessageId) -> watch::Receiver<Answer> {
        self.entry(id, |answer| answer.subscribe())
    }

    /// What is known of an answer.
    pub(crate) fn get(&self, id: MessageId) -> Option<Answer> {
        let table = self.lock();
        table.entries.get(&id).map(|entry| entry.answer.borrow().clone())
    }

    pub(crate) fn put(&self, id: MessageId, fence: Fence, bases: &Bases, text: &str) -> Result<(), AppendError> {
        if text.len() > self.config.max_text {
            return Err(AppendError::TooLong);
        }
        self.entry(id, |answer| {
            let mut result = Ok(());
            answer.send_if_modified(|answer| {
                if answer.fence > fence || answer.ended {
                    result = Err(AppendError::Stale);
                    return false;
                }
                // What this attempt has already appended is never taken back.
                if answer.fence == fence && answer.text.len() >= text.len() {
                    return false;
                }
                answer.fence = fence;
                answer.bases.clone_from(bases);
                answer.text.clear();
                answer.text.push_str(text);
                true
            });
            result
        })
    }

    pub(crate) fn append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Result<(), AppendError> {
        self.entry(id, |answer| {
            let mut result = Ok(());
            answer.send_if_modified(|answer| {
                result = admit(answer, fence, offset, text, self.config.max_text);
                let new = result.is_ok() && answer.text.len() as u64 == offset;
                if new {
                    answer.text.push_str(text);
                }
                new
            });
            result
        })
    }

    /// Ends an answer, whoever wrote it: the end stands in Postgres.
    pub(crate) fn end(&self, id: MessageId, fence: Fence) {
        self.entry(id, |answer| {
            answer.send_if_modified(|answer| answer.fence <= fence && !std::mem::replace(&mut answer.ended, true));
        });
    }

    /// Forgets an answer; readers keep what they have, and see nothing more.
    pub(crate) fn forget(&self, id: MessageId) {
        self.lock().entries.remove(&id);
    }

    /// A piece that was published elsewhere.
    pub(crate) fn mirror_append(&self, id: MessageId, fence: Fence, offset: u64, text: &str) -> Mirrored {
        let mut mirrored = Mirrored::Fits;
        self.existing(id, |answer| {
            answer.send_if_modified(|answer| {
                let have = answer.text.len() as u64;
                if answer.fence > fence || (answer.fence == fence && offset + text.len() as u64 <= have) {
                    return false;
                }
                if answer.fence < fence || offset != have {
                    mirrored = Mirrored::Gap;
                    return false;
                }
                answer.text.push_str(text);
                true
            });
        });
        mirrored
    }

    /// The whole of an answer as it is elsewhere.
    pub(crate) fn mirror_whole(&self, id: MessageId, whole: Answer) {
        self.existing(id, |answer| {
            answer.send_if_modified(|answer| {
                let newer = whole.fence > answer.fence
                    || (whole.fence == answer.fence
                        && (whole.text.len() > answer.text.len() || (whole.ended && !answer.ended)));
                if newer {
                    *answer = whole;
                }
                newer
            });
        });
    }

    /// The answers somebody in this process reads.
    pub(crate) fn watched(&self) -> Vec<MessageId> {
        let mut table = self.lock();
        table.entries.retain(|_, entry| entry.answer.receiver_count() > 0);
        table.entries.keys().copied().collect()
    }

    fn entry<T>(&self, id: MessageId, work: impl FnOnce(&watch::Sender<Answer>) -> T) -> T {
        let mut table = self.lock();
        self.sweep(&mut table);
        let entry = table.entries.entry(id).or_insert_with(|| Entry {
            answer: watch::Sender::new(Answer::default()),
            touched: Instant::now(),
        });
        entry.touched = Instant::now();
        work(&entry.answer)
    }

    fn existing(&self, id: MessageId, work: impl FnOnce(&watch::Sender<Answer>)) {
        if let Some(entry) = self.lock().entries.get(&id) {
            work(&entry.answer);
        }
    }

    fn sweep(&self, table: &mut Table) {
        if table.swept.elapsed() < SWEEP_EVERY {
            return;
        }
        table.swept = Instant::now();
        table.entries.retain(|_, entry| {
            let answer = entry.answer.borrow();
            let keep = if answer.ended {
                self.config.linger
            } else if answer.fence == Fence(0) {
                Duration::ZERO
            } else {
                self.config.idle
            };
            entry.answer.receiver_count() > 0 || entry.touched.elapsed() < keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while holding it; a poisoned lock still holds a sound table.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a piece may be appended, or was.
fn admit(answer: &Answer, fence: Fence, offset: u64, text: &str, max_text: usize) -> Result<(), AppendError> {
    let have = answer.text.len() as u64;
    if answer.fence > fence || answer.ended {
        return Err(AppendError::Stale);
    }
    if answer.fence < fence {
        return Err(AppendError::Missing);
    }
    if answer.text.len() + text.len() > max_text {
        return Err(AppendError::TooLong);
    }
    let repeated = || {
        let start = usize::try_from(offset).ok()?;
        answer.text.as_bytes().get(start..start.checked_add(text.len())?)
    };
    if offset == have || repeated() == Some(text.as_bytes()) {
        Ok(())
    } else {
        Err(AppendError::Offset { have })
    }
}
