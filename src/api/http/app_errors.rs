//! What the errors of `cura_app` that several routes meet mean to a client. Errors of one route are mapped beside it.

use std::time::Duration;

use cura_app::StoreError;
use cura_app::chat::StartAnswerError;
use cura_app::conversations::{ConversationError, MarkReadError};
use cura_app::messages::MessageError;
use cura_app::passwords::PasswordError;
use cura_app::sessions::AuthenticateError;
use cura_app::switches::SwitchedOff;
use cura_domain::message::InvalidText;
use cura_domain::switch::Switch;
use poem::http::StatusCode;

use crate::http::problem::{FieldError, Problem};

/// When a client should try again if a dependency is unavailable.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(2);

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::TookTooLong => {
                tracing::warn!(
                    error = chain(&error),
                    "the database is unavailable or did not finish in time"
                );
                let detail = "The database is unavailable; please try again.";
                Self::unavailable("database_unavailable", detail, UNAVAILABLE_FOR)
            }
            StoreError::UserGone => Self::not_signed_in(),
            StoreError::Query(_) | StoreError::UnknownWord(_) => {
                tracing::error!(error = chain(&error), "query failed");
                Self::internal()
            }
        }
    }
}

impl From<SwitchedOff> for Problem {
    fn from(SwitchedOff(switch): SwitchedOff) -> Self {
        let (code, detail) = match switch {
            Switch::Registration => ("registration_closed", "Nobody can register at the moment."),
            Switch::Uploads => ("uploads_closed", "No files can be uploaded at the moment."),
        };
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => {
                let detail = "Too many sign-ins at this moment; please try again.";
                Self::unavailable("sign_in_busy", detail, UNAVAILABLE_FOR)
            }
            PasswordError::Hash(_) => {
                tracing::error!(%error, "password hashing failed");
                Self::internal()
            }
        }
    }
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::NotSignedIn => Self::not_signed_in(),
            AuthenticateError::Suspended => Self::suspended(),
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

impl From<ConversationError> for Problem {
    fn from(error: ConversationError) -> Self {
        match error {
            ConversationError::NotFound => Self::conversation_not_found(),
            ConversationError::Store(error) => error.into(),
        }
    }
}

impl From<MarkReadError> for Problem {
    fn from(error: MarkReadError) -> Self {
        match error {
            MarkReadError::Conversation(error) => error.into(),
            MarkReadError::MessageNotFound => Self::message_not_found(),
            MarkReadError::Store(error) => error.into(),
        }
    }
}

impl From<MessageError> for Problem {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::NotFound => Self::message_not_found(),
            MessageError::Store(error) => error.into(),
        }
    }
}

impl From<StartAnswerError> for Problem {
    fn from(error: StartAnswerError) -> Self {
        match error {
            StartAnswerError::ConversationNotFound => Self::conversation_not_found(),
            StartAnswerError::MessageNotFound => Self::message_not_found(),
            StartAnswerError::FileNotFound => Self::file_not_found(),
            StartAnswerError::FileInfected { file } => {
                let detail = "Something harmful was found in one of the files; send the message without it.";
                Self::new(StatusCode::CONFLICT, "file_infected", detail).with_file(file.0)
            }
            StartAnswerError::FileFailed { file } => {
                let detail = "One of the files could not be checked; send the message without it, or upload it again.";
                Self::new(StatusCode::CONFLICT, "file_failed", detail).with_file(file.0)
            }
            StartAnswerError::BlankText => Self::invalid(vec![FieldError::new(
                "/content",
                "invalid_content",
                InvalidText::Empty.to_string(),
            )]),
            StartAnswerError::Busy { running } => {
                let detail = "An answer is being written in this conversation.";
                Self::new(StatusCode::CONFLICT, "generation_in_progress", detail).with_message(running.0)
            }
            StartAnswerError::QueueFull { limit } => {
                let detail = format!(
                    "{limit} messages of this conversation wait for an answer; send more when one is answered."
                );
                Self::new(StatusCode::CONFLICT, "queue_full", detail).with_limit(limit)
            }
            StartAnswerError::TooManyUnfinished { limit, after } => {
                let detail = format!("{limit} of your messages wait for an answer; send more when one is answered.");
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_generations", detail).with_retry_after(after)
            }
            StartAnswerError::QuotaExceeded {
                limit,
                resets_at,
                after,
            } => {
                let detail = "The daily token quota is used up; it is reset at resets_at.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", detail).with_quota(limit, resets_at, after)
            }
            StartAnswerError::KeyReused => Self::key_reused(),
            StartAnswerError::Suspended => Self::suspended(),
            StartAnswerError::Store(error) => error.into(),
        }
    }
}

/// An error with its causes, for the operator.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
