//! `cura-admin explain`: what became of one answer.

use std::fmt::Write as _;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;
use cura_app::operate::explain::{Explain as UseCases, ExplainedAnswer, ExplainedAttempt, Forgotten, Step, StepKind};
use cura_domain::MessageId;

use super::failure::{Exit, Failure};
use super::operating::{self, Operating};
use super::output::GlobalArguments;
use super::text::{fields, or_dash, table};

/// The longest request id that is kept.
const MAX_REQUEST_ID: usize = 128;

/// Which answer.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Say what became of an answer, or of the newest answer to a question.
    Message {
        /// The id of the message.
        id: i64,
    },
    /// Say what became of the answer that a request asked for.
    ///
    /// The id of a request is in its answer's X-Request-Id, and in the `request_id` of a problem.
    Request {
        /// The id of the request.
        #[arg(value_parser = request_id)]
        id: String,
    },
}

/// Runs the command; gives the exit code.
pub fn start(command: Explain, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| run(command, operating).await)
}

async fn run(command: Explain, operating: Operating) -> Result<(), Failure> {
    let Operating {
        settings,
        database,
        output,
        ..
    } = operating;
    let explain = UseCases::new(database, crate::wiring::clock(), settings.ai.prices);
    match command {
        Explain::Message { id } => {
            let explained = explain.message(MessageId(id)).await?;
            let missing = || {
                let detail = format!("there is no answer, and no question with an answer, of the id {id}");
                Failure::new(Exit::NotFound, "message_not_found", detail).cure("deleted messages leave nothing")
            };
            output.value(&explained.ok_or_else(missing)?, text)
        }
        Explain::Request { id } => {
            let (explained, has_more) = explain.request(&id).await?;
            if explained.is_empty() {
                let detail = "no answer that is kept was asked for by a request with this id";
                return Err(Failure::new(Exit::NotFound, "request_not_found", detail)
                    .cure("it may have been refused, have repeated an earlier request with its key, be none that asks for an answer, or its message was deleted: look for the id in the logs"));
            }
            if has_more {
                output.say("there are more: these are the newest, of a socket that has asked for many");
            }
            output.page(
                (explained, false),
                |answer| answer.message_id.0,
                |answers| answers.iter().map(text).collect::<Vec<_>>().join("\n"),
            )
        }
    }
}

/// An id as a server keeps one.
fn request_id(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > MAX_REQUEST_ID || !text.bytes().all(is_plain) {
        return Err("an id of a request has at most 128 letters, digits, '-', '_' and '.'".to_owned());
    }
    Ok(text.to_owned())
}

fn text(answer: &ExplainedAnswer) -> String {
    let how = answer.error_code.as_deref().or(answer.finish_reason.as_deref());
    let status = match how {
        Some(how) => format!("{}: {how}", answer.status.as_str()),
        None => answer.status.as_str().to_owned(),
    };
    let job = answer.job.as_ref().map(|job| {
        let attempts = format!(
            "{} {}, attempt {} of {}",
            job.id,
            job.state.as_str(),
            job.attempts,
            job.max_attempts
        );
        match &job.reason {
            Some(reason) => format!("{attempts}: {reason}"),
            None => attempts,
        }
    });
    let mut text = fields(&[
        (
            "answer",
            format!("{} (to {})", answer.message_id, or_dash(answer.question_id)),
        ),
        ("conversation", answer.conversation_id.to_string()),
        ("user", answer.user_id.to_string()),
        ("status", status),
        ("read", if answer.is_read { "yes" } else { "no" }.to_owned()),
        ("request", or_dash(answer.request_id.as_ref())),
        ("trace", or_dash(answer.trace_id.as_ref())),
        ("job", or_dash(job)),
    ]);
    if !answer.attempts.is_empty() {
        let _ = write!(text, "\n{}", attempts(answer));
    }
    let _ = write!(text, "\n{}", steps(&answer.steps));
    if !answer.forgotten.is_empty() {
        let words: Vec<&str> = answer.forgotten.iter().map(|what| forgotten(*what)).collect();
        let _ = write!(text, "\nnot kept: {}\n", words.join("; "));
    }
    text
}

fn attempts(answer: &ExplainedAnswer) -> String {
    let cost_head = answer
        .currency
        .as_ref()
        .map_or_else(|| "COST".to_owned(), |currency| format!("COST {currency}"));
    let rows: Vec<[String; 7]> = answer.attempts.iter().map(attempt).collect();
    table(
        ["ATTEMPT", "OUTCOME", "PROVIDER", "MODEL", "INPUT", "OUTPUT", &cost_head],
        &rows,
    )
}

fn attempt(attempt: &ExplainedAttempt) -> [String; 7] {
    let about = if attempt.estimated == Some(true) { "~" } else { "" };
    let tokens = |tokens: Option<i64>| or_dash(tokens.map(|tokens| format!("{about}{tokens}")));
    [
        attempt.attempt.to_string(),
        or_dash(attempt.outcome.as_ref()),
        or_dash(attempt.provider.as_ref()),
        or_dash(attempt.model.as_ref()),
        tokens(attempt.input_tokens),
        tokens(attempt.output_tokens),
        or_dash(attempt.cost.map(|cost| format!("{cost:.6}"))),
    ]
}

fn steps(steps: &[Step]) -> String {
    let rows: Vec<[String; 4]> = steps
        .iter()
        .map(|step| {
            let what = match step.attempt {
                Some(attempt) => format!("{} {attempt}", words(step.what)),
                None => words(step.what).to_owned(),
            };
            [moment(step.at), gap(step.after_ms), what, or_dash(step.detail.as_ref())]
        })
        .collect();
    table(["TIME", "AFTER", "WHAT", "DETAIL"], &rows)
}

const fn words(what: StepKind) -> &'static str {
    match what {
        StepKind::Asked => "asked",
        StepKind::TurnCame => "its turn came",
        StepKind::AttemptBegan => "began attempt",
        StepKind::FirstText => "first text of attempt",
        StepKind::CancelRequested => "cancel requested",
        StepKind::AttemptEnded => "ended attempt",
        StepKind::Ended => "final",
        StepKind::EventLogged => "event logged",
        StepKind::PushDecided => "push decided",
        StepKind::PushSent => "push sent",
        StepKind::Read => "read",
    }
}

const fn forgotten(what: Forgotten) -> &'static str {
    match what {
        Forgotten::Request => "the request that asked for it (none was kept then)",
        Forgotten::Job => "its job (done ones for a day, dead ones for thirty)",
        Forgotten::Attempts => "when its first attempts began, and who made them",
        Forgotten::Events => "events (kept for seven days)",
        Forgotten::Pushes => "pushes (kept for thirty days)",
    }
}

/// A moment, to the millisecond.
fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn gap(milliseconds: i64) -> String {
    match milliseconds {
        0 => "–".to_owned(),
        1..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
    }
}
