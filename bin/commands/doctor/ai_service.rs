//! Whether an AI service keeps to `docs/AI-SERVICE.md`: a few small requests, which cost about fifty tokens for each provider.

use std::time::Duration;

use cura_providers::Secret;
use cura_providers::ai::{Ai, AiError, Examined, Failure};

use super::Check;
use crate::settings::Settings;
use crate::wiring;

/// What is asked: an answer in several pieces, of few tokens.
const QUESTION: &str = "Count from 1 to 5.";
/// The longest answer that is asked for. Two of them and their questions, with what a chat template adds, are about fifty tokens.
const ANSWER_TOKENS: u32 = 10;
/// The longest answer to a prompt that is to be refused.
const REFUSED_TOKENS: u32 = 1;
/// Longer than what any model takes that is known: two million tokens in English.
const LONG_PROMPT_BYTES: usize = 8 << 20;
/// A key that nobody has. It looks like one, so that it is looked up.
const WRONG_KEY: &str = "sk-cura-doctor-00000000000000000000000000000000";
/// How much longer than the first answer one may take that follows a request which was hung up.
const SLOWER_AFTER_HANG_UP: Duration = Duration::from_secs(2);

/// The names of the checks of one provider.
struct Names {
    setting: &'static str,
    streams: &'static str,
    usage: &'static str,
    end: &'static str,
    hang_up: &'static str,
    wrong_key: &'static str,
    long_prompt: &'static str,
}

const NAMES: [Names; 2] = [
    Names {
        setting: "AI_MODEL_URL",
        streams: "ai_streams",
        usage: "ai_usage",
        end: "ai_end",
        hang_up: "ai_hang_up",
        wrong_key: "ai_wrong_key",
        long_prompt: "ai_long_prompt",
    },
    Names {
        setting: "AI_FALLBACK_URL",
        streams: "ai_fallback_streams",
        usage: "ai_fallback_usage",
        end: "ai_fallback_end",
        hang_up: "ai_fallback_hang_up",
        wrong_key: "ai_fallback_wrong_key",
        long_prompt: "ai_fallback_long_prompt",
    },
];

/// What is expected of each provider, in the order of the settings. With `long_prompt`, also that it refuses a prompt of 8 MiB.
pub(super) async fn check(settings: &Settings, long_prompt: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for (names, provider) in NAMES.iter().zip(wiring::ai_providers(settings)) {
        match provider {
            Ok(ai) => checks.extend(of_provider(settings, &ai, names, long_prompt).await),
            Err(error) => checks.push(Check::failed_with(names.streams, &error.to_string())),
        }
    }
    if checks.is_empty() {
        checks.push(Check::skipped(
            "ai_streams",
            "AI_MODEL_URL is not set: the demo answers",
        ));
    }
    checks
}

async fn of_provider(settings: &Settings, ai: &Ai, names: &Names, long_prompt: bool) -> Vec<Check> {
    // The second answer shows both what one is like and whether the service is free again after we had hung up.
    let hung_up = ai.examine(QUESTION, ANSWER_TOKENS, true).await;
    let answered = match hung_up.is_ok() {
        true => ai.examine(QUESTION, ANSWER_TOKENS, false).await,
        false => hung_up.clone(),
    };
    let mut checks = match &answered {
        Ok(answer) => of_answer(names, answer),
        Err(error) => vec![no_answer(names, error)],
    };
    if let (Ok(hung_up), Ok(answer)) = (&hung_up, &answered) {
        checks.push(hang_up(names, hung_up, answer));
    }
    checks.push(wrong_key(settings, names).await);
    checks.push(too_long(ai, names, long_prompt).await);
    checks
}

fn no_answer(names: &Names, error: &AiError) -> Check {
    if *error.failure() == Failure::EmptyAnswer {
        let detail = format!("nothing to read came within {ANSWER_TOKENS} tokens: the model may think for longer");
        return Check::warn(names.streams, detail);
    }
    Check::fail(names.streams, format!("{}: {error}", names.setting))
        .cure("see docs/AI-SERVICE.md and docs/PROVIDERS.md")
}

