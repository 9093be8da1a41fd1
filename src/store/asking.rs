//! Asking for an answer: the question, the pending answer, its job and its events are stored by one statement, or nothing is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use cura_domain::message::{Follows, WrittenTurn};
use cura_domain::notice::Notice;
use cura_domain::{ConversationId, MessageId, UserId};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::StoreError;
use crate::idempotency::KeyUse;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A new question.
    New {
        /// Its words.
        words: &'a str,
        /// The message that it follows.
        follows: Follows,
    },
    /// A question that exists.
    Existing(MessageId),
}

/// The key of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestKey<'a> {
    /// The key.
    pub key: &'a str,
    /// SHA-256 of the request.
    pub digest: &'a [u8; 32],
    /// One that was used before this has expired.
    pub not_before: DateTime<Utc>,
}

/// How many answers may be unfinished.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// In the conversation, if it is at most so many with this one. The new answer waits for the others.
    pub in_conversation: i32,
    /// Of the user, with this one.
    pub of_user: i32,
    /// Of the user, at a time; 0 is no limit. The new answer waits if so many run.
    pub running: i32,
}

/// The job of a new answer, without what it works on.
#[derive(Debug, Clone)]
pub struct AnswerJob {
    /// Its id.
    pub id: String,
    /// Its queue.
    pub queue: &'static str,
    /// How often it may be tried.
    pub max_attempts: i32,
    /// Its metadata, but for its owner: keys and values.
    pub metadata: (Vec<String>, Vec<String>),
    /// How long it waits if another answer comes first.
    pub waiting_delay: Duration,
}

/// A request for an answer.
#[derive(Debug, Clone, Copy)]
pub struct NewRequest<'a> {
    /// Whose.
    pub user: UserId,
    /// The conversation; `None` makes one.
    pub conversation: Option<ConversationId>,
    /// The question.
    pub asked: Asked<'a>,
    /// The title of a conversation that has none.
    pub excerpt: &'a str,
    /// The key, if there is one.
    pub key: Option<RequestKey<'a>>,
    /// The limits.
    pub room: Room,
    /// The tokens that are reserved for the answer.
    pub reserved_tokens: i64,
    /// The crisis notice to show beside it.
    pub notice: Option<&'a Notice>,
    /// The job.
    pub job: &'a AnswerJob,
    /// Whether the events are appended by the statement; if not, its caller does that.
    pub logs: bool,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It is stored.
    Stored(Stored),
    /// The account is being erased.
    UserGone,
    /// The account is suspended.
    UserSuspended,
    /// The key was used before.
    KeyUsed(KeyUse),
    /// There is no such conversation of the user.
    NoConversation,
    /// As many answers as may are unfinished in the conversation.
    Busy {
        /// The first of them.
        unfinished: MessageId,
    },
    /// As many answers of the user as may are unfinished.
    TooManyUnfinished,
}

/// What was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The conversation.
    pub conversation: ConversationId,
    /// The question, which is new or existed, and the answer.
    pub turn: WrittenTurn,
    /// Whether the conversation is new, or got its title.
    pub retitled: bool,
    /// The number of the last event, if events were appended.
    pub last_event: Option<i64>,
}

/// Stores a request for an answer. One round trip; a transaction of its own, unless the caller has begun one. The user's other
/// requests wait until it ends.
pub async fn ask(conn: &mut PgConnection, new: &NewRequest<'_>, now: DateTime<Utc>) -> Result<Outcome, StoreError> {
    let (words, version_of, asked) = match new.asked {
        Asked::New { words, follows } => match follows {
            Follows::TheLast => (Some(words), None, None),
            Follows::SameAs(message) => (Some(words), Some(message.0), None),
        },
        Asked::Existing(question) => (None, None, Some(question.0)),
    };
    let row = sqlx::query!(
        r#"SELECT outcome AS "outcome!", conversation, parent, question, answer, retitled, last_event, first_digest, unfinished
           FROM ask_for_answer($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)"#,
        new.user.0,
        new.conversation.map(|conversation| conversation.0),
        words,
        version_of,
        asked,
        new.excerpt,
        new.key.map(|key| key.key),
        new.key.map(|key| key.digest.as_slice()),
        new.key.map(|key| key.not_before),
        new.room.in_conversation,
        new.room.of_user,
        new.room.running,
        new.reserved_tokens,
        new.notice.map(Json) as _,
        new.job.id,
        new.job.queue,
        new.job.max_attempts,
        &new.job.metadata.0,
        &new.job.metadata.1,
        new.job.waiting_delay.as_secs_f64(),
        new.logs,
        now,
    )
    .fetch_one(conn)
    .await?;
    let made = row.question.map(MessageId).zip(row.answer.map(MessageId));
    Ok(match row.outcome.as_str() {
        "user_gone" => Outcome::UserGone,
        "suspended" => Outcome::UserSuspended,
        "key_used" => Outcome::KeyUsed(KeyUse {
            request_hash: row.first_digest.unwrap_or_default(),
            made,
        }),
        "no_conversation" => Outcome::NoConversation,
        "busy" => Outcome::Busy {
            unfinished: row.unfinished.map(MessageId).ok_or(UNKNOWN)?,
        },
        "too_many" => Outcome::TooManyUnfinished,
        "stored" => {
            let (question, answer) = made.ok_or(UNKNOWN)?;
            Outcome::Stored(Stored {
                conversation: row.conversation.map(ConversationId).ok_or(UNKNOWN)?,
                turn: WrittenTurn {
                    parent: row.parent.map(MessageId),
                    question,
                    answer,
                },
                retitled: row.retitled.unwrap_or_default(),
                last_event: row.last_event,
            })
        }
        _ => return Err(UNKNOWN),
    })
}

const UNKNOWN: StoreError = StoreError::UnknownWord("outcome of a request");
