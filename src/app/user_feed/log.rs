//! Reading the log: what became true, in its order, with what it stands for now.

use cura_domain::answer::Position;
use cura_domain::message::{MessageStatus, Role};
use cura_domain::{ConversationId, MessageId};
use cura_store::conversations::Conversation;
use cura_store::events::{Event, Logged, Standing};
use cura_store::messages::Message;
use cura_store::{StoreError, conversations, events, in_time, messages};

use super::{Resync, UserEvent, UserFeed, standing_cursor};
use crate::follow::AnswerEvent;

/// Events read at once.
const PAGE: i64 = 50;

/// The most text told of one page, in UTF-8 bytes: what a connection that does not read costs.
const PAGE_BYTES: i64 = 256 * 1024;

/// A part of the log, and what it speaks of.
#[derive(Default)]
struct Page {
    rows: Vec<Logged>,
    said: Vec<Message>,
    changed: Vec<Conversation>,
    /// Whether there is more behind it.
    more: bool,
}

impl UserFeed {
    /// Reads a page of the log and tells it. Changes nothing unless all of it could be read.
    pub(super) async fn read_log(&mut self) -> Result<(), StoreError> {
        match in_time(self.page()).await? {
            Ok(page) => {
                self.look = page.more;
                for row in page.rows {
                    self.tell_row(row, &page.said, &page.changed);
                }
                if !self.look {
                    self.tell_what_is_over();
                }
            }
            Err((reason, standing)) => self.resync(reason, standing).await?,
        }
        Ok(())
    }

    /// What comes after the cursor, or why nobody can say.
    async fn page(&self) -> Result<Result<Page, (Resync, Standing)>, StoreError> {
        let (user, seq) = (self.caller.user, self.cursor.seq);
        let mut connection = self.app.connection().await?;
        let mut rows = events::list_after(&mut connection, user, seq, PAGE).await?;
        if rows.is_empty() {
            let standing = events::standing(&mut connection, user, self.only).await?;
            if standing.seq == seq {
                return Ok(Ok(Page::default()));
            }
            // Written between the two looks, or not there any more.
            rows = events::list_after(&mut connection, user, seq, PAGE).await?;
            if rows.is_empty() {
                let unknown = standing.seq < seq;
                let reason = if unknown { Resync::Unknown } else { Resync::TooOld };
                return Ok(Err((reason, standing)));
            }
        }
        if rows.first().is_some_and(|row| row.seq != seq + 1) {
            let standing = events::standing(&mut connection, user, self.only).await?;
            return Ok(Err((Resync::TooOld, standing)));
        }
        // Behind a hole, the next look begins, and finds it.
        let full = rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        let whole = rows
            .iter()
            .zip(seq + 1..)
            .take_while(|(row, number)| row.seq == *number);
        let whole = whole.count();
        let mut more = full || whole < rows.len();
        rows.truncate(whole);
        rows.iter_mut()
            .filter(|row| self.only.is_some() && row.event.conversation() != self.only)
            .for_each(|row| row.event = Event::Unknown);
        let said: Vec<MessageId> = rows.iter().filter_map(|row| message_of(&row.event)).collect();
        if said.len() > 1 {
            let sizes = messages::sizes(&mut connection, user, &said).await?;
            more |= cut(&mut rows, &sizes);
        }
        let said: Vec<MessageId> = rows.iter().filter_map(|row| message_of(&row.event)).collect();
        let changed: Vec<ConversationId> = rows.iter().filter_map(|row| changed_in(&row.event)).collect();
        let said = if said.is_empty() {
            Vec::new()
        } else {
            messages::list_owned(&mut connection, user, &said).await?
        };
        let changed = if changed.is_empty() {
            Vec::new()
        } else {
            conversations::list_owned(&mut connection, user, &changed).await?
        };
        Ok(Ok(Page {
            rows,
            said,
            changed,
            more,
        }))
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
                    let asked = message.as_asked();
                    if message.status == MessageStatus::Sending {
                        self.running
                            .push(self.app.follow_read(self.caller, message, Position::START));
                    }
                    self.tell(UserEvent::Message(Box::new(asked)));
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
        let known = self.cursor.running.contains_key(&id);
        let position = self.cursor.running.get(&id).copied().unwrap_or(Position::START);
        // What it had seen and not told yet is seen again.
        self.running.retain(|follower| follower.answer() != id);
        let mut follower = self.app.follow_read(self.caller, message, position);
        for event in follower.take_ready() {
            match event {
                // It was told with the first of what is known of the answer.
                AnswerEvent::Notice { .. } if known => {}
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

    async fn resync(&mut self, reason: Resync, standing: Standing) -> Result<(), StoreError> {
        let mut cursor = standing_cursor(self.only, standing);
        self.running = self.followers_of(&mut cursor).await?;
        self.began_at = cursor.seq;
        self.cursor = cursor;
        self.over.clear();
        self.look = false;
        self.tell(UserEvent::Resync(reason));
        Ok(())
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

/// Cuts a page where its texts become too long; whether it did. One row is always left.
fn cut(rows: &mut Vec<Logged>, sizes: &[(MessageId, i64)]) -> bool {
    let size = |id| {
        sizes
            .iter()
            .find(|(known, _)| *known == id)
            .map_or(0, |(_, size)| *size)
    };
    let mut bytes = 0;
    let fits = rows.iter().take_while(|row| {
        // A message that is asked for has no text yet.
        if let Event::Ended(_, id) = row.event {
            bytes += size(id);
        }
        bytes <= PAGE_BYTES
    });
    let keep = fits.count().max(1);
    let cut = keep < rows.len();
    rows.truncate(keep);
    cut
}
