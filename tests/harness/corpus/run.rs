//! Runs a case through the whole of Cura, as a person asks, and tells what is not as it must be.

use serde_json::{Value, json};

use super::body;
use super::case::{Case, Dialect, Expect, ExpectRequest, Fallback, Response};
use super::subset::{differences, short};
use crate::client::{Event, text_after};
use crate::provider::{Request, Step};
use crate::{Client, Cura, ScriptedProvider, eventually, provider};

/// A provider and what of it was accepted.
struct Scripted {
    provider: ScriptedProvider,
    responses: Vec<Response>,
    earlier: usize,
}

impl Scripted {
    /// Answers the first `earlier` requests, and every trial, well.
    async fn start(dialect: Dialect, responses: Vec<Response>, earlier: usize) -> Self {
        let scripts: Vec<Vec<Step>> = responses
            .iter()
            .map(|response| body::steps(response, dialect))
            .collect();
        let well = match dialect {
            Dialect::Openai => provider::answer(&["I hear you."], std::time::Duration::ZERO),
            Dialect::Anthropic => provider::anthropic::answer(&["I hear you."], std::time::Duration::ZERO),
        };
        let provider = ScriptedProvider::start(move |number, request: &Request| {
            if request.is_trial() || number < earlier {
                return well.clone();
            }
            scripts
                .get(number - earlier)
                .or(scripts.last())
                .expect("a response")
                .clone()
        })
        .await;
        Self {
            provider,
            responses,
            earlier,
        }
    }

    fn calls(&self) -> usize {
        self.provider.requests().len() - self.earlier.min(self.provider.requests().len())
    }

    fn paid_calls(&self) -> usize {
        let response = |number: usize| self.responses.get(number).or(self.responses.last());
        let accepted = |number: &usize| response(*number).is_some_and(|response| response.status.starts_with('2'));
        (0..self.calls()).filter(accepted).count()
    }
}

/// What is not as the case expects; empty when all is well.
///
/// # Panics
/// If something is wrong beyond the case: a stream with gaps, a broken invariant.
pub async fn run(case: &Case) -> Vec<String> {
    let first = Scripted::start(case.dialect, case.respond.clone(), case.earlier.len()).await;
    let second = match &case.fallback {
        Some(Fallback { dialect, respond }) => Some(Scripted::start(*dialect, respond.clone(), 0).await),
        None => None,
    };
    let cura = start(case, &first, second.as_ref()).await;
    let user = cura.user().await;
    let mut conversation = Value::Null;
    for earlier in &case.earlier {
        conversation = user.send_message(&conversation, &earlier.whole()).await["conversation_id"].clone();
    }
    let mut wrong = Vec::new();
    let messages = std::iter::once((&case.say, &case.expect));
    for (say, expect) in messages.chain(case.then.iter().map(|then| (&then.say, &then.expect))) {
        let seen = ask(&user, &conversation, &say.whole()).await;
        conversation = seen[0].data["conversation_id"].clone();
        let prefix = if case.then.is_empty() {
            String::new()
        } else {
            let said: String = say.whole().chars().take(20).collect();
            format!("{said:?}: ")
        };
        let mut found = check_message(&user, expect, &seen).await;
        found.extend(check_calls(expect, &first, second.as_ref()));
        found.extend(check_rest(&cura, &user, &conversation, expect).await);
        wrong.extend(found.into_iter().map(|found| format!("{prefix}{found}")));
    }
    cura.check_invariants().await;
    wrong
}

async fn start(case: &Case, first: &Scripted, second: Option<&Scripted>) -> Cura {
    let mut builder = Cura::builder().with_provider(&first.provider);
    let name = |dialect| match dialect {
        Dialect::Openai => "custom",
        Dialect::Anthropic => "anthropic",
    };
    builder = builder.with("AI_MODEL_PROVIDER", name(case.dialect));
    if let (Some(second), Some(fallback)) = (second, &case.fallback) {
        builder = builder.with("AI_FALLBACK_URL", second.provider.url());
        builder = builder.with("AI_FALLBACK_PROVIDER", name(fallback.dialect));
    }
    for (setting, value) in &case.settings {
        // The names of settings are few, and live as long as the test.
        let setting: &'static str = Box::leak(setting.clone().into_boxed_str());
        builder = builder.with(setting, value.clone());
    }
    builder.start().await
}

/// The events of an answer, to its end.
async fn ask(user: &Client, conversation: &Value, say: &str) -> Vec<Event> {
    let body = json!({ "conversation_id": conversation, "content": say });
    let request = user.request(reqwest::Method::POST, "/chat/stream").json(&body);
    let stream = user.events(request).await;
    let mut stream = stream.unwrap_or_else(|reply| panic!("{} {}", reply.status, reply.body));
    let seen = stream.rest().await;
    assert!(!seen.is_empty(), "a stream begins with an event");
    seen
}

