//! Reading the log: what became true, in its order, with what it stands for now.

use cura_domain::answer::Position;
use cura_domain::conversation::Conversation;
use cura_domain::cursor::Cursor;
use cura_domain::event::{Event, Logged};
use cura_domain::message::{Message, MessageStatus, Role, TextSize};
use cura_domain::{ConversationId, MessageId};
use cura_store::events::Standing;
use cura_store::{PgConnection, StoreError, conversations, events, messages};
use futures_util::future::BoxFuture;

use super::{Resync, UserEvent, UserFeed, standing_cursor};
use crate::follow::{AnswerEvent, AnswerFollower};
use crate::{App, Caller};

/// Events read at once.
const PAGE: i64 = 50;

/// The most text told of one page, in UTF-8 bytes: what a connection that does not read costs.
const PAGE_BYTES: i64 = 256 * 1024;

/// Whose log is read, and which part of it.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) app: App,
    pub(super) caller: Caller,
    /// Only what happens in this conversation.
    pub(super) only: Option<ConversationId>,
}

/// What comes after a cursor.
pub(super) enum Look {
    /// A part of the log, and what it speaks of.
    Page(Page),
    /// Nobody can say: where to go on instead, and the answers that are running there.
    Lost(Resync, Cursor, Vec<AnswerFollower>),
}

/// A part of the log, and what it speaks of.
#[derive(Default)]
pub(super) struct Page {
    rows: Vec<Logged>,
    said: Vec<Message>,
    changed: Vec<Conversation>,
    /// Whether there is more behind it.
    more: bool,
}

impl Reader {
    /// Looks what comes after event `seq`.
    pub(super) fn look(&self, seq: i64) -> BoxFuture<'static, Result<Look, StoreError>> {
        let reader = self.clone();
        // On the heap: what reading needs, a connection to which nothing happens need not hold.
        Box::pin(async move {
            let app = reader.app.clone();
            match app.read(async |connection| reader.page(connection, seq).await).await? {
                Ok(page) => Ok(Look::Page(page)),
                Err((reason, standing)) => {
                    let mut cursor = standing_cursor(reader.only, standing);
                    let running = reader.followers_of(&mut cursor).await?;
                    Ok(Look::Lost(reason, cursor, running))
                }
            }
        })
    }

    /// Follows the answers a cursor names, as far as they are running; what it may not name is struck out.
    pub(super) async fn followers_of(&self, cursor: &mut Cursor) -> Result<Vec<AnswerFollower>, StoreError> {
        if cursor.running.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<MessageId> = cursor.running.keys().copied().collect();
        let user = self.caller.user;
        let found = self
            .app
            .read(async |connection| messages::list_owned(connection, user, &ids, &[]).await);
        let found: Vec<Message> = self.app.all_readable(found.await?);
        let ours = |message: &Message| {
            let here = self.only.is_none_or(|only| only == message.conversation_id);
            message.role == Role::Assistant && here
        };
        cursor
            .running
            .retain(|id, _| found.iter().any(|message| message.id == *id && ours(message)));
        let mut followers = Vec::new();
        for message in found {
            // One that is over has its end in the log.
            if let Some(position) = cursor.running.get(&message.id)
                && message.status == MessageStatus::Sending
            {
                followers.push(self.app.follow_read(self.caller, message, *position));
            }
        }
        Ok(followers)
    }

    /// What comes after event `seq`, or why nobody can say.
    async fn page(
        &self,
        connection: &mut PgConnection,
        seq: i64,
    ) -> Result<Result<Page, (Resync, Standing)>, StoreError> {
        let user = self.caller.user;
        let mut rows = events::list_after(connection, user, seq, PAGE).await?;
        if rows.is_empty() {
            let standing = events::standing(connection, user, self.only).await?;
            if standing.seq == seq {
                return Ok(Ok(Page::default()));
            }
            // Written between the two looks, or not there any more.
            rows = events::list_after(connection, user, seq, PAGE).await?;
            if rows.is_empty() {
                let unknown = standing.seq < seq;
                let reason = if unknown { Resync::Unknown } else { Resync::TooOld };
                return Ok(Err((reason, standing)));
            }
        }
        if rows.first().is_some_and(|row| row.seq != seq + 1) {
            let standing = events::standing(connection, user, self.only).await?;
            return Ok(Err((Resync::TooOld, standing)));
        }
        // Behind a hole, the next look begins, and finds it.
        let full = rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        let whole = rows
            .iter()
            .zip(seq + 1..)
            .take_while(|(row, number)| row.seq == *number);
        let whole = whole.count();
        let more = full || whole < rows.len();
        rows.truncate(whole);
        rows.iter_mut()
            .filter(|row| self.only.is_some() && row.event.conversation() != self.only)
            .for_each(|row| row.event = Event::Unknown);
        self.fill(connection, rows, more).await.map(Ok)
    }

    /// Reads what these rows speak of, as many as have room.
    async fn fill(
        &self,
        connection: &mut PgConnection,
        mut rows: Vec<Logged>,
        mut more: bool,
    ) -> Result<Page, StoreError> {
        let user = self.caller.user;
        let spoken_of: Vec<MessageId> = rows.iter().filter_map(|row| message_of(&row.event)).collect();
        let mut said = Vec::new();
        if !spoken_of.is_empty() {
            let sizes = messages::sizes(connection, user, &spoken_of).await?;
            more |= cut(&mut rows, &sizes);
            let kept: Vec<MessageId> = rows.iter().filter_map(|row| message_of(&row.event)).collect();
            let told = rows.iter().filter(|row| text_of(&row.event, &sizes).is_some());
            let told: Vec<MessageId> = told.filter_map(|row| message_of(&row.event)).collect();
            said = self
                .app
                .all_readable(messages::list_owned(connection, user, &kept, &told).await?);
        }
        let ids: Vec<ConversationId> = rows.iter().filter_map(|row| changed_in(&row.event)).collect();
        let mut changed = Vec::new();
        if !ids.is_empty() {
            changed = conversations::list_owned(connection, user, &ids).await?;
        }
        Ok(Page {
            rows,
            said,
            changed,
            more,
        })
    }
}

