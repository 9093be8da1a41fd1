//! Appends in batches that cost no latency, as a group commit does: one that comes alone leaves at once; what comes while a batch is
//! under way leaves with the next one. With one server a batch is one call for all answers that have text. In a cluster each answer is in a
//! slot of its own, so each has its own call, and no answer waits for the node of another one.

use std::collections::VecDeque;
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use cura_domain::MessageId;
use cura_domain::answer::Fence;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::connection::Connection;
use super::keys::{Channel, state_key, text_key};
use super::scripts::{AppendReplies, Scripts};
use super::trouble::RedisTrouble;
use crate::error::AppendError;

/// The most answers of one batch: a script holds up all of Redis while it runs.
const MAX_BATCH: usize = 256;
/// The most text of one batch, in bytes. One answer may have more.
const MAX_BATCH_BYTES: usize = 256 * 1024;
/// The most calls under way at once where each answer has its own; the others wait.
const MAX_CALLS: usize = 1024;

/// One attempt that appends.
pub(crate) struct Appending {
    pub(super) keys: [String; 3],
    pub(super) fence: Fence,
    state: Mutex<State>,
    /// Who appends, while it waits.
    waiter: AtomicWaker,
}

/// What an attempt has appended.
struct State {
    /// Not taken by a batch yet.
    waiting: String,
    /// Where it belongs, in bytes.
    offset: u64,
    /// Whether it is in the queue, or a batch with text of it is under way.
    is_busy: bool,
    /// Whether somebody waits until everything is written.
    is_awaited: bool,
    failure: Option<AppendError>,
}

/// A part of a batch: the text that one attempt appends.
pub(super) struct Append {
    pub(super) appending: Arc<Appending>,
    pub(super) offset: u64,
    pub(super) text: String,
}

/// The attempts of this process that append. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Appends(Arc<Queue>);

#[derive(Default)]
struct Queue {
    /// Each at most once.
    waiting: Mutex<VecDeque<Arc<Appending>>>,
    has_waiting: Notify,
}

impl Appending {
    /// An attempt whose text ends at `offset`.
    pub(crate) fn new(id: MessageId, fence: Fence, offset: u64) -> Self {
        let state = State {
            waiting: String::new(),
            offset,
            is_busy: false,
            is_awaited: false,
            failure: None,
        };
        Self {
            keys: [state_key(id), text_key(id), Channel::Text(id).name()],
            fence,
            state: Mutex::new(state),
            waiter: AtomicWaker::new(),
        }
    }

    /// How much waits for the next batch, in bytes.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Why not everything was written.
    pub(crate) fn failure(&self) -> Option<AppendError> {
        self.lock().failure
    }

