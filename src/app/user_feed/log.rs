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

impl UserFeed {
    /// Reads a page of the log and tells it. Changes nothing unless all of it could be read.
    pub(super) async fn read_log(&mut self) -> Result<(), StoreError> {
        let (user, seq) = (self.caller.user, self.cursor.seq);
        let page = in_time(async {
            let mut connection = self.app.connection().await?;
            let mut rows = events::list_after(&mut connection, user, seq, PAGE).await?;
            if rows.is_empty() {
                let standing = events::standing(&mut connection, user, self.only).await?;
                if standing.seq == seq {
                    return Ok::<_, StoreError>(Ok((rows, Vec::new(), Vec::new())));
                }
                // Written between the two looks, or not there any more.
                rows = events::list_after(&mut connection, user, seq, PAGE).await?;
                if rows.is_empty() {
                    let reason = if standing.seq < seq {
                        Resync::Unknown
                    } else {
                        Resync::TooOld
                    };
                    return Ok(Err((reason, standing)));
                }
            }
            if rows.first().is_some_and(|row| row.seq != seq + 1) {
                return Ok(Err((
                    Resync::TooOld,
                    events::standing(&mut connection, user, self.only).await?,
                )));
            }
            rows.iter_mut()
                .filter(|row| self.only.is_some() && row.event.conversation() != self.only)
                .for_each(|row| row.event = Event::Unknown);
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
            Ok(Ok((rows, said, changed)))
        });
        match page.await? {
            Ok((rows, said, changed)) => {
                self.look = rows.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
                for row in rows {
                    self.tell_row(row, &said, &changed);
                }
                if !self.look {
                    self.tell_what_is_over();
                }
            }
            Err((reason, standing)) => self.resync(reason, standing).await?,
        }
        Ok(())
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
        let position = self.cursor.running.get(&id).copied().unwrap_or(Position::START);
        // What it had seen and not told yet is seen again.
        self.running.retain(|follower| follower.answer() != id);
        let mut follower = self.app.follow_read(self.caller, message, position);
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

    async fn resync(&mut self, reason: Resync, standing: Standing) -> Result<(), StoreError> {
        let mut cursor = standing_cursor(standing);
        self.running = self.followers_of(&mut cursor).await?;
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
