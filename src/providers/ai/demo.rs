//! The demo backend: shows Cura at work before a model is connected.
//!
//! Every answer says that no model is connected and how to connect one. The same prompt always gets the same answer. It
//! never gives advice.

use std::time::Duration;

use cura_domain::message::{FinishReason, Role, Usage};
use cura_domain::prompt::Takes;
use cura_domain::token_estimate;
use futures_util::stream;

use crate::ai::completion::{CompletionEvent, CompletionStream};
use crate::ai::error::{AiError, Failure};
use crate::ai::prompt::Prompt;

pub(crate) const PROVIDER: &str = "demo";
pub(crate) const MODEL: &str = "cura-demo";

/// How much of the user's message is quoted in the answer, in characters.
const QUOTED_CHARS: usize = 60;

/// The pace of the demo backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoConfig {
    /// The pause before each word.
    pub word_delay: Duration,
}

impl Default for DemoConfig {
    /// 25 ms a word: the pace of a quick reader.
    fn default() -> Self {
        Self {
            word_delay: Duration::from_millis(25),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Demo {
    config: DemoConfig,
}

impl Demo {
    pub(crate) const fn new(config: DemoConfig) -> Self {
        Self { config }
    }

    pub(crate) fn stream(self, prompt: &Prompt) -> Result<CompletionStream, AiError> {
        let answer = answer(prompt);
        // It can continue only its own answer.
        let Some(rest) = answer.strip_prefix(&*prompt.written) else {
            return Err(AiError::new(Failure::Refused { status: None }, true));
        };
        let words: Vec<String> = rest.split_inclusive(' ').map(str::to_owned).collect();
        // An output limit counts words as tokens, so that `length` can be tried without a model.
        let limit = prompt
            .max_output_tokens
            .map_or(usize::MAX, |tokens| usize::try_from(tokens).unwrap_or(usize::MAX));
        let reason = if words.len() > limit {
            FinishReason::Length
        } else {
            FinishReason::Stop
        };
        let answer_bytes: usize = words.iter().take(limit).map(String::len).sum();
        let prompt_bytes = prompt
            .messages
            .iter()
            .map(|message| message.text(Takes::TEXT).len())
            .sum();
        let estimate = |bytes| i64::try_from(token_estimate::estimate(bytes)).unwrap_or(i64::MAX);
        let end = CompletionEvent::Finished {
            reason,
            usage: Some(Usage {
                input_tokens: estimate(prompt_bytes),
                output_tokens: estimate(answer_bytes),
                estimated: true,
            }),
            reasoning_tokens: None,
            model: Some(MODEL.to_owned()),
        };
        let events = words.into_iter().take(limit).map(CompletionEvent::Text).chain([end]);
        let delay = self.config.word_delay;
        Ok(CompletionStream::new(stream::unfold(
            events,
            move |mut events| async move {
                let event = events.next()?;
                if matches!(event, CompletionEvent::Text(_)) && !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                Some((Ok(event), events))
            },
        )))
    }
}

fn answer(prompt: &Prompt) -> String {
    let question = prompt.messages.iter().rev().find(|message| message.role == Role::User);
    let received = match question.and_then(|message| quote(&message.content)) {
        Some(quote) => format!("Your message arrived safely: “{quote}”."),
        None => "Your message arrived safely.".to_owned(),
    };
    format!(
        "This is Cura's demo voice, no AI model is connected. {received} I can't understand it or give advice, \
         but this is how an answer reaches you, word by word. To talk to a real model, set AI_MODEL_URL \
         (and AI_MODEL_API_KEY if it needs one) and start Cura again."
    )
}

/// The beginning of a message, on one line, cut between words.
fn quote(message: &str) -> Option<String> {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTED_CHARS {
        return (!line.is_empty()).then_some(line);
    }
    let start: String = line.chars().take(QUOTED_CHARS).collect();
    let cut = start.rfind(' ').filter(|&at| at > 0).unwrap_or(start.len());
    Some(format!("{}…", start.get(..cut).unwrap_or(&start)))
}
