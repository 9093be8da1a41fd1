//! A provider that refuses our key, account or settings for a moment refuses nobody an answer; one that goes on does, until it is
//! repaired.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cura_tests::provider::{Step, answer, chunk, event, refusal};
use cura_tests::{Client, Cura, ScriptedProvider, eventually};
use serde_json::{Value, json};

/// What a provider does instead of answering.
#[derive(Clone, Default)]
struct Trouble(Arc<Mutex<Option<Instead>>>);

/// For all requests, or for one that is no trial; and the steps.
type Instead = (bool, Vec<Step>);

impl Trouble {
    fn once(&self, steps: Vec<Step>) {
        *self.0.lock().unwrap() = Some((false, steps));
    }

    fn always(&self, steps: Vec<Step>) {
        *self.0.lock().unwrap() = Some((true, steps));
    }

    fn ends(&self) {
        *self.0.lock().unwrap() = None;
    }

    fn has_happened(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    fn next(&self, is_trial: bool) -> Option<Vec<Step>> {
        let mut trouble = self.0.lock().unwrap();
        match &*trouble {
            Some((false, _)) if is_trial => None,
            Some((false, _)) => trouble.take().map(|(_, steps)| steps),
            Some((true, steps)) => Some(steps.clone()),
            None => None,
        }
    }
}

async fn start() -> (Trouble, ScriptedProvider, Cura) {
    let trouble = Trouble::default();
    let of_provider = trouble.clone();
    let provider = ScriptedProvider::start(move |_, asked| {
        let is_trial = asked.body["messages"].to_string().contains("Are you there?");
        of_provider
            .next(is_trial)
            .unwrap_or_else(|| answer(&["All ", "is ", "well"], Duration::ZERO))
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    (trouble, provider, cura)
}

/// Refusals that concern everybody, if they are meant.
fn refusals() -> Vec<(&'static str, Vec<Step>)> {
    let key = json!({ "error": { "code": "invalid_api_key", "message": "x" } });
    let no_model =
        json!({ "error": { "code": "model_not_found", "type": "invalid_request_error", "message": "no such model" } });
    let balance = json!({ "error": { "code": "insufficient_quota", "message": "x" } });
    vec![
        ("401", refusal("401 Unauthorized", "", &json!({}))),
        (
            "302",
            refusal("302 Found", "Location: http://127.0.0.1:1/\r\n", &json!({})),
        ),
        ("403 that names the key", refusal("403 Forbidden", "", &key)),
        ("402", refusal("402 Payment Required", "", &json!({}))),
        ("429 without balance", refusal("429 Too Many Requests", "", &balance)),
        ("404", refusal("404 Not Found", "", &no_model)),
        ("405", refusal("405 Method Not Allowed", "", &json!({}))),
    ]
}

/// An answer that was accepted, and broken off by an event that says that the account has no credit.
fn no_credit_behind(text: &str) -> Vec<Step> {
    let no_credit = json!({ "error": { "code": 402, "message": "Insufficient credits" } });
    let text = (!text.is_empty()).then(|| Step::Write(chunk(text)));
    let rest = [Step::Write(event(&no_credit)), Step::End];
    std::iter::once(Step::Head).chain(text).chain(rest).collect()
}

async fn say_hi(person: &Client) -> Value {
    let sent = person.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    sent["assistant_message"].clone()
}

#[tokio::test]
async fn one_refusal_between_good_answers_costs_nobody_an_answer() {
    let (trouble, _provider, cura) = start().await;
    let (ann, bob) = (
        cura.client().register("ann@example.com").await,
        cura.client().register("bob@example.com").await,
    );
    for (name, steps) in refusals() {
        assert_eq!(say_hi(&bob).await["content"], "All is well");
        trouble.once(steps);
        let (of_ann, of_bob) = tokio::join!(say_hi(&ann), say_hi(&bob));
        assert!(trouble.has_happened());
        assert_eq!(
            (&of_ann["content"], &of_bob["content"]),
            (&json!("All is well"), &json!("All is well")),
            "{name}: {of_ann} {of_bob}"
        );
    }
    assert!(!cura.logs().contains("ERROR"), "{}", cura.logs());
    cura.check_invariants().await;
}

#[tokio::test]
async fn refusals_of_everybody_for_some_seconds_cost_nobody_an_answer_either() {
    let (trouble, provider, cura) = start().await;
    let persons = [
        cura.client().register("ann@example.com").await,
        cura.client().register("bob@example.com").await,
    ];
    trouble.always(refusal("401 Unauthorized", "", &json!({})));
    let mut asked = Vec::new();
    for person in &persons {
        asked.push((person, person.ask("Hi").await));
    }
    eventually("several requests of our own are refused", async || {
        (provider.trials() >= 3).then_some(())
    })
    .await;
    trouble.ends();
    for (person, answer) in asked {
        assert_eq!(person.until_final(&answer).await["content"], "All is well");
    }
    assert!(!cura.logs().contains("ERROR"), "{}", cura.logs());
    cura.check_invariants().await;
}

/// Within an answer each one is paid for, and an answer may be paid for once more only.
#[tokio::test]
async fn refusals_within_answers_soon_after_a_trial_cost_nobody_an_answer_either() {
    let (trouble, provider, cura) = start().await;
    trouble.once(refusal("401 Unauthorized", "", &json!({})));
    let ann = cura.client().register("ann@example.com").await;
    assert_eq!(say_hi(&ann).await["content"], "All is well");
    assert_eq!(provider.trials(), 1);
    let before = provider.requests().len();
    trouble.always(no_credit_behind(""));
    let mut asked = Vec::new();
    for name in ["bob", "eve", "joe"] {
        let person = cura.client().register(&format!("{name}@example.com")).await;
        let answer = person.ask("Hi").await;
        asked.push((person, answer));
    }
    eventually("each was refused once", async || {
        (provider.requests().len() >= before + asked.len()).then_some(())
    })
    .await;
    let asks_again = async || provider.requests().len() > before + asked.len();
    eventually("a trial is refused, and nobody has asked again", async || {
        assert!(!asks_again().await, "a further request would be the last");
        (provider.trials() > 1).then_some(())
    })
    .await;
    trouble.ends();
    for (person, answer) in &asked {
        assert_eq!(person.until_final(answer).await["content"], "All is well");
    }
    assert!(!cura.logs().contains("ERROR"), "{}", cura.logs());
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_refusal_behind_the_first_words_is_confirmed_too() {
    let (trouble, provider, cura) = start().await;
    trouble.always(no_credit_behind("Hello "));
    let ann = cura.user().await;
    let message = say_hi(&ann).await;
    assert_eq!(message["metadata"]["error"], "provider_quota_exhausted", "{message}");
    cura.workers[0].wait_for_log("ERROR").await;
    assert!(provider.trials() > 1);
    trouble.ends();
    eventually("an answer comes again", async || {
        (say_hi(&ann).await["content"] == "All is well").then_some(())
    })
    .await;
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_fault_that_stays_is_an_alert_once_is_seen_in_the_health_and_ends_when_it_is_repaired() {
    let (trouble, _provider, mut cura) = start().await;
    cura.add_server().await;
    let ann = cura.user().await;
    let health = async |server: usize| ann.at(&cura.servers[server].base).get("/health").await.body;
    let ai = async |server: usize| {
        let body = health(server).await;
        (
            body["status"].clone(),
            body["ai_service"]["status"].clone(),
            body["ai_service"]["reason"].clone(),
        )
    };
    assert_eq!(ai(0).await.1, "up");
    trouble.always(refusal("402 Payment Required", "", &json!({})));
    assert_eq!(say_hi(&ann).await["metadata"]["error"], "provider_quota_exhausted");
    let down = (json!("degraded"), json!("down"), json!("provider_quota_exhausted"));
    for server in 0..2 {
        eventually("every server says so", async || {
            (ai(server).await == down).then_some(())
        })
        .await;
    }
    for _ in 0..2 {
        let begun = Instant::now();
        assert_eq!(say_hi(&ann).await["metadata"]["error"], "provider_quota_exhausted");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    assert_eq!(cura.logs().matches("ERROR").count(), 1, "{}", cura.logs());
    trouble.ends();
    eventually("an answer comes again", async || {
        (say_hi(&ann).await["content"] == "All is well").then_some(())
    })
    .await;
    eventually("the health shows it", async || (ai(1).await.1 == "up").then_some(())).await;
    cura.check_invariants().await;
}

/// While nobody asks, a worker looks for itself only twice a minute.
#[tokio::test]
async fn a_good_answer_of_another_worker_ends_a_fault_within_seconds() {
    let (trouble, provider, cura) = start().await;
    let ann = cura.user().await;
    trouble.always(refusal("401 Unauthorized", "", &json!({})));
    assert_eq!(say_hi(&ann).await["metadata"]["error"], "provider_unauthorized");
    let reason = async || ann.get("/health").await.body["ai_service"]["reason"].clone();
    eventually("it is seen", async || {
        (reason().await == "provider_unauthorized").then_some(())
    })
    .await;
    trouble.ends();
    let (repaired, trials) = (Instant::now(), provider.trials());
    // As another worker does whose provider has answered.
    sqlx::query(
        "INSERT INTO apalis.workers (id, worker_type, storage_name, layers, last_seen, started_at, worked_at)
         SELECT 'another', worker_type, storage_name, layers, now(), now(), now() FROM apalis.workers LIMIT 1",
    )
    .execute(cura.database.pool())
    .await
    .unwrap();
    eventually("it is over", async || reason().await.is_null().then_some(())).await;
    assert!(repaired.elapsed() < Duration::from_secs(20), "{:?}", repaired.elapsed());
    assert_eq!(provider.trials(), trials + 1);
    cura.check_invariants().await;
}

#[tokio::test]
async fn the_fault_of_a_worker_that_died_is_forgotten() {
    let (trouble, _provider, mut cura) = start().await;
    let ann = cura.user().await;
    trouble.always(refusal("401 Unauthorized", "", &json!({})));
    assert_eq!(say_hi(&ann).await["metadata"]["error"], "provider_unauthorized");
    let reason = async || ann.get("/health").await.body["ai_service"]["reason"].clone();
    eventually("it is seen", async || {
        (reason().await == "provider_unauthorized").then_some(())
    })
    .await;
    trouble.ends();
    cura.workers[0].kill();
    cura.add_worker().await;
    eventually("it is forgotten", async || reason().await.is_null().then_some(())).await;
}
