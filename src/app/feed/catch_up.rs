//! Brings a reader of an answer to the end of a stored text.

use cura_domain::answer::{Fence, Position};
use cura_domain::message::Message;

use super::answer_event::AnswerEvent;

/// The events that bring a reader from `reached` to the end of `message.content`, and its position after them: they remove
/// what a newer attempt rewrote, and append what is missing.
pub(super) fn catch_up(reached: Position, message: &Message) -> (Vec<AnswerEvent>, Position) {
    let text = &message.content;
    let mut events = Vec::new();
    // A reader that was only shown the notice is before the text.
    let from = reached.of_text();
    let keep = usize::try_from(message.attempt_offsets.keep(from))
        .unwrap_or(usize::MAX)
        .min(text.len());
    let keep = text.floor_char_boundary(keep);
    let offset = keep as u64;
    let attempt = message.attempt.max(from.attempt);
    if attempt > from.attempt {
        // A reader that resumes between this event and the reset must get the reset.
        let position = if offset < from.offset {
            from
        } else {
            Position { attempt, ..from }
        };
        events.push(AnswerEvent::Started { attempt, position });
    }
    if offset < from.offset {
        let position = Position { attempt, offset };
        events.push(AnswerEvent::Reset { offset, position });
    }
    let end = if attempt == Fence(0) {
        reached
    } else {
        Position {
            attempt,
            offset: text.len() as u64,
        }
    };
    if keep < text.len() {
        events.push(AnswerEvent::Chunk {
            offset,
            content: text[keep..].to_owned(),
            position: end,
        });
    }
    (events, end)
}