    /// Ready when everything is written, or nothing more will be.
    pub(crate) fn poll_written(&self, context: &Context<'_>) -> Poll<Result<(), AppendError>> {
        self.waiter.register(context.waker());
        let mut state = self.lock();
        state.is_awaited = state.is_busy;
        match state.failure {
            Some(failure) => Poll::Ready(Err(failure)),
            None if state.is_busy => Poll::Pending,
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ready when something could not be written.
    pub(crate) fn poll_failed(&self, context: &Context<'_>) -> Poll<()> {
        self.waiter.register(context.waker());
        match self.lock().failure {
            Some(_) => Poll::Ready(()),
            None => Poll::Pending,
        }
    }

    /// Adds text; whether the attempt has to be queued for it.
    fn add(&self, text: &str) -> Result<bool, AppendError> {
        let mut state = self.lock();
        if let Some(failure) = state.failure {
            return Err(failure);
        }
        state.waiting.push_str(text);
        Ok(!std::mem::replace(&mut state.is_busy, true))
    }

    /// What waits.
    fn take(self: Arc<Self>) -> Append {
        let mut state = self.lock();
        let (offset, text) = (state.offset, take(&mut state.waiting));
        state.offset += text.len() as u64;
        drop(state);
        Append {
            appending: self,
            offset,
            text,
        }
    }

    /// Notes the outcome of what was taken; whether more waits by now.
    fn settle(&self, written: Result<(), AppendError>) -> bool {
        let mut state = self.lock();
        if let Err(failure) = written {
            state.failure = Some(failure);
            state.waiting = String::new();
        }
        state.is_busy = !state.waiting.is_empty();
        let has_more = state.is_busy;
        // Whoever writes on need not know that all goes well.
        let is_news = written.is_err() || (!has_more && take(&mut state.is_awaited));
        drop(state);
        if is_news {
            self.waiter.wake();
        }
        has_more
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appends {
    /// Adds text to an attempt.
    ///
    /// # Errors
    /// Why text that was added before could not be written.
    pub(crate) fn add(&self, appending: &Arc<Appending>, text: &str) -> Result<(), AppendError> {
        if appending.add(text)? {
            self.lock().push_back(Arc::clone(appending));
            self.0.has_waiting.notify_one();
        }
        Ok(())
    }

    /// The next batch of at most so many attempts.
    fn next_batch(&self, most: usize) -> Vec<Append> {
        let mut waiting = self.lock();
        let (mut batch, mut bytes) = (Vec::with_capacity(waiting.len().min(most)), 0);
        while batch.len() < most
            && bytes < MAX_BATCH_BYTES
            && let Some(appending) = waiting.pop_front()
        {
            let append = appending.take();
            bytes += append.text.len();
            batch.push(append);
        }
        batch
    }

    fn settle(&self, append: Append, written: Result<(), AppendError>) {
        if append.appending.settle(written) {
            self.lock().push_back(append.appending);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Appending>>> {
        // Nothing panics while it holds the lock.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is appended.
pub(super) struct AppendSender {
    appends: Appends,
    connection: Arc<Connection>,
    scripts: Arc<Scripts>,
    /// Whether each answer has a call of its own: they may be in different slots.
    is_apart: AtomicBool,
}

impl AppendSender {
    pub(super) fn new(appends: Appends, connection: Arc<Connection>, scripts: Arc<Scripts>) -> Self {
        Self {
            appends,
            is_apart: AtomicBool::new(connection.is_cluster()),
            connection,
            scripts,
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let (most_calls, most_answers) = if self.is_apart.load(Ordering::Relaxed) {
                (MAX_CALLS, 1)
            } else {
                (1, MAX_BATCH)
            };
            while under_way.len() < most_calls {
                let batch = self.appends.next_batch(most_answers);
                if batch.is_empty() {
                    break;
                }
                under_way.push(self.write(batch));
            }
            tokio::select! {
                Some(()) = under_way.next() => {}
                () = self.appends.0.has_waiting.notified(), if under_way.len() < most_calls => {}
            }
        }
    }

    async fn write(&self, batch: Vec<Append>) {
        match self.call(&batch).await {
            Ok(replies) => self.settle(batch, &replies),
            // It may be about one answer only, or about their slots: one node of a cluster, and a proxy before one, look like a server.
            Err(trouble @ (RedisTrouble::Other(_) | RedisTrouble::ClusterNode)) if batch.len() > 1 => {
                if trouble == RedisTrouble::ClusterNode {
                    self.is_apart.store(true, Ordering::Relaxed);
                }
                join_all(batch.into_iter().map(async |append| {
                    let one = vec![append];
                    match self.call(&one).await {
                        Ok(replies) => self.settle(one, &replies),
                        Err(_) => self.fail(one),
                    }
                }))
                .await;
            }
            Err(_) => self.fail(batch),
        }
    }

    async fn call(&self, batch: &[Append]) -> Result<AppendReplies, RedisTrouble> {
        let replies = self.connection.call(&self.scripts.append(batch)).await;
        replies.inspect_err(|trouble| tracing::debug!(%trouble, "text could not be appended"))
    }

    fn settle(&self, batch: Vec<Append>, replies: &AppendReplies) {
        for (at, append) in batch.into_iter().enumerate() {
            self.appends.settle(append, replies.of(at));
        }
    }

    fn fail(&self, batch: Vec<Append>) {
        for append in batch {
            self.appends.settle(append, Err(AppendError::Unavailable));
        }
    }
}
