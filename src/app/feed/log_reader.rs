//! Reads a user's event log after a cursor, together with the messages, conversations and files that its events name.

use cura_domain::answer::Position;
use cura_domain::conversation::Conversation;
use cura_domain::cursor::Cursor;
use cura_domain::event::{Event, Logged};
use cura_domain::message::{Message, MessageStatus, Role, TextSize};
use cura_domain::{ConversationId, FileId, MessageId, UserId};
use cura_store::events::LogHead;
use cura_store::{PgConnection, StoreError, conversations, events, files, messages};
use futures_util::future::BoxFuture;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::answer_follower::AnswerFollower;
use super::sources::Sources;
use super::user_event::Resync;
use crate::files::LinkedFile;

/// Events read at once.
const PAGE: i64 = 50;
/// The most text read at once, in UTF-8 bytes. It bounds the memory of a connection that does not read.
const PAGE_BYTES: i64 = 256 * 1024;

/// Reads the log of one user, or its part about one conversation.
#[derive(Clone)]
pub(super) struct LogReader {
    pub(super) sources: Sources,
    pub(super) user: UserId,
    /// Only events of this conversation are reported, and those of none.
    pub(super) only: Option<ConversationId>,
}

/// The log after a cursor.
pub(super) enum Fetch {
    /// The next events.
    Page(Page),
    /// The cursor cannot be resumed. The feed continues from this cursor, with the answers that are running there.
    Lost(Resync, Cursor, Vec<AnswerFollower>),
}

/// A part of the log, with the messages, conversations and files that its events name.
#[derive(Default)]
pub(super) struct Page {
    pub(super) events: Vec<Logged>,
    pub(super) messages: Vec<Message>,
    pub(super) conversations: Vec<Conversation>,
    pub(super) files: Vec<LinkedFile>,
    /// Whether there is more after it.
    pub(super) more: bool,
}

/// [`Fetch`], before the followers are made.
enum Read {
    Page(Page),
    Lost(Resync, LogHead),
}

impl LogReader {
    /// The cursor after the last event, with the answers that are running.
    pub(super) async fn head(&self) -> Result<Cursor, StoreError> {
        let head = self
            .sources
            .database
            .connection(async |connection| events::head(connection, self.user, self.only).await);
        Ok(self.cursor_at(head.await?))
    }

    fn cursor_at(&self, head: LogHead) -> Cursor {
        Cursor {
            scope: self.only,
            seq: head.seq,
            running: head.running.into_iter().map(|id| (id, Position::START)).collect(),
            ..Cursor::default()
        }
    }

