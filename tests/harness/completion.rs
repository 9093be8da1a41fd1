//! Asking an `Ai` directly, and hearing the whole answer.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cura_domain::message::{FinishReason, Role, Usage};
use cura_domain::prompt::PromptMessage;
use cura_domain::{MessageId, ModelRef};
use cura_providers::Secret;
use cura_providers::ai::{
    Ai, AiError, AnthropicConfig, Call, CompletionEvent, CompletionStream, Continuation, OpenAiConfig, Prompt,
    RequestKey, Timeouts,
};
use futures_util::StreamExt;

/// A key that must never be seen anywhere.
pub const KEY: &str = "sk-very-secret";

/// What one call gave.
#[derive(Debug)]
pub struct Heard {
    /// All of the text.
    pub text: String,
    /// How it ended.
    pub end: Result<(FinishReason, Option<Usage>, Option<String>), AiError>,
    /// Who answered, when somebody did: the provider and the model that was asked for.
    pub by: Option<ModelRef>,
}

/// Waits long enough for a busy machine, where the service does not hang.
pub const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(10),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(60),
};

/// Waits short enough for a service that hangs.
pub const IMPATIENT: Timeouts = Timeouts {
    first_byte: Duration::from_secs(2),
    idle: Duration::from_secs(2),
    ..TIMEOUTS
};

/// A custom server that speaks OpenAI's dialect.
pub fn openai(url: &str) -> OpenAiConfig {
    OpenAiConfig {
        base_url: url.to_owned(),
        api_key: Some(Secret::from(KEY)),
        model: "some-model".to_owned(),
        max_output_tokens: None,
        timeouts: TIMEOUTS,
        continuation: Continuation::Prompt,
        provider_name: "custom",
    }
}

/// A server that speaks Anthropic's dialect.
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

/// "Hi".
pub fn prompt() -> Prompt {
    going_on("")
}

/// "Hi", of whose answer this exists already.
pub fn going_on(written: &str) -> Prompt {
    Prompt {
        messages: vec![PromptMessage {
            role: Role::User,
            content: "Hi".to_owned(),
        }],
        max_output_tokens: None,
        written: written.to_owned(),
    }
}

/// Somebody who has not asked before.
pub fn somebody() -> RequestKey {
    static SEEN: AtomicI64 = AtomicI64::new(0);
    RequestKey::Answer(MessageId(SEEN.fetch_add(1, Ordering::Relaxed)))
}

/// Asks as somebody who has not asked before, and hears everything.
pub async fn ask(ai: &Ai, prompt: Prompt) -> Heard {
    ask_as(somebody(), ai, prompt).await
}

/// Asks and hears everything.
pub async fn ask_as(key: RequestKey, ai: &Ai, prompt: Prompt) -> Heard {
    match ai.open_completion(&Call::new(key), prompt).await {
        Ok(completion) => {
            let (text, end) = hear(completion.events).await;
            let by = Some(completion.model);
            Heard { text, end, by }
        }
        Err(error) => {
            assert!(error.before_first_byte());
            Heard {
                text: String::new(),
                end: Err(error),
                by: None,
            }
        }
    }
}

/// The text, and how it ended.
async fn hear(
    mut pieces: CompletionStream,
) -> (String, Result<(FinishReason, Option<Usage>, Option<String>), AiError>) {
    let mut text = String::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(CompletionEvent::Text(piece)) => {
                assert!(!piece.is_empty());
                text.push_str(&piece);
            }
            Ok(CompletionEvent::Finished { reason, usage, model }) => {
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