fn of_answer(names: &Names, answer: &Examined) -> Vec<Check> {
    let first = answer.first_text_after.as_millis();
    let streams = match answer.pieces {
        0 | 1 => Check::warn(
            names.streams,
            "the text came in one piece: people see nothing until the answer is whole",
        )
        .cure("let it stream, and no proxy before it buffer"),
        pieces => Check::ok(names.streams, format!("{pieces} pieces, the first after {first} ms")),
    };
    let Some((reason, usage)) = &answer.end else {
        return vec![
            streams,
            Check::warn(
                names.end,
                format!("it wrote on beyond {ANSWER_TOKENS} tokens: we hung up"),
            )
            .cure("let it keep to max_tokens"),
        ];
    };
    let usage = match usage {
        Some(usage) if usage.input_tokens > 0 && usage.output_tokens > 0 => {
            let told = format!(
                "{} tokens of the prompt, {} of the answer",
                usage.input_tokens, usage.output_tokens
            );
            Check::ok(names.usage, told)
        }
        _ => Check::warn(
            names.usage,
            "it states no tokens: budgets and costs go by our estimates",
        )
        .cure("let it send `usage` at the end (stream_options.include_usage)"),
    };
    vec![
        streams,
        usage,
        Check::ok(names.end, format!("the answer ended: {}", reason.as_str())),
    ]
}

/// Whether the service took the next request at once after we had hung up. One that goes on writing for nobody may be busy then; a fast
/// one has written the few tokens before anybody can tell.
fn hang_up(names: &Names, hung_up: &Examined, next: &Examined) -> Check {
    let told = format!(
        "the first text came after {} ms; when we had hung up, that of the next answer after {} ms",
        hung_up.first_text_after.as_millis(),
        next.first_text_after.as_millis()
    );
    if next.first_text_after > hung_up.first_text_after + SLOWER_AFTER_HANG_UP {
        return Check::warn(names.hang_up, told)
            .cure("let it stop when the connection closes: it may write for nobody");
    }
    Check::ok(names.hang_up, told)
}

/// Asks with a key that nobody has.
async fn wrong_key(settings: &Settings, names: &Names) -> Check {
    let name = names.wrong_key;
    let index = NAMES
        .iter()
        .position(|other| other.setting == names.setting)
        .unwrap_or_default();
    let mut settings = settings.clone();
    let Some(provider) = settings.ai.providers.get_mut(index) else {
        return Check::skipped(name, "it is not set");
    };
    if !provider.replace_key(Secret::from(WRONG_KEY)) {
        return Check::skipped(name, "no key is set: whoever reaches the service may use it");
    }
    let Some(Ok(ai)) = wiring::ai_providers(&settings).nth(index) else {
        return Check::skipped(name, "it cannot be asked with another key");
    };
    match ai.examine_refusal("Say yes.".to_owned(), REFUSED_TOKENS).await {
        Ok(()) => {
            Check::warn(name, "it answers to a wrong key, too").cure("let it check keys, or let only workers reach it")
        }
        Err(error) if matches!(error.failure(), Failure::Unauthorized { .. }) => {
            Check::ok(name, "it refuses a wrong key")
        }
        Err(error) => Check::warn(
            name,
            format!("it refuses a wrong key in a way that we do not understand: {error}"),
        )
        .cure("answer 401"),
    }
}

/// Sends a prompt that no model takes.
async fn too_long(ai: &Ai, names: &Names, is_wanted: bool) -> Check {
    let name = names.long_prompt;
    if !is_wanted {
        let detail = "not tried: a service that takes a prompt of 8 MiB may be paid for it";
        return Check::skipped(name, detail).cure("pass --long-prompt");
    }
    let prompt = "word ".repeat(LONG_PROMPT_BYTES / 5);
    match ai.examine_refusal(prompt, REFUSED_TOKENS).await {
        Ok(()) => Check::warn(name, "it takes a prompt of 8 MiB: it may cut it silently")
            .cure("set AI_CONTEXT_TOKENS to what it really reads"),
        Err(error) if matches!(error.failure(), Failure::ContextTooLong { .. }) => {
            Check::ok(name, "it refuses a prompt that is too long, and says so")
        }
        Err(error) => Check::warn(
            name,
            format!("it refuses a long prompt in a way that we do not understand: {error}"),
        )
        .cure("answer 400 with the code context_length_exceeded"),
    }
}
