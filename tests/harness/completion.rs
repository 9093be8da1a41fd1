//! Opens a completion of an `Ai` directly and reads it to its end.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cura_domain::message::{FinishReason, Role, Usage};
use cura_domain::prompt::PromptMessage;
use cura_domain::{MessageId, ModelRef, UserId};
use cura_providers::Secret;
use cura_providers::ai::{
    Ai, AiError, AnthropicConfig, Call, CompletionEvent, CompletionStream, Continuation, OpenAiConfig, ParametersOff,
    Permission, Prompt, RequestKey, Timeouts,
};
use futures_util::StreamExt;

/// An API key that must not appear in any log or error.
pub const KEY: &str = "sk-very-secret";

/// A completion that has ended.
#[derive(Debug)]
pub struct Completed {
    /// The whole text.
    pub text: String,
    /// How it ended.
    pub end: Result<(FinishReason, Option<Usage>, Option<String>), AiError>,
    /// The backend that answered, if one did.
    pub model: Option<ModelRef>,
}

/// Long enough for a busy machine, for a service that does not hang.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(60),
};

/// Short, for a service that hangs.
pub const IMPATIENT: Timeouts = Timeouts {
    first_byte: Duration::from_secs(2),
    idle: Duration::from_secs(2),
    ..TIMEOUTS
};

/// A custom server with OpenAI's protocol.
pub fn openai(url: &str) -> OpenAiConfig {
    OpenAiConfig {
        base_url: url.to_owned(),
        api_key: Some(Secret::from(KEY)),
        model: "some-model".to_owned(),
        max_output_tokens: None,
        timeouts: TIMEOUTS,
        continuation: Continuation::Prompt,
        provider_name: "custom",
        parameters_off: ParametersOff::default(),
    }
}

/// A server with Anthropic's protocol.
pub fn anthropic(url: &str) -> AnthropicConfig {
    AnthropicConfig {
        base_url: url.to_owned(),
        api_key: Some(Secret::from(KEY)),
        model: "some-claude".to_owned(),
        max_output_tokens: 4096,
        timeouts: TIMEOUTS,
        continuation: Continuation::Prefill,
    }
}

/// The prompt "Hi".
pub fn prompt() -> Prompt {
    continuing("")
}

/// The prompt "Hi" with this part of the answer already written.
pub fn continuing(written: &str) -> Prompt {
    Prompt {
        written: written.to_owned(),
        ..Prompt::of_text(vec![PromptMessage::plain(Role::User, "Hi")], None)
    }
}

/// A key that was not used before.
pub fn new_request_key() -> RequestKey {
    static SEEN: AtomicI64 = AtomicI64::new(0);
    RequestKey::Answer(MessageId(SEEN.fetch_add(1, Ordering::Relaxed)))
}

/// A permission that is always given.
pub fn permitted() -> Permission {
    Permission::new(|| Box::pin(async { Ok(()) }))
}

/// Opens a completion under a new request key, on behalf of a person of its own, and reads it to its end.
pub async fn complete(ai: &Ai, prompt: Prompt) -> Completed {
    static SEEN: AtomicI64 = AtomicI64::new(1_000_000);
    complete_for(UserId(SEEN.fetch_add(1, Ordering::Relaxed)), ai, prompt).await
}

/// Opens a completion under a new request key on behalf of this person and reads it to its end.
pub async fn complete_for(person: UserId, ai: &Ai, prompt: Prompt) -> Completed {
    match ai
        .open_completion(&Call::for_person(new_request_key(), person, permitted()), prompt)
        .await
    {
        Ok(completion) => {
            let (text, end) = read(completion.events).await;
            let model = Some(completion.model);
            Completed { text, end, model }
        }
        Err(error) => {
            assert!(error.before_first_byte());
            Completed {
                text: String::new(),
                end: Err(error),
                model: None,
            }
        }
    }
}

/// The text of the stream, and how it ended.
async fn read(
    mut pieces: CompletionStream,
) -> (String, Result<(FinishReason, Option<Usage>, Option<String>), AiError>) {
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(CompletionEvent::Text(piece)) => {
                assert!(!piece.is_empty());
                text.push_str(&piece);
            }
            // A continuation may begin with it: what it continues was a thought.
            Ok(CompletionEvent::TakenBack) => text.clear(),
            Ok(CompletionEvent::Finished {
                reason, usage, model, ..
            }) => {
                assert!(pieces.next().await.is_none(), "something follows the end");
                return (text, Ok((reason, usage, model)));
            }
            Err(error) => {
                assert_eq!(error.before_first_byte(), text.is_empty());
                assert!(!format!("{error} {error:?}").contains(KEY));
                return (text, Err(error));
            }
        }
    }
    panic!("the stream ended without an end: {text:?}");
}
