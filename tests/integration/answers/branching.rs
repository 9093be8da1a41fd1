//! Regenerated answers and edited questions, and what happens while an answer is being written.

use std::time::Duration;

use cura_tests::problem::assert_problem;
use cura_tests::provider::{Step, answer, chunk, finish};
use cura_tests::{Cura, ScriptedProvider, Socket, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};

/// A provider that answers with the number of the request.
async fn counting(apart: Duration) -> ScriptedProvider {
    ScriptedProvider::start(move |number, _| answer(&["answer ", &number.to_string()], apart)).await
}

/// The messages of the request with this number, without the system message.
fn prompt(provider: &ScriptedProvider, number: usize) -> Vec<String> {
    let asked = provider.requests();
    let messages = asked[number].body["messages"].as_array().unwrap();
    messages[1..]
        .iter()
        .map(|message| message["content"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_regenerated_answer_stands_beside_the_old_one_and_the_conversation_goes_on_from_it() {
    let provider = counting(Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_message(&Value::Null, "first").await;
    let path = format!("/chat/messages/{}/regenerate", first["assistant_message"]["id"]);
    let regenerated = user.post(&path, &json!({})).await;
    assert_eq!(regenerated.status, 200, "{}", regenerated.body);
    assert_eq!(regenerated.body["user_message"], first["user_message"]);
    assert_eq!(regenerated.body["assistant_message"]["content"], "answer 1");
    assert_eq!(
        regenerated.body["assistant_message"]["parent_id"],
        first["assistant_message"]["parent_id"]
    );
    assert_eq!(prompt(&provider, 1), ["first"], "the old answer is not in the prompt");
    user.send_message(&first["conversation_id"], "second").await;
    assert_eq!(prompt(&provider, 2), ["first", "answer 1", "second"]);
    let path = format!("/conversations/{}", first["conversation_id"]);
    assert_eq!(user.get(&path).await.body["message_count"], 5);
    let listed = user.get(&format!("{path}/messages?order=asc")).await.body;
    let contents: Vec<&Value> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["content"])
        .collect();
    assert_eq!(contents, ["first", "answer 0", "answer 1", "second", "answer 2"]);
    cura.check_invariants().await;
}

#[tokio::test]
async fn an_edited_question_stands_beside_the_old_one_and_has_its_own_history() {
    let provider = counting(Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_message(&Value::Null, "first").await;
    let second = user.send_message(&first["conversation_id"], "second").await;
    let path = format!("/chat/messages/{}/edit", second["user_message"]["id"]);
    let edited = user.post(&path, &json!({ "content": "other" })).await;
    assert_eq!(edited.status, 200, "{}", edited.body);
    assert_eq!(edited.body["user_message"]["content"], "other");
    assert_eq!(
        edited.body["user_message"]["parent_id"],
        second["user_message"]["parent_id"]
    );
    assert_eq!(prompt(&provider, 2), ["first", "answer 0", "other"]);
    let old = user
        .get(&format!("/chat/messages/{}", second["user_message"]["id"]))
        .await;
    assert_eq!(old.body["content"], "second", "nothing is overwritten");
    cura.check_invariants().await;
}

#[tokio::test]
async fn regenerating_and_editing_are_idempotent() {
    let provider = counting(Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_message(&Value::Null, "first").await;
    let (question, answer) = (&first["user_message"]["id"], &first["assistant_message"]["id"]);
    for (path, body, other) in [
        (format!("/chat/messages/{answer}/regenerate"), json!({}), None),
        (
            format!("/chat/messages/{question}/edit"),
            json!({ "content": "x" }),
            Some(json!({ "content": "y" })),
        ),
    ] {
        let ask = async |body: &Value| {
            let request = user
                .request(Method::POST, &path)
                .header("Idempotency-Key", path.replace('/', "."));
            user.send(request.json(body)).await
        };
        let replies = futures_util::future::join_all((0..5).map(|_| ask(&body))).await;
        for reply in &replies {
            assert_eq!(reply.status, 200, "{}", reply.body);
            assert_eq!(
                reply.body["assistant_message"]["id"],
                replies[0].body["assistant_message"]["id"]
            );
        }
        if let Some(other) = other {
            assert_eq!(ask(&other).await.code(), "idempotency_key_reused");
        }
    }
    assert_eq!(provider.requests().len(), 3);
    cura.check_invariants().await;
}

#[tokio::test]
async fn only_questions_can_be_edited_and_only_answers_regenerated() {
    let provider = counting(Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_message(&Value::Null, "first").await;
    let (question, answer) = (&first["user_message"]["id"], &first["assistant_message"]["id"]);
    for (path, body) in [
        (format!("/chat/messages/{answer}/edit"), json!({ "content": "x" })),
        (format!("/chat/messages/{question}/regenerate"), json!({})),
    ] {
        let refused = user.post(&path, &body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (404, "message_not_found"),
            "{path}"
        );
    }
    let empty = user
        .post(&format!("/chat/messages/{question}/edit"), &json!({ "content": " " }))
        .await;
    assert_eq!(
        (empty.status.as_u16(), &empty.body["errors"][0]["pointer"]),
        (422, &json!("/content"))
    );
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn regenerating_and_editing_conflict_with_a_running_answer_and_name_it() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Head, Step::Write(chunk("so")), Step::Hang]).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    let (question, answer) = (&sent["user_message"]["id"], &sent["assistant_message"]["id"]);
    for (path, body) in [
        (format!("/chat/messages/{answer}/regenerate"), json!({})),
        (format!("/chat/messages/{question}/edit"), json!({ "content": "x" })),
    ] {
        let refused = user.post(&path, &body).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (409, "generation_in_progress")
        );
        assert_eq!(&refused.body["message_id"], answer);
    }
}

#[tokio::test]
async fn an_interrupting_question_is_answered_with_the_text_so_far_in_its_prompt() {
    let provider = ScriptedProvider::start(|number, _| {
        let mut steps = vec![Step::Head, Step::Write(chunk(&format!("part {number}")))];
        if number == 0 {
            steps.push(Step::Hang);
        } else {
            steps.extend(finish(1));
        }
        steps
    })
    .await;
    let first = interrupted_answer().by(provider).start().await;
    let body = json!({ "conversation_id": first.conversation_id(), "content": "two", "on_busy": "interrupt" });
    let sent = first.user.post("/chat/send", &body).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    assert_eq!(sent.body["assistant_message"]["content"], "part 1");
    let interrupted = first.user.until_final(&first.id()).await;
    assert_eq!(interrupted["metadata"]["finish_reason"], "cancelled");
    assert_eq!(prompt(&first.provider, 1), ["Hi", "part 0", "two"]);
    first.cura.check_invariants().await;
}

#[tokio::test]
async fn queued_questions_are_answered_in_order() {
    let provider = counting(Duration::from_millis(50)).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_without_waiting(&json!({ "content": "0" })).await.body;
    let mut answers = vec![first["assistant_message"]["id"].clone()];
    for n in 1..6 {
        let body = json!({ "conversation_id": first["conversation_id"], "content": n.to_string(), "on_busy": "queue" });
        let sent = user.send_without_waiting(&body).await;
        answers.push(sent.body["assistant_message"]["id"].clone());
    }
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(user.until_final(answer).await["content"], format!("answer {n}"));
    }
    let expected: Vec<String> = (0..6)
        .flat_map(|n| [n.to_string(), format!("answer {n}")])
        .take(11)
        .collect();
    assert_eq!(prompt(&provider, 5), expected);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_queued_question_is_answered_when_the_one_before_is_stopped_or_fails() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => vec![Step::Hang],
        1 => cura_tests::provider::refusal("400 Bad Request", "", &json!({ "error": { "message": "no" } })),
        _ => answer(&["at last"], Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.send_without_waiting(&json!({ "content": "0" })).await.body;
    let queue = async |content: &str| {
        let body = json!({ "conversation_id": first["conversation_id"], "content": content, "on_busy": "queue" });
        user.send_without_waiting(&body).await.body["assistant_message"]["id"].clone()
    };
    let (second, third) = (queue("1").await, queue("2").await);
    let fourth = queue("3").await;
    let cancel = async |answer: &Value| {
        let stopped = user.cancel(answer).await;
        assert_eq!(stopped.status, 200, "{}", stopped.body);
    };
    cancel(&third).await;
    // One that has not begun would leave its refusal to the next.
    provider.wait_for_requests(1).await;
    cancel(&first["assistant_message"]["id"]).await;
    assert_eq!(user.until_final(&second).await["status"], "error");
    assert_eq!(user.until_final(&fourth).await["content"], "at last");
    assert_eq!(
        prompt(&provider, 2),
        ["0\n\n1\n\n2\n\n3"],
        "a failed answer is never in the prompt"
    );
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_queue_has_an_end() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let first = user.send_without_waiting(&json!({ "content": "0" })).await.body;
    let body = json!({ "conversation_id": first["conversation_id"], "content": "more", "on_busy": "queue" });
    for _ in 1..20 {
        user.send_without_waiting(&body).await;
    }
    let regenerate = format!("/chat/messages/{}/regenerate", first["assistant_message"]["id"]);
    let edit = format!("/chat/messages/{}/edit", first["user_message"]["id"]);
    for refused in [
        user.try_send_without_waiting(&body).await,
        user.post(&regenerate, &json!({ "on_busy": "queue" })).await,
        user.post(&edit, &json!({ "content": "x", "on_busy": "queue" })).await,
        user.post("/chat/stream", &body).await,
    ] {
        assert_problem(&refused, 409, "a full queue");
        assert_eq!((refused.code(), &refused.body["limit"]), ("queue_full", &json!(20)));
        assert_eq!(
            refused.body.get("message_id"),
            None,
            "no answer in particular is in the way"
        );
    }
    let mut socket = Socket::of(&user, &first["conversation_id"], None).await;
    socket
        .send(&json!({ "type": "message", "content": "more", "client_message_id": "k", "on_busy": "queue" }))
        .await;
    let refused = socket.until("error").await.pop().unwrap();
    assert_eq!(
        (&refused["code"], &refused["limit"], &refused["client_message_id"]),
        (&json!("queue_full"), &json!(20), &json!("k"))
    );
    // Who rejects is told which answer is in the way, as before.
    let rejecting = json!({ "conversation_id": first["conversation_id"], "content": "more" });
    let refused = user.try_send_without_waiting(&rejecting).await;
    assert_eq!(refused.code(), "generation_in_progress");
    assert_eq!(refused.body["message_id"], first["assistant_message"]["id"]);
}

#[tokio::test]
async fn regenerating_can_interrupt_a_running_answer_or_be_refused() {
    let provider = ScriptedProvider::start(|number, _| match number {
        0 => answer(&["first"], Duration::ZERO),
        1 => vec![Step::Head, Step::Write(chunk("running")), Step::Hang],
        _ => answer(&["again"], Duration::ZERO),
    })
    .await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let first = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    let path = format!("/chat/messages/{}/regenerate", first["assistant_message"]["id"]);
    let mut running = user
        .events(
            user.request(Method::POST, &format!("/chat/stream/{}", first["conversation_id"]))
                .json(&json!({ "content": "More" })),
        )
        .await
        .unwrap();
    running.until("chunk").await;
    assert_eq!(user.post(&path, &json!({ "on_busy": "reject" })).await.status, 409);
    let refused = user.post(&path, &json!({ "on_busy": "whatever" })).await;
    assert_eq!(refused.status, 422);
    let regenerated = user.post(&path, &json!({ "on_busy": "interrupt" })).await;
    assert_eq!(
        regenerated.body["assistant_message"]["content"], "again",
        "{}",
        regenerated.body
    );
    let stopped = running.rest().await.pop().unwrap();
    assert_eq!(stopped.data["message"]["metadata"]["finish_reason"], "cancelled");
    cura.check_invariants().await;
}