async fn check_message(user: &Client, expect: &Expect, seen: &[Event]) -> Vec<String> {
    let message = user
        .get(&format!("/chat/messages/{}", seen[0].data["message_id"]))
        .await
        .body;
    let content = message["content"].as_str().expect("content");
    let metadata = &message["metadata"];
    let mut wrong = Vec::new();
    let mut same = |what: &str, wanted: Value, found: &Value| {
        if wanted != *found {
            wrong.push(format!("{what} is {}, not {}", short(found), short(&wanted)));
        }
    };
    same("the status", json!(expect.status), &message["status"]);
    if let Some(wanted) = &expect.content {
        same("the content", json!(wanted.whole()), &message["content"]);
    }
    if let Some(wanted) = expect.content_bytes {
        same("the content's length", json!(wanted), &json!(content.len()));
    }
    if let Some(wanted) = &expect.content_starts {
        same(
            "whether the content starts so",
            json!(true),
            &json!(content.starts_with(wanted)),
        );
    }
    same(
        "the finish reason",
        json!(expect.finish_reason),
        &metadata["finish_reason"],
    );
    same("the error", json!(expect.error), &metadata["error"]);
    for key in &expect.metadata_lacks {
        same(&format!("metadata.{key}"), Value::Null, &metadata[key]);
    }
    let last = seen.last().map(|event| event.name.as_str()).unwrap_or_default();
    let end = if expect.status == "error" { "error" } else { "complete" };
    same("the last event", json!(end), &json!(last));
    if last == "error" {
        same(
            "the event's code",
            json!(expect.error),
            &seen[seen.len() - 1].data["code"],
        );
    }
    same("the text of the stream", json!(content), &json!(text_after("", seen)));
    let reset = seen.iter().any(|event| event.name == "reset");
    same("whether text was taken back", json!(expect.reset), &json!(reset));
    if let Some(wanted) = &expect.metadata {
        wrong.extend(differences("metadata", wanted, metadata));
    }
    wrong
}

fn check_calls(expect: &Expect, first: &Scripted, second: Option<&Scripted>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, wanted: Option<usize>, found: usize| {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            wrong.push(format!("there were {found} {what}, not {wanted}"));
        }
    };
    same("calls", expect.calls, first.calls());
    same("paid calls", expect.paid_calls, first.paid_calls());
    let of_second = |count: fn(&Scripted) -> usize| second.map(count).unwrap_or_default();
    same(
        "calls of the fallback",
        expect.fallback_calls,
        of_second(Scripted::calls),
    );
    same(
        "paid calls of the fallback",
        expect.fallback_paid_calls,
        of_second(Scripted::paid_calls),
    );
    let requests = first.provider.requests();
    let requests = requests.get(first.earlier..).unwrap_or_default();
    for (index, wanted) in expect.requests.iter().enumerate() {
        wrong.extend(check_request(&format!("request {index}"), wanted, requests.get(index)));
    }
    if let Some(wanted) = &expect.last_request {
        wrong.extend(check_request("the last request", wanted, requests.last()));
    }
    if let Some(wanted) = &expect.last_fallback_request {
        let requests = second.map(|second| second.provider.requests()).unwrap_or_default();
        wrong.extend(check_request("the fallback's last request", wanted, requests.last()));
    }
    wrong
}

fn check_request(what: &str, wanted: &ExpectRequest, found: Option<&Request>) -> Vec<String> {
    let Some(found) = found else {
        return vec![format!("{what} was never sent")];
    };
    let mut wrong = Vec::new();
    if let Some(holds) = &wanted.holds {
        wrong.extend(differences(what, holds, &found.body));
    }
    for key in wanted.lacks.iter().filter(|key| found.body.get(key.as_str()).is_some()) {
        wrong.push(format!("{what} holds {key}: {}", short(&found.body[key])));
    }
    let text = found.body.to_string();
    for said in wanted.says.iter().filter(|said| !text.contains(said.as_str())) {
        wrong.push(format!("{what} does not say {said:?}: {}", short(&found.body)));
    }
    for said in wanted.says_not.iter().filter(|said| text.contains(said.as_str())) {
        wrong.push(format!("{what} says {said:?}: {}", short(&found.body)));
    }
    wrong
}

async fn check_rest(cura: &Cura, user: &Client, conversation: &Value, expect: &Expect) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(title) = &expect.title {
        eventually(&format!("the title is {title:?}"), async || {
            let found = user.get(&format!("/conversations/{conversation}")).await.body;
            (found["title"] == json!(title)).then_some(())
        })
        .await;
    }
    if let Some(health) = &expect.health {
        eventually(&format!("/health holds {health}"), async || {
            let found = user.get("/health").await.body;
            differences("health", health, &found).is_empty().then_some(())
        })
        .await;
    }
    for line in &expect.logs {
        eventually(&format!("{line:?} is logged"), async || {
            cura.logs().contains(line).then_some(())
        })
        .await;
    }
    let logs = cura.logs();
    for line in expect.logs_lack.iter().filter(|line| logs.contains(line.as_str())) {
        wrong.push(format!("{line:?} is logged"));
    }
    wrong
}
