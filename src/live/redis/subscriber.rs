//! The subscriber: one subscription per process, for every text and every user that is watched here.
//!
//! It subscribes before it reads, so nothing published in between is lost; text that was already read is recognised by its
//! offset. A gap, a new attempt or a new connection is repaired by reading the whole text.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cura_domain::MessageId;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::changes::ChannelChanges;
use super::connection::Connection;
use super::echo::Echo;
use super::keys::Channel;
use super::publications::{Publications, Subscriptions};
use super::scripts::{ReadReply, Scripts};
use super::text_message::TextMessage;
use super::text_reads::{Meanwhile, TextReads};
use super::trouble::RedisTrouble;
use crate::memory::{TextTable, UserTable};
use crate::signals::Signal;
use crate::text::{MirrorUpdate, TextState};

/// How many channels are subscribed to at once.
const BATCH: usize = 64;
/// So many newly watched users may each read their event log at once.
const MAX_LOG_READS: usize = 100;
/// The first and the longest pause after a lost connection.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A subscription that lasts so long was none of several that fail: the pauses begin anew.
const LASTING: Duration = Duration::from_secs(5);

pub(super) struct Subscriber {
    /// The name of this process, which no other process has.
    pub(super) name: u64,
    pub(super) connection: Arc<Connection>,
    pub(super) scripts: Arc<Scripts>,
    pub(super) texts: TextTable,
    pub(super) users: UserTable,
    /// What is newly watched here, or no longer.
    pub(super) changes: Arc<ChannelChanges>,
    /// Why there is no subscription, if there is none.
    pub(super) trouble: watch::Sender<Option<RedisTrouble>>,
    pub(super) timeout: Duration,
}

/// The subscriptions after a change, and what is new with it.
type Changed = Result<(Subscriptions, Vec<Channel>), RedisTrouble>;

/// A subscription and what it has brought so far.
struct Subscribed {
    /// `None` while they change.
    subscriptions: Option<Subscriptions>,
    /// What is subscribed to, or about to be.
    channels: HashSet<Channel>,
    /// A change of the subscriptions, and what is new with it. Messages go on to arrive meanwhile.
    changing: Option<BoxFuture<'static, Changed>>,
    reads: TextReads,
}

