//! Applies a part of the event log to a feed: every event becomes one or more items, in the order of the log.

use cura_domain::answer::Position;
use cura_domain::event::{Event, Logged};
use cura_domain::message::{Message, MessageStatus, Role};
use cura_domain::{ConversationId, MessageId};

use super::UserFeed;
use crate::feed::answer_event::AnswerEvent;
use crate::feed::log_reader::{Fetch, Page};
use crate::feed::user_event::UserEvent;

impl UserFeed {
    /// Adds the items of a fetch.
    pub(super) fn apply(&mut self, fetch: Fetch) {
        match fetch {
            Fetch::Page(mut page) => {
                self.is_behind = page.more;
                self.fetch_wanted |= page.more;
                for event in std::mem::take(&mut page.events) {
                    self.apply_event(event, &page);
                }
                if !self.fetch_wanted {
                    self.push_unlogged_ends();
                }
            }
            Fetch::Lost(reason, cursor, running) => {
                self.is_behind = false;
                self.running = running;
                self.started_at = cursor.seq;
                self.cursor = cursor;
                self.ended.clear();
                self.push(UserEvent::Resync(reason));
            }
        }
    }

    fn apply_event(&mut self, row: Logged, page: &Page) {
        let find = |id: MessageId| page.messages.iter().find(|message| message.id == id).cloned();
        // An end moves the cursor itself, after the text that is still missing.
        if !matches!(row.event, Event::Ended(..)) {
            self.cursor.seq = row.seq;
        }
        match row.event {
            Event::Message(_, id) => {
                // A message that is gone was deleted with its conversation, which is an event of its own.
                if let Some(message) = find(id) {
                    self.apply_message(message);
                }
            }
            Event::Ended(_, id) => match find(id) {
                // An operator has had it retried since: a later event says so, and another one will report its end.
                Some(message) if message.status == MessageStatus::Sending => self.forget_end(id, row.seq),
                Some(message) => self.push_end(message, row.seq),
                None => {
                    self.cursor.running.remove(&id);
                    self.cursor.seq = row.seq;
                }
            },
            Event::Conversation(id) => self.apply_conversation(id, page),
            Event::Read(conversation, message) => self.push(UserEvent::Read(conversation, message)),
            Event::Export(payload) => self.push(UserEvent::Export(payload)),
            Event::Push(tested) => self.push(UserEvent::Push(tested)),
            Event::Upload(id) => {
                let found = page.files.iter().find(|linked| linked.file.id == id);
                self.push(UserEvent::Upload(id, found.cloned().map(Box::new)));
            }
            Event::Unknown => {}
        }
    }

    fn apply_message(&mut self, message: Message) {
        if message.role != Role::Assistant {
            self.push(UserEvent::Message(Box::new(message)));
            return;
        }
        // A message that is known is an answer that is retried: it begins anew.
        self.forget_answer(message.id);
        self.cursor.running.insert(message.id, Position::START);
        if message.status == MessageStatus::Sending {
            let follower = self.log.follow(message.clone(), Position::START);
            self.running.push(follower);
        }
        self.push(UserEvent::Message(Box::new(message.as_asked())));
    }

    /// Moves on behind an end that is none any more.
    fn forget_end(&mut self, id: MessageId, seq: i64) {
        self.forget_answer(id);
        self.cursor.running.remove(&id);
        self.cursor.seq = seq;
    }

    fn forget_answer(&mut self, id: MessageId) {
        self.ended.retain(|ended| ended.id != id);
        self.running.retain(|follower| follower.answer() != id);
    }

    fn apply_conversation(&mut self, id: ConversationId, page: &Page) {
        let found = page.conversations.iter().find(|conversation| conversation.id == id);
        if found.is_none() {
            let gone = self
                .running
                .extract_if(.., |follower| follower.conversation() == Some(id));
            for follower in gone.collect::<Vec<_>>() {
                self.push_gone(&follower);
            }
        }
        self.push(UserEvent::Conversation(id, found.cloned().map(Box::new)));
    }

    /// Adds the missing text of a final answer, and its end, which is the event `seq` of the log.
    fn push_end(&mut self, message: Message, seq: i64) {
        let id = message.id;
        let position = self.cursor.running.get(&id).copied().unwrap_or(Position::START);
        // Text that the follower has received and not passed on is read again.
        self.forget_answer(id);
        let mut follower = self.log.follow(message, position);
        for event in follower.take_ready() {
            match event {
                AnswerEvent::Ended { .. } => {
                    self.cursor.seq = seq;
                    self.cursor.running.remove(&id);
                    self.push(UserEvent::Answer(id, event));
                }
                event => {
                    let position = event.position();
                    self.push_answer(id, position, event);
                }
            }
        }
    }

    /// Adds the ends of final answers that the log does not report, because the cursor was forged or is older than the log.
    fn push_unlogged_ends(&mut self) {
        for message in std::mem::take(&mut self.ended) {
            let seq = self.cursor.seq;
            self.push_end(message, seq);
        }
    }
}
