//! One suite for every provider protocol: different on the wire, the same completion.

use std::time::{Duration, Instant};

use cura_providers::Secret;
use cura_providers::ai::{Ai, AiError, Call, Timeouts};
use cura_tests::completion::{IMPATIENT, KEY, TIMEOUTS, complete, new_request_key, permitted, prompt};
use cura_tests::provider::{Request, refusal};
use cura_tests::{ScriptedProvider, Step, redis};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{anthropic, openai};

/// How a protocol expresses an answer and its failures.
pub(crate) struct Dialect {
    /// A backend for the service at this URL, with this key if it needs one and these timeouts.
    pub(crate) backend: fn(&str, Option<Secret>, Timeouts) -> Result<Ai, AiError>,
    /// The settings of a backend whose key is [`KEY`], as a log would show them.
    pub(crate) settings: fn() -> String,
    /// A good answer of these texts.
    pub(crate) answer: fn(&[&str]) -> Vec<Step>,
    /// What comes before the first text.
    pub(crate) begin: fn() -> Vec<Step>,
    /// A piece of text.
    pub(crate) piece: fn(&str) -> String,
    /// A keepalive event.
    pub(crate) ping: fn() -> String,
    /// Errors within an answer, and the code of each.
    pub(crate) errors: fn() -> Vec<(String, &'static str)>,
    /// Events that make no sense.
    pub(crate) junk: &'static [&'static str],
    /// The beginning of an event that has no end.
    pub(crate) endless: &'static str,
    /// Refusals, and what each means.
    pub(crate) refusals: fn() -> Vec<Refusal>,
}

/// A refusal on the wire, and what it means.
pub(crate) struct Refusal {
    status: &'static str,
    body: Value,
    code: &'static str,
    retryable: bool,
    after: Option<u64>,
}

impl Refusal {
    /// It does not pass.
    pub(crate) fn lasting(status: &'static str, body: Value, code: &'static str) -> Self {
        Self {
            status,
            body,
            code,
            retryable: false,
            after: None,
        }
    }

    /// It passes, after so many seconds if the service says when.
    pub(crate) fn passing(status: &'static str, after: Option<u64>, body: Value, code: &'static str) -> Self {
        Self {
            status,
            body,
            code,
            retryable: true,
            after,
        }
    }
}

