//! No request to the model is nobody's: titles and summaries count for their person, and what a day allows cannot be exceeded
//! by asking for much at once, or by building a past that cost nothing.

use std::time::Duration;

use cura_tests::provider::{Latch, answer, chunk, event};
use cura_tests::{Client, Cura, ScriptedProvider, Step, eventually};
use serde_json::{Value, json};

const TITLE: &str = "Give the conversation below a title";
const SUMMARY: &str = "Summarise the conversation";

/// The tokens of an account, and its answers.
async fn used(user: &Client) -> (i64, i64) {
    let total = user.get("/users/me/usage").await.body["total"].clone();
    (
        total["total_tokens"].as_i64().unwrap(),
        total["messages"].as_i64().unwrap(),
    )
}

/// How many requests hold this text.
fn requests_with(provider: &ScriptedProvider, text: &str) -> usize {
    let asked = provider.requests();
    asked
        .iter()
        .filter(|asked| asked.body.to_string().contains(text))
        .count()
}

async fn wait_for_jobs(cura: &Cura, queue: &str, status: &str, times: i64) {
    eventually(&format!("{times} jobs of {queue} are {status}"), async || {
        let count = "SELECT count(*) FROM apalis.jobs WHERE job_type = $1 AND status = $2";
        let count = sqlx::query_scalar::<_, i64>(count).bind(queue).bind(status);
        let found = count.fetch_one(cura.database.pool()).await.unwrap();
        (found == times).then_some(())
    })
    .await;
}

/// A conversation with a past of so many messages of 2,000 bytes each, which cost nothing.
async fn free_past(cura: &Cura, user: &Client, messages: i32) -> Value {
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let past = "WITH ids AS (SELECT n, nextval(pg_get_serial_sequence('messages', 'id')) AS id FROM generate_series(1, $2) n)
         INSERT INTO messages
             (id, conversation_id, user_id, parent_id, role, content, status, created_at, updated_at, finish_reason)
         OVERRIDING SYSTEM VALUE
         SELECT id, $1, (SELECT user_id FROM conversations WHERE id = $1), lag(id) OVER (ORDER BY n),
                CASE n % 2 WHEN 1 THEN 'user' ELSE 'assistant' END, repeat('I cannot sleep. ', 125), 'sent', now(), now(),
                CASE n % 2 WHEN 0 THEN 'stop' END
         FROM ids";
    let past = sqlx::query(past).bind(conversation.as_i64()).bind(messages);
    past.execute(cura.database.pool()).await.unwrap();
    let counted = sqlx::query("UPDATE conversations SET message_count = $2 WHERE id = $1");
    let counted = counted.bind(conversation.as_i64()).bind(messages);
    counted.execute(cura.database.pool()).await.unwrap();
    conversation
}

#[tokio::test]
async fn titles_and_summaries_count_for_their_person_but_are_no_answers() {
    let provider = ScriptedProvider::answering(&["some", "words"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .with("AI_CONTEXT_TOKENS", "2000")
        .start()
        .await;
    let user = cura.user().await;
    user.send_message(&Value::Null, "Hi").await;
    wait_for_jobs(&cura, "title-conversation", "Done", 1).await;
    assert_eq!(requests_with(&provider, TITLE), 1);
    assert_eq!(used(&user).await, (2 * 9, 1), "each request costs 7 and 2 tokens");
    let conversation = free_past(&cura, &user, 6).await;
    user.send_message(&conversation, "and now?").await;
    wait_for_jobs(&cura, "summarize-conversation", "Done", 1).await;
    let summaries = i64::try_from(requests_with(&provider, SUMMARY)).unwrap();
    assert!(summaries > 0);
    assert_eq!(used(&user).await, ((3 + summaries) * 9, 2));
    cura.check_invariants().await;
}

#[tokio::test]
async fn forty_sends_at_once_do_not_overspend_the_day() {
    let latch = Latch::default();
    let opened = latch.clone();
    let provider = ScriptedProvider::start(move |_, _| {
        // As long as the request allows.
        let usage = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }],
                            "usage": { "prompt_tokens": 300, "completion_tokens": 4096, "total_tokens": 4396 } });
        vec![
            Step::Head,
            Step::Wait(opened.clone()),
            Step::Write(chunk("words") + &event(&usage) + "data: [DONE]\n\n"),
            Step::End,
        ]
    })
    .await;
    let cura = Cura::builder()
        .servers(2)
        .with_provider(&provider)
        .with("AI_MODEL_PROVIDER", "custom")
        .with("USER_DAILY_TOKENS", "10000")
        .start()
        .await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let hi = json!({ "content": "Hi" });
    let sends = (0..40).map(|n| [&user, &there][n % 2].try_send_without_waiting(&hi));
    let replies = futures_util::future::join_all(sends).await;
    let (taken, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 202);
    assert_eq!(taken.len(), 2, "as many as fit with the longest answer");
    assert!(refused.iter().all(|reply| reply.code() == "quota_exceeded"));
    latch.open();
    for reply in taken {
        user.until_final(&reply.body["assistant_message"]["id"]).await;
    }
    let (tokens, answers) = used(&user).await;
    assert_eq!((tokens, answers), (2 * 4396, 2), "within the day");
    for asked in provider.requests() {
        assert_eq!(
            asked.body["max_tokens"], 4096,
            "what is reserved is what the provider is told"
        );
    }
    let last = user.post("/chat/send", &hi).await;
    assert_eq!(last.status, 200, "something was left, and nothing is under way");
    let refused = user.post("/chat/send", &hi).await;
    assert_eq!(refused.code(), "quota_exceeded");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_past_that_cost_nothing_is_reserved_when_it_would_be_sent() {
    let cura = Cura::builder()
        .workers(0)
        .with("USER_DAILY_TOKENS", "1000000")
        .start()
        .await;
    let user = cura.user().await;
    let reserved = async |answer: &Value| {
        let reserved = "SELECT reserved_tokens FROM messages WHERE id = $1";
        let reserved = sqlx::query_scalar::<_, i64>(reserved).bind(answer.as_i64());
        reserved.fetch_one(cura.database.pool()).await.unwrap()
    };
    let new = user.ask("Hi").await;
    let alone = reserved(&new).await;
    assert!((4096..4600).contains(&alone), "{alone}");
    for (messages, tokens) in [(10, 4096 + 5_000), (400, 4096 + 16_000)] {
        let conversation = free_past(&cura, &user, messages).await;
        let question = json!({ "conversation_id": conversation, "content": "and now?" });
        let sent = user.send_without_waiting(&question).await;
        let answer = sent.body["assistant_message"]["id"].clone();
        let reserved = reserved(&answer).await;
        assert!((tokens..tokens + 3_000).contains(&reserved), "{messages}: {reserved}");
        // The next waits for it, and its prompt will hold its answer.
        let question = json!({ "conversation_id": conversation, "content": "and then?", "on_busy": "queue" });
        let sent = user.try_send_without_waiting(&question).await;
        assert_eq!(sent.status, 202, "{}", sent.body);
    }
    let unfinished = "SELECT count(*) FROM messages WHERE running AND reserved_tokens < 4096";
    assert_eq!(cura.database.count(unfinished).await, 0);
}