impl UserFeed {
    /// Tells what a look has found.
    pub(super) fn learn(&mut self, look: Look) {
        match look {
            Look::Page(page) => {
                self.look |= page.more;
                for row in page.rows {
                    self.tell_row(row, &page.said, &page.changed);
                }
                if !self.look {
                    self.tell_what_is_over();
                }
            }
            Look::Lost(reason, cursor, running) => {
                self.running = running;
                self.began_at = cursor.seq;
                self.cursor = cursor;
                self.over.clear();
                self.tell(UserEvent::Resync(reason));
            }
        }
    }

    fn tell_row(&mut self, row: Logged, said: &[Message], changed: &[Conversation]) {
        let find = |id: MessageId| said.iter().find(|message| message.id == id).cloned();
        match row.event {
            Event::Message(_, id) => {
                self.cursor.seq = row.seq;
                // Deleted since, with its conversation: that is told by an event of its own.
                let Some(message) = find(id) else { return };
                if message.role == Role::Assistant {
                    self.cursor.running.insert(id, Position::START);
                    if message.status == MessageStatus::Sending {
                        let follower = self
                            .log
                            .app
                            .follow_read(self.log.caller, message.clone(), Position::START);
                        self.running.push(follower);
                    }
                    self.tell(UserEvent::Message(Box::new(message.as_asked())));
                } else {
                    self.tell(UserEvent::Message(Box::new(message)));
                }
            }
            Event::Ended(_, id) => match find(id) {
                Some(message) => self.tell_end(message, row.seq),
                None => {
                    self.cursor.running.remove(&id);
                    self.cursor.seq = row.seq;
                }
            },
            Event::Conversation(id) => {
                self.cursor.seq = row.seq;
                let found = changed.iter().find(|conversation| conversation.id == id);
                if found.is_none() {
                    let gone = self
                        .running
                        .extract_if(.., |follower| follower.conversation() == Some(id));
                    for follower in gone.collect::<Vec<_>>() {
                        self.tell_gone(&follower);
                    }
                }
                self.tell(UserEvent::Conversation(id, found.cloned().map(Box::new)));
            }
            Event::Read(conversation, message) => {
                self.cursor.seq = row.seq;
                self.tell(UserEvent::Read(conversation, message));
            }
            Event::Export(payload) => {
                self.cursor.seq = row.seq;
                self.tell(UserEvent::Export(payload));
            }
            Event::Unknown => self.cursor.seq = row.seq,
        }
    }

    /// Tells what is missing of an answer that is over, and then that it is; the log says so at `seq`.
    fn tell_end(&mut self, message: Message, seq: i64) {
        let id = message.id;
        self.over.retain(|over| over.id != id);
        let position = self.cursor.running.get(&id).copied().unwrap_or(Position::START);
        // What it had seen and not told yet is seen again.
        self.running.retain(|follower| follower.answer() != id);
        let mut follower = self.log.app.follow_read(self.log.caller, message, position);
        for event in follower.take_ready() {
            match event {
                AnswerEvent::Ended { .. } => {
                    self.cursor.seq = seq;
                    self.cursor.running.remove(&id);
                    self.tell(UserEvent::Answer(id, event));
                }
                event => {
                    let position = event.position();
                    self.tell_answer(id, position, event);
                }
            }
        }
    }

    /// Answers that are over although the log does not tell it: their cursor was made up, or older than the log.
    fn tell_what_is_over(&mut self) {
        for message in std::mem::take(&mut self.over) {
            let seq = self.cursor.seq;
            self.tell_end(message, seq);
        }
    }
}

const fn message_of(event: &Event) -> Option<MessageId> {
    match event {
        Event::Message(_, id) | Event::Ended(_, id) => Some(*id),
        _ => None,
    }
}

const fn changed_in(event: &Event) -> Option<ConversationId> {
    match event {
        Event::Conversation(id) => Some(*id),
        _ => None,
    }
}

/// How long the text is that is told with an event, in UTF-8 bytes, if one is: an answer that is asked for has none yet.
fn text_of(event: &Event, sizes: &[TextSize]) -> Option<i64> {
    let id = message_of(event)?;
    let size = sizes.iter().find(|size| size.id == id)?;
    let asked_for = matches!(event, Event::Message(..)) && size.role == Role::Assistant;
    (!asked_for).then_some(size.bytes)
}

/// Cuts a page where its texts become too long; whether it did. One row is always left.
fn cut(rows: &mut Vec<Logged>, sizes: &[TextSize]) -> bool {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        bytes += text_of(&row.event, sizes).unwrap_or(0);
        bytes <= PAGE_BYTES
    });
    let keep = fits.count().max(1);
    let cut = keep < rows.len();
    rows.truncate(keep);
    cut
}