/// Makes a test of each case for each dialect.
macro_rules! both {
    ($($case:ident),+ $(,)?) => {
        mod in_openais {
            $(#[tokio::test] async fn $case() { super::$case(super::openai::DIALECT).await; })+
        }
        mod in_anthropics {
            $(#[tokio::test] async fn $case() { super::$case(super::anthropic::DIALECT).await; })+
        }
    };
}

both!(
    refusals_say_whether_to_come_back_and_when,
    when_to_come_back_may_be_a_date,
    a_redirect_is_not_followed,
    an_error_within_an_answer_keeps_its_text,
    a_body_that_ends_too_early_is_a_failure_and_keeps_its_text,
    a_provider_that_is_away_or_closes_without_an_answer_may_be_asked_again,
    what_is_no_answer_is_a_protocol_error,
    an_event_of_ten_megabytes_does_not_fill_the_memory,
    a_provider_that_hangs_is_given_up_in_time,
    a_dropped_stream_closes_the_connection,
    a_gateway_that_holds_the_key_is_sent_none,
    the_key_is_never_shown,
);

impl Dialect {
    async fn scripted(&self, steps: Vec<Step>) -> (ScriptedProvider, Ai) {
        self.scripted_with(steps, TIMEOUTS).await
    }

    async fn scripted_with(&self, steps: Vec<Step>, timeouts: Timeouts) -> (ScriptedProvider, Ai) {
        let provider = ScriptedProvider::start(move |_, _: &Request| steps.clone()).await;
        let ai = (self.backend)(&provider.url(), Some(Secret::from(KEY)), timeouts).unwrap();
        (provider, ai)
    }

    /// The text until a failure, and the failure.
    async fn fails(&self, steps: Vec<Step>) -> (String, AiError) {
        self.fails_with(steps, TIMEOUTS).await
    }

    async fn fails_with(&self, steps: Vec<Step>, timeouts: Timeouts) -> (String, AiError) {
        let (_provider, ai) = self.scripted_with(steps, timeouts).await;
        let completed = complete(&ai, prompt()).await;
        let error = completed.end.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(KEY));
        (completed.text, error)
    }

    /// The beginning of an answer, "I am ", and then `more`.
    fn after_words(&self, more: Vec<Step>) -> Vec<Step> {
        let mut steps = (self.begin)();
        steps.push(Step::Write((self.piece)("I am ")));
        steps.extend(more);
        steps
    }
}

async fn refusals_say_whether_to_come_back_and_when(dialect: Dialect) {
    for refused in (dialect.refusals)() {
        let headers = refused.after.map(|seconds| format!("Retry-After: {seconds}\r\n"));
        let steps = refusal(refused.status, &headers.unwrap_or_default(), &refused.body);
        let (_, error) = dialect.fails(steps).await;
        let what = format!("{} {}", refused.status, refused.body);
        assert_eq!(
            (error.code(), error.retryable()),
            (refused.code, refused.retryable),
            "{what}"
        );
        assert_eq!(error.retry_after(), refused.after.map(Duration::from_secs), "{what}");
        assert!(error.before_first_byte(), "{what}");
    }
}

async fn when_to_come_back_may_be_a_date(dialect: Dialect) {
    let dates = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: Sun, 06 Nov 1994 08:49:57 GMT\r\n";
    let (_, error) = dialect.fails(refusal("429 Too Many", dates, &json!({}))).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
}

async fn a_redirect_is_not_followed(dialect: Dialect) {
    let (elsewhere, _) = dialect.scripted((dialect.answer)(&["x"])).await;
    for status in ["302 Found", "307 Temporary Redirect"] {
        let location = format!("Location: {}/v1/messages\r\n", elsewhere.url());
        let (_, error) = dialect.fails(refusal(status, &location, &json!({}))).await;
        assert_eq!(
            (error.code(), error.retryable(), error.retry_after()),
            ("provider_misconfigured", false, None),
            "{status}"
        );
        assert!(elsewhere.requests().is_empty(), "the key went elsewhere");
    }
}

async fn an_error_within_an_answer_keeps_its_text(dialect: Dialect) {
    for (event, code) in (dialect.errors)() {
        let steps = dialect.after_words(vec![Step::Write(event.clone()), Step::End]);
        let (text, error) = dialect.fails(steps).await;
        assert_eq!((text.as_str(), error.code()), ("I am ", code), "{event}");
    }
}

async fn a_body_that_ends_too_early_is_a_failure_and_keeps_its_text(dialect: Dialect) {
    for end in [
        vec![Step::Cut],
        vec![Step::End],
        vec![Step::Raw(b"ff\r\nhalf a chunk".to_vec()), Step::Cut],
    ] {
        let (text, error) = dialect.fails(dialect.after_words(end.clone())).await;
        assert_eq!(
            (text.as_str(), error.code(), error.retryable()),
            ("I am ", "provider_unavailable", true),
            "{end:?}"
        );
    }
}

async fn a_provider_that_is_away_or_closes_without_an_answer_may_be_asked_again(dialect: Dialect) {
    let (_, error) = dialect.fails(vec![Step::Cut]).await;
    assert_eq!(
        (error.code(), error.retryable(), error.before_first_byte()),
        ("provider_unavailable", true, true)
    );
    let unreachable = format!("http://127.0.0.1:{}", redis::free_port());
    let gone = (dialect.backend)(&unreachable, None, TIMEOUTS).unwrap();
    let error = complete(&gone, prompt()).await.end.unwrap_err();
    assert_eq!(
        (error.code(), error.before_first_byte()),
        ("provider_unavailable", true)
    );
    gone.probe().await.unwrap_err();
}

async fn what_is_no_answer_is_a_protocol_error(dialect: Dialect) {
    for junk in dialect.junk {
        let rubbish = vec![Step::Write((*junk).to_owned()), Step::End];
        let at_once = [(dialect.begin)(), rubbish.clone()].concat();
        for (steps, text) in [(at_once, ""), (dialect.after_words(rubbish), "I am ")] {
            let (completed, error) = dialect.fails(steps).await;
            assert_eq!((&*completed, error.code()), (text, "provider_protocol"), "{junk}");
        }
    }
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>no</html>".to_vec();
    assert_eq!(dialect.fails(vec![Step::Raw(page)]).await.1.code(), "provider_protocol");
}

async fn an_event_of_ten_megabytes_does_not_fill_the_memory(dialect: Dialect) {
    let mut more = vec![Step::Write(dialect.endless.to_owned())];
    more.extend((0..640).map(|_| Step::Write("x".repeat(16 * 1024))));
    more.push(Step::Hang);
    let (text, error) = dialect.fails(dialect.after_words(more)).await;
    assert_eq!((text.as_str(), error.code()), ("I am ", "provider_protocol"));
}

async fn a_provider_that_hangs_is_given_up_in_time(dialect: Dialect) {
    // Longer than anybody may take to give up.
    let mut pings = Vec::new();
    for _ in 0..300 {
        pings.push(Step::Write((dialect.ping)()));
        pings.push(Step::Pause(Duration::from_millis(100)));
    }
    pings.push(Step::Hang);
    for (steps, text) in [
        (vec![Step::Hang], ""),
        (vec![Step::Head, Step::Hang], ""),
        (dialect.after_words(vec![Step::Hang]), "I am "),
        (dialect.after_words(pings), "I am "),
    ] {
        let begun = Instant::now();
        let (completed, error) = dialect.fails_with(steps, IMPATIENT).await;
        assert_eq!(
            (&*completed, error.code(), error.retryable()),
            (text, "provider_timeout", true)
        );
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}

async fn a_dropped_stream_closes_the_connection(dialect: Dialect) {
    let more = (0..10_000).flat_map(|_| {
        [
            Step::Write((dialect.piece)("still ")),
            Step::Pause(Duration::from_millis(2)),
        ]
    });
    let (provider, ai) = dialect.scripted(dialect.after_words(more.collect())).await;
    let mut pieces = ai
        .open_completion(&Call::new(new_request_key(), permitted()), prompt())
        .await
        .unwrap()
        .events;
    pieces.next().await.unwrap().unwrap();
    assert_eq!(provider.open_connections(), 1);
    drop(pieces);
    provider.wait_for_disconnect().await;
}

async fn a_gateway_that_holds_the_key_is_sent_none(dialect: Dialect) {
    let (provider, _) = dialect.scripted((dialect.answer)(&["x"])).await;
    let ai = (dialect.backend)(&provider.url(), None, TIMEOUTS).unwrap();
    complete(&ai, prompt()).await.end.unwrap();
    let head = provider.requests()[0].head.to_ascii_lowercase();
    assert!(!head.contains("authorization") && !head.contains("x-api-key"), "{head}");
    ai.probe().await.unwrap();
}

async fn the_key_is_never_shown(dialect: Dialect) {
    let backend = |key: &str| (dialect.backend)("http://127.0.0.1:1", Some(Secret::from(key)), TIMEOUTS);
    let ai = backend(KEY).unwrap();
    assert!(!format!("{} {ai:?}", (dialect.settings)()).contains(KEY));
    let error = backend("sk\nbroken").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("broken"));
}