#[tokio::test]
async fn a_past_that_cost_nothing_is_summarized_by_two_requests_an_answer_at_most() {
    let provider = ScriptedProvider::start(|_, asked| {
        let body = asked.body.to_string();
        let words = if body.contains(SUMMARY) {
            "In short: no sleep."
        } else {
            "Hm."
        };
        answer(&[words], Duration::ZERO)
    })
    .await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_MODEL_PROVIDER", "custom")
        .with("AI_CONTEXT_TOKENS", "2000")
        .start()
        .await;
    let user = cura.user().await;
    let conversation = free_past(&cura, &user, 400).await;
    for _ in 0..9 {
        user.send_message(&conversation, "and now?").await;
    }
    eventually("the last summary is made", async || {
        let open = "SELECT count(*) FROM apalis.jobs
                    WHERE job_type = 'summarize-conversation' AND status IN ('Pending', 'Running')";
        (cura.database.count(open).await == 0).then_some(())
    })
    .await;
    let summaries = requests_with(&provider, SUMMARY);
    assert!((1..=18).contains(&summaries), "{summaries} requests for nine answers");
    let kept = cura.database.count("SELECT count(*) FROM summaries").await;
    assert_eq!(
        usize::try_from(kept).unwrap(),
        summaries,
        "each part is kept, and none is made twice"
    );
    for asked in provider.requests() {
        let bytes: usize = asked.body["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["content"].as_str().unwrap().len())
            .sum();
        assert!(bytes / 3 <= 2000, "{bytes} bytes in one request");
    }
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'summarize-conversation'";
    assert_eq!(cura.database.count(jobs).await, 1, "one job for a conversation");
    cura.check_invariants().await;
}

#[tokio::test]
async fn without_tokens_of_the_day_neither_a_title_nor_a_summary_is_made() {
    let provider = ScriptedProvider::answering(&["some", "words"], Duration::ZERO).await;
    let cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .with("AI_CONTEXT_TOKENS", "2000")
        .with("USER_DAILY_TOKENS", "400")
        .start()
        .await;
    let user = cura.user().await;
    let conversation = free_past(&cura, &user, 6).await;
    let titled = user.send_message(&Value::Null, "I cannot sleep").await["conversation_id"].clone();
    user.send_message(&conversation, "and now?").await;
    wait_for_jobs(&cura, "title-conversation", "Done", 2).await;
    wait_for_jobs(&cura, "summarize-conversation", "Done", 1).await;
    assert_eq!(provider.requests().len(), 2, "the answers alone");
    let title = user.get(&format!("/conversations/{titled}")).await.body["title"].clone();
    assert_eq!(title, "I cannot sleep", "the excerpt stays");
    let why = "not made: the person's tokens of the day do not suffice for it";
    assert_eq!(cura.logs().matches(why).count(), 3, "each is logged once");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_title_whose_worker_died_is_counted_by_the_next_run() {
    let provider = ScriptedProvider::start(|number, _| match number {
        1 => vec![Step::Head, Step::Write(chunk("My")), Step::Hang],
        _ => answer(&["My", "nights"], Duration::ZERO),
    })
    .await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("AI_TITLES", "true")
        .start()
        .await;
    let user = cura.user().await;
    user.send_message(&Value::Null, "I cannot sleep").await;
    provider.wait_for_requests(2).await;
    cura.add_worker().await;
    cura.workers[0].kill();
    wait_for_jobs(&cura, "title-conversation", "Done", 1).await;
    let lost = "SELECT count(*) FROM model_calls WHERE estimated AND input_tokens > 50 AND output_tokens = 0";
    assert_eq!(cura.database.count(lost).await, 1);
    let open = "SELECT count(*) FROM model_calls WHERE ended_at IS NULL";
    assert_eq!(cura.database.count(open).await, 0);
    assert!(used(&user).await.0 > 50 + 2 * 9);
    cura.check_invariants().await;
}
