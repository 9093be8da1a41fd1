//! One connection to one target: opened at once, reopened when it is lost, with growing pauses while that fails. Meanwhile calls fail
//! at once, and say why.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::deployment::address_of;
use super::target::Target;
use super::trouble::RedisTrouble;

/// The first and the longest pause between two attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// A connection that lasts so long was no mistake: the pauses begin anew.
const LASTING: Duration = Duration::from_secs(5);
/// After how many unanswered calls in a row the connection is replaced, though the kernel reports no error.
const MAX_UNANSWERED: u32 = 3;
/// How often sentinels are asked whether the master has moved: an old one that is cut off from them reports nothing.
const MOVED_INTERVAL: Duration = Duration::from_secs(3);

/// One connection to one target.
pub(super) struct Link {
    pub(super) target: Arc<Target>,
    state: Arc<watch::Sender<State>>,
    opened: watch::Receiver<u64>,
    broken: Arc<Notify>,
    unanswered: AtomicU32,
    _keeper: AbortOnDropHandle<()>,
}

/// An open connection, and which one it is.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) connection: MultiplexedConnection,
    number: u64,
}

enum State {
    /// For the first time, or because of this trouble.
    Opening(RedisTrouble),
    Open(Open),
    Failed(RedisTrouble),
}

impl Link {
    /// Begins to connect.
    pub(super) fn new(target: Target) -> Self {
        let target = Arc::new(target);
        let state = Arc::new(watch::Sender::new(State::Opening(RedisTrouble::Silent)));
        let broken = Arc::new(Notify::new());
        let (opens, opened) = watch::channel(0);
        let keeper = Keeper {
            opens,
            target: Arc::clone(&target),
            state: Arc::clone(&state),
            broken: Arc::clone(&broken),
        };
        Self {
            target,
            state,
            opened,
            broken,
            unanswered: AtomicU32::new(0),
            _keeper: AbortOnDropHandle::new(TaskTracker::new().spawn(keeper.run())),
        }
    }

    /// The open connection. Waits while it is being opened, but not while that fails.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Open, RedisTrouble> {
        if let State::Open(open) = &*self.state.borrow() {
            return Ok(open.clone());
        }
        let mut changes = self.state.subscribe();
        let settled = changes.wait_for(|state| !matches!(state, State::Opening(_)));
        match timeout_at(deadline, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Open(open) => Ok(open.clone()),
                State::Opening(trouble) | State::Failed(trouble) => Err(trouble.clone()),
            },
            Ok(Err(_)) | Err(_) => Err(RedisTrouble::Silent),
        }
    }

    /// How many connections were opened so far: each may lead elsewhere.
    pub(super) fn opened(&self) -> watch::Receiver<u64> {
        self.opened.clone()
    }

    /// Replaces this connection, unless that has happened already.
    pub(super) fn break_off(&self, open: &Open, trouble: &RedisTrouble) {
        let is_newly_broken = self.state.send_if_modified(|state| {
            let is_this = matches!(state, State::Open(current) if current.number == open.number);
            if is_this {
                *state = State::Opening(trouble.clone());
            }
            is_this
        });
        if is_newly_broken {
            self.unanswered.store(0, Ordering::Relaxed);
            self.broken.notify_one();
        }
    }

    /// Notes a call that was answered, whatever the answer is.
    pub(super) fn note_answer(&self) {
        self.unanswered.store(0, Ordering::Relaxed);
    }

    /// Notes a call that was not answered in time.
    pub(super) fn note_silence(&self, open: &Open) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_UNANSWERED {
            self.break_off(open, &RedisTrouble::Silent);
        }
    }
}

/// Keeps a connection open.
struct Keeper {
    opens: watch::Sender<u64>,
    target: Arc<Target>,
    state: Arc<watch::Sender<State>>,
    broken: Arc<Notify>,
}

impl Keeper {
    /// Runs until dropped.
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        for number in 1.. {
            let trouble = match self.target.open().await {
                Ok((connection, info)) => {
                    let opened = Instant::now();
                    self.state.send_replace(State::Open(Open { connection, number }));
                    self.opens.send_modify(|opens| *opens += 1);
                    self.until_broken(address_of(&info)).await;
                    if opened.elapsed() >= LASTING {
                        pause = FIRST_PAUSE;
                        continue;
                    }
                    match &*self.state.borrow() {
                        State::Opening(trouble) | State::Failed(trouble) => trouble.clone(),
                        State::Open(_) => RedisTrouble::Silent,
                    }
                }
                Err(trouble) => trouble,
            };
            self.state.send_replace(State::Failed(trouble));
            sleep(pause).await;
            pause = (pause * 2).min(MAX_RECONNECT_PAUSE);
        }
    }

    /// Waits until the connection has to be replaced, because it is broken or because the target has moved.
    async fn until_broken(&self, at: Option<super::slots::NodeAddress>) {
        loop {
            tokio::select! {
                () = self.broken.notified() => return,
                () = sleep(MOVED_INTERVAL), if self.target.may_move() => {}
            }
            if self.target.has_moved(at.as_ref()).await {
                // Whoever uses it meanwhile may break it off as well, which the next round would take for its own.
                self.state.send_replace(State::Opening(RedisTrouble::ReadOnly));
                let _ = tokio::time::timeout(Duration::ZERO, self.broken.notified()).await;
                return;
            }
        }
    }
}