    /// Reads the log after event `seq`; if it `is_replay`, when it is this connection's turn. Boxed, because an idle connection has
    /// no fetch pending.
    pub(super) fn fetch(&self, seq: i64, is_replay: bool) -> BoxFuture<'static, Result<Fetch, StoreError>> {
        let reader = self.clone();
        if !is_replay {
            return Box::pin(reader.fetch_now(seq));
        }
        // In a task: if the client stops reading, its turn ends all the same.
        let task = TaskTracker::new().spawn(async move {
            let turn = reader.sources.replays.wait(reader.user).await;
            let fetched = reader.fetch_now(seq).await?;
            if matches!(&fetched, Fetch::Page(page) if page.more) {
                turn.end_with_more().await;
            }
            Ok(fetched)
        });
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move { task.await.map_err(std::io::Error::from)? })
    }

    async fn fetch_now(self, seq: i64) -> Result<Fetch, StoreError> {
        let read = self
            .sources
            .database
            .connection(async |connection| self.read(connection, seq).await);
        match read.await? {
            Read::Page(page) => Ok(Fetch::Page(page)),
            Read::Lost(reason, head) => {
                let mut cursor = self.cursor_at(head);
                let running = self.followers_of(&mut cursor).await?;
                Ok(Fetch::Lost(reason, cursor, running))
            }
        }
    }

    /// Follows the running answers of a cursor; answers that it may not name are removed from it.
    pub(super) async fn followers_of(&self, cursor: &mut Cursor) -> Result<Vec<AnswerFollower>, StoreError> {
        if cursor.running.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<MessageId> = cursor.running.keys().copied().collect();
        let found = self
            .sources
            .database
            .connection(async |connection| messages::list_owned(connection, self.user, &ids, &[]).await);
        let found: Vec<Message> = self.sources.notices.all_readable(found.await?);
        let is_allowed = |message: &Message| {
            let in_scope = self.only.is_none_or(|only| only == message.conversation_id);
            message.role == Role::Assistant && in_scope
        };
        cursor
            .running
            .retain(|id, _| found.iter().any(|message| message.id == *id && is_allowed(message)));
        let mut followers = Vec::new();
        for message in found {
            // The end of a final answer is an event of the log.
            if let Some(position) = cursor.running.get(&message.id)
                && message.status == MessageStatus::Sending
            {
                followers.push(self.follow(message, *position));
            }
        }
        Ok(followers)
    }

    /// Follows an answer whose row was just read.
    pub(super) fn follow(&self, message: Message, position: Position) -> AnswerFollower {
        AnswerFollower::of_message(&self.sources, self.user, message, position)
    }

    async fn read(&self, connection: &mut PgConnection, seq: i64) -> Result<Read, StoreError> {
        let user = self.user;
        let mut rows = events::list_after(connection, user, seq, PAGE).await?;
        if rows.is_empty() {
            let head = events::head(connection, user, self.only).await?;
            if head.seq == seq {
                return Ok(Read::Page(Page::default()));
            }
            // Events were appended between the two statements, or were deleted.
            rows = events::list_after(connection, user, seq, PAGE).await?;
            if rows.is_empty() {
                let unknown = head.seq < seq;
                let reason = if unknown { Resync::Unknown } else { Resync::TooOld };
                return Ok(Read::Lost(reason, head));
            }
        }
        if rows.first().is_some_and(|row| row.seq != seq + 1) {
            let head = events::head(connection, user, self.only).await?;
            return Ok(Read::Lost(Resync::TooOld, head));
        }
        // The next fetch starts after a gap, and reports it.
        let is_full = rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        let without_gap = rows
            .iter()
            .zip(seq + 1..)
            .take_while(|(row, number)| row.seq == *number);
        let without_gap = without_gap.count();
        let more = is_full || without_gap < rows.len();
        rows.truncate(without_gap);
        // What happens in no conversation, an archive that is ready, is told in each.
        let elsewhere = |row: &&mut Logged| match (self.only, row.event.conversation()) {
            (Some(only), Some(conversation)) => conversation != only,
            _ => false,
        };
        rows.iter_mut()
            .filter(elsewhere)
            .for_each(|row| row.event = Event::Unknown);
        self.load(connection, rows, more).await.map(Read::Page)
    }

    /// Reads the messages, conversations and files that these events name, as far as their texts fit into a page.
    async fn load(
        &self,
        connection: &mut PgConnection,
        mut rows: Vec<Logged>,
        mut more: bool,
    ) -> Result<Page, StoreError> {
        let named: Vec<MessageId> = rows.iter().filter_map(|row| message_of(&row.event)).collect();
        let mut read = Vec::new();
        if !named.is_empty() {
            let sizes = messages::list_text_sizes(connection, self.user, &named).await?;
            more |= cut(&mut rows, &sizes);
            let kept: Vec<MessageId> = rows.iter().filter_map(|row| message_of(&row.event)).collect();
            let with_text = rows.iter().filter(|row| text_of(&row.event, &sizes).is_some());
            let with_text: Vec<MessageId> = with_text.filter_map(|row| message_of(&row.event)).collect();
            let stored = messages::list_owned(connection, self.user, &kept, &with_text).await?;
            read = self.sources.notices.all_readable(stored);
            let links = &self.sources.links;
            links.add_attachments(connection, self.user, &mut read).await?;
        }
        let changed: Vec<ConversationId> = rows.iter().filter_map(|row| changed_by(&row.event)).collect();
        let mut conversations = Vec::new();
        if !changed.is_empty() {
            conversations = conversations::list_owned(connection, self.user, &changed).await?;
        }
        let uploads: Vec<FileId> = rows.iter().filter_map(|row| file_of(&row.event)).collect();
        let mut files = Vec::new();
        if !uploads.is_empty() {
            let found = files::list_owned(connection, self.user, &uploads).await?;
            files = found.into_iter().map(|file| self.sources.links.link(file)).collect();
        }
        Ok(Page {
            events: rows,
            messages: read,
            conversations,
            files,
            more,
        })
    }
}

const fn message_of(event: &Event) -> Option<MessageId> {
    match event {
        Event::Message(_, id) | Event::Ended(_, id) => Some(*id),
        _ => None,
    }
}

const fn changed_by(event: &Event) -> Option<ConversationId> {
    match event {
        Event::Conversation(id) => Some(*id),
        _ => None,
    }
}

const fn file_of(event: &Event) -> Option<FileId> {
    match event {
        Event::Upload(id) => Some(*id),
        _ => None,
    }
}

/// The length of the text that is reported with an event, in UTF-8 bytes: a new answer has no text yet.
fn text_of(event: &Event, sizes: &[TextSize]) -> Option<i64> {
    let id = message_of(event)?;
    let size = sizes.iter().find(|size| size.id == id)?;
    let is_new_answer = matches!(event, Event::Message(..)) && size.role == Role::Assistant;
    (!is_new_answer).then_some(size.bytes)
}

/// Cuts a page where its texts exceed [`PAGE_BYTES`], but keeps one row; returns whether it was cut.
fn cut(rows: &mut Vec<Logged>, sizes: &[TextSize]) -> bool {
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        bytes += text_of(&row.event, sizes).unwrap_or(0);
        bytes <= PAGE_BYTES
    });
    let keep = fits.count().max(1);
    let is_cut = keep < rows.len();
    rows.truncate(keep);
    is_cut
}