impl Subscriber {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            if let Err(trouble) = self.run_subscription().await {
                self.connection.note_trouble(&trouble);
                self.trouble.send_replace(Some(trouble));
            }
            if begun.elapsed() >= LASTING {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Ends when the subscription is better made elsewhere.
    async fn run_subscription(&self) -> Result<(), RedisTrouble> {
        let replaced = self.connection.until_replaced();
        let (subscriptions, publications) = self.connection.publications().await?;
        let echo = Echo::new(self.name);
        let mut subscribed = Subscribed {
            subscriptions: Some(subscriptions),
            channels: HashSet::new(),
            changing: None,
            reads: TextReads::new(Arc::clone(&self.connection), Arc::clone(&self.scripts)),
        };
        // All is new, whatever has changed.
        self.changes.take();
        let mut all = self.watched();
        all.push(echo.channel());
        subscribed.channels = all.iter().copied().collect();
        subscribed.change(all, Vec::new(), self.timeout);
        tokio::select! {
            ended = self.receive(&mut subscribed, publications, &echo) => ended.map(|never| match never {}),
            () = replaced => Ok(()),
        }
    }

    async fn receive(
        &self,
        subscribed: &mut Subscribed,
        mut publications: Publications,
        echo: &Echo,
    ) -> Result<Infallible, RedisTrouble> {
        let is_subscribed = Notify::new();
        let mut unheard = pin!(async {
            is_subscribed.notified().await;
            echo.call(&self.connection).await
        });
        loop {
            tokio::select! {
                trouble = &mut unheard => return Err(trouble),
                () = self.changes.changed(), if subscribed.changing.is_none() => self.begin_change(subscribed),
                changed = outcome_of(&mut subscribed.changing) => {
                    subscribed.changing = None;
                    let (subscriptions, new) = changed?;
                    subscribed.subscriptions = Some(subscriptions);
                    self.take_new(subscribed, &new);
                    self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                    is_subscribed.notify_one();
                }
                (id, reply, meanwhile) = subscribed.reads.next() => self.take_read(subscribed, id, reply, meanwhile),
                ready = publications.ready() => {
                    ready?;
                    publications.take(|channel, payload| self.take_message(subscribed, echo, channel, payload))?;
                }
            }
        }
    }

    /// Everything that is watched in this process.
    fn watched(&self) -> Vec<Channel> {
        let texts = self.texts.watched().into_iter().map(Channel::Text);
        texts
            .chain(self.users.watched().into_iter().map(Channel::User))
            .collect()
    }

    /// Begins to subscribe to what is newly watched, and to unsubscribe from what is no longer watched.
    fn begin_change(&self, subscribed: &mut Subscribed) {
        let mut changed = self.changes.take();
        if changed.any {
            changed.channels.extend(&subscribed.channels);
            changed
                .channels
                .extend(self.texts.watched().into_iter().map(Channel::Text));
            changed
                .channels
                .extend(self.users.watched().into_iter().map(Channel::User));
        }
        let (mut new, mut left) = (Vec::new(), Vec::new());
        for channel in changed.channels {
            match (channel, self.keep_if_watched(channel)) {
                (_, true) if subscribed.channels.insert(channel) => new.push(channel),
                // Its copy was dropped, and this is another one.
                (Channel::Text(id), true) if self.texts.is_unknown(id) => subscribed.reads.begin(id),
                (Channel::Text(id), false) => {
                    subscribed.reads.forget(id);
                    left.extend(subscribed.channels.take(&channel));
                }
                (_, false) => left.extend(subscribed.channels.take(&channel)),
                (_, true) => {}
            }
        }
        if new.is_empty() && left.is_empty() {
            return;
        }
        subscribed.change(new, left, self.timeout);
    }

    /// Whether a channel has readers in this process; forgets it otherwise.
    fn keep_if_watched(&self, channel: Channel) -> bool {
        match channel {
            Channel::Text(id) => self.texts.keep_if_watched(id),
            Channel::User(user) => self.users.keep_if_watched(user),
            Channel::Echo(_) => true,
        }
    }

    /// What is now subscribed to is read: what was published before is lost.
    fn take_new(&self, subscribed: &mut Subscribed, new: &[Channel]) {
        // After a lost connection all users are new. They wait seconds for the server's own reading of all event logs,
        // which costs one query for a thousand of them.
        let read_logs = new.len() <= MAX_LOG_READS;
        for channel in new {
            match channel {
                Channel::Text(id) => subscribed.reads.begin_anew(*id),
                Channel::User(user) if read_logs => self.users.publish(*user, Signal::ReadLog),
                Channel::User(_) | Channel::Echo(_) => {}
            }
        }
    }

    fn take_message(&self, subscribed: &mut Subscribed, echo: &Echo, channel: &str, payload: &[u8]) {
        match Channel::parse(channel) {
            Some(Channel::Text(id))
                if !subscribed.reads.keep(id, payload) && self.apply(id, payload) == MirrorUpdate::Gap =>
            {
                subscribed.reads.begin(id);
            }
            Some(Channel::User(user)) => {
                let signal = std::str::from_utf8(payload).unwrap_or_default();
                self.users.publish(user, Signal::decode(signal));
            }
            Some(Channel::Echo(_)) => echo.note(payload),
            Some(Channel::Text(_)) | None => {}
        }
    }

    /// Takes over a text that was read, and what was published meanwhile.
    fn take_read(&self, subscribed: &mut Subscribed, id: MessageId, reply: ReadReply, meanwhile: Meanwhile) {
        if let ReadReply(Some(whole)) = reply {
            self.texts.mirror_whole(id, whole);
        }
        let mut messages = meanwhile.messages.iter();
        if messages.any(|message| self.apply(id, message) == MirrorUpdate::Gap) || meanwhile.is_cut {
            subscribed.reads.begin(id);
        }
    }

    fn apply(&self, id: MessageId, payload: &[u8]) -> MirrorUpdate {
        match TextMessage::decode(payload) {
            TextMessage::Replaced => MirrorUpdate::Gap,
            TextMessage::Begun { fence, offsets } => {
                let begun = TextState {
                    fence,
                    attempt_offsets: offsets,
                    ..TextState::default()
                };
                self.texts.mirror_whole(id, begun);
                MirrorUpdate::Applied
            }
            TextMessage::Appended { fence, offset, text } => self.texts.mirror_append(id, fence, offset, text),
            TextMessage::Ended(fence) => {
                self.texts.end(id, fence);
                MirrorUpdate::Applied
            }
        }
    }
}

impl Subscribed {
    /// Begins to subscribe to `new` and to unsubscribe from `left`.
    fn change(&mut self, new: Vec<Channel>, left: Vec<Channel>, limit: Duration) {
        let names = |channels: &[Channel]| -> Vec<String> { channels.iter().map(|channel| channel.name()).collect() };
        let Some(mut subscriptions) = self.subscriptions.take() else {
            return;
        };
        self.changing = Some(Box::pin(async move {
            for channels in new.chunks(BATCH) {
                within(limit, subscriptions.add(names(channels))).await?;
            }
            for channels in left.chunks(BATCH) {
                within(limit, subscriptions.remove(names(channels))).await?;
            }
            Ok((subscriptions, new))
        }));
    }
}

async fn within(limit: Duration, call: impl Future<Output = Result<(), RedisTrouble>>) -> Result<(), RedisTrouble> {
    timeout(limit * 2, call).await.unwrap_or(Err(RedisTrouble::Silent))
}

/// The outcome of what is under way; never resolves if nothing is.
async fn outcome_of<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
}
