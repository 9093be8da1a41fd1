//! What servers disagree about: parameters, prefilled answers and lengths that one refuses are left out, and that is remembered.

mod lengths;
mod parameters;
mod roles;
mod within_answers;

use std::time::Duration;

use cura_domain::message::Role;
use cura_domain::prompt::PromptMessage;
use cura_providers::ai::{OpenAiConfig, Prompt};
use cura_tests::ScriptedProvider;
use cura_tests::completion::openai;
use cura_tests::provider::{self, Request, Step, refusal};
use serde_json::Value;

/// A refusal with this in its body.
fn refused(status: &str, body: &Value) -> Vec<Step> {
    refusal(status, "", body)
}

fn ok() -> Vec<Step> {
    provider::answer(&["ok"], Duration::ZERO)
}

/// A conversation of so many messages of so many estimated tokens each, and a last one.
fn long_prompt(messages: usize, tokens: usize) -> Prompt {
    let message = |at: usize, content| {
        let role = if at.is_multiple_of(2) {
            Role::User
        } else {
            Role::Assistant
        };
        PromptMessage::plain(role, content)
    };
    let past = (0..messages).map(|at| message(at, "word ".repeat(tokens)));
    let messages = past.chain([message(0, "and now?".to_owned())]).collect();
    Prompt::of_text(messages, Some(400))
}

/// The words of a request.
fn words(asked: &Request) -> usize {
    let messages = asked.body["messages"].as_array().unwrap();
    let count = |message: &Value| message["content"].as_str().unwrap().split_whitespace().count();
    messages.iter().map(count).sum()
}

/// A server that takes so many words, and refuses more in this way.
async fn with_room_for(room: usize, refused: Vec<Step>) -> ScriptedProvider {
    ScriptedProvider::start(move |_, asked: &Request| if words(asked) > room { refused.clone() } else { ok() }).await
}

fn custom(provider: &ScriptedProvider) -> OpenAiConfig {
    openai(&provider.url())
}
