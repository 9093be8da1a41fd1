//! Files that a message is sent with.

use std::time::Duration;

use cura_tests::{Client, Cura, Form, Reply, ScriptedProvider, Socket};
use reqwest::Method;
use serde_json::{Value, json};

use super::given::text;
use super::{assert_code, execute, faults, samples};

async fn answering() -> (Cura, ScriptedProvider) {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    (Cura::with_provider(&provider).await, provider)
}

async fn clean_file(user: &Client, name: &str, n: u32) -> Value {
    let kept = user.upload(Form::of(name, samples::png_number(n))).await;
    let file = user.until_scanned(&kept.body["id"]).await;
    assert_eq!(file["status"], "clean", "{file}");
    file["id"].clone()
}

async fn edit(user: &Client, message: &Value, body: &Value) -> Reply {
    user.post(&format!("/chat/messages/{message}/edit"), body).await
}

/// The ids of the files of a message.
fn files(message: &Value) -> Vec<Value> {
    let files = message["attachments"].as_array().unwrap();
    files.iter().map(|file| file["id"].clone()).collect()
}

async fn messages(cura: &Cura) -> i64 {
    cura.database.count("SELECT count(*) FROM messages").await
}

#[tokio::test]
async fn a_message_has_its_files_wherever_it_is_shown() {
    let (cura, _provider) = answering().await;
    let user = cura.user().await;
    let ids = [clean_file(&user, "b.png", 1).await, clean_file(&user, "a.png", 2).await];
    let mut events = user.watch(None).await;
    // One that is named twice counts once; the order is the request's.
    let sent = user
        .post(
            "/chat/send",
            &json!({ "content": "Look", "attachments": [ids[1], ids[0], ids[1]] }),
        )
        .await;
    assert_eq!(sent.status, 200, "{}", sent.body);
    let wanted = vec![ids[1].clone(), ids[0].clone()];
    let question = &sent.body["user_message"];
    assert_eq!(files(question), wanted);
    let shown = &question["attachments"][0];
    assert_eq!(
        (&shown["filename"], &shown["status"], &shown["message_id"]),
        (&json!("a.png"), &json!("clean"), &question["id"])
    );
    assert!(
        shown["url"].is_string() && shown["thumbnail_url"].is_string(),
        "{shown}"
    );
    assert_eq!(sent.body["assistant_message"]["attachments"], json!([]));
    let told = events.until("complete").await;
    let told = told
        .iter()
        .find(|event| event.data["message_id"] == question["id"])
        .unwrap();
    assert_eq!(files(&told.data["message"]), wanted);
    let read = user.get(&format!("/chat/messages/{}", question["id"])).await.body;
    assert_eq!(files(&read), wanted);
    let list = format!("/conversations/{}/messages?order=asc", sent.body["conversation_id"]);
    let listed = user.get(&list).await.body;
    assert_eq!(files(&listed["items"][0]), wanted);
    assert_eq!(listed["items"][1]["attachments"], json!([]));
    // A regenerated answer is to the same question; an edit keeps the files, replaces them, or leaves them out.
    let answer = &sent.body["assistant_message"]["id"];
    let again = user
        .post(&format!("/chat/messages/{answer}/regenerate"), &json!({}))
        .await;
    assert_eq!(files(&again.body["user_message"]), wanted, "{}", again.body);
    for (body, wanted) in [
        (json!({ "content": "Look here" }), wanted.clone()),
        (json!({ "content": "", "attachments": null }), wanted),
        (json!({ "content": "", "attachments": [ids[0]] }), vec![ids[0].clone()]),
        (json!({ "content": "Nothing", "attachments": [] }), vec![]),
    ] {
        let edited = edit(&user, &question["id"], &body).await;
        assert_eq!(edited.status, 200, "{body}: {}", edited.body);
        assert_eq!(files(&edited.body["user_message"]), wanted, "{body}");
        let read = user
            .get(&format!("/chat/messages/{}", edited.body["user_message"]["id"]))
            .await;
        assert_eq!(files(&read.body), wanted, "{body}");
    }
    // A file that is deleted is gone from all of them.
    user.send(user.request(Method::DELETE, &format!("/uploads/{}", ids[0])))
        .await;
    let read = user.get(&format!("/chat/messages/{}", question["id"])).await.body;
    assert_eq!(files(&read), [ids[1].clone()]);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_message_of_files_alone_is_answered_and_named_after_the_first() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let file = clean_file(&user, "my garden.png", 1).await;
    let sent = user
        .post("/chat/send", &json!({ "content": " ", "attachments": [file] }))
        .await;
    assert_eq!(
        (sent.status.as_u16(), &sent.body["user_message"]["content"]),
        (200, &json!(" "))
    );
    let conversation = user
        .get(&format!("/conversations/{}", sent.body["conversation_id"]))
        .await;
    assert_eq!(conversation.body["title"], "my garden.png");
    let asked = &provider.requests()[0].body["messages"];
    let last = text(asked.as_array().unwrap().last().unwrap());
    assert!(last.contains("has attached the picture \"my garden.png\""), "{last}");
    // Not without files, in any way.
    for body in [
        json!({ "content": " " }),
        json!({ "content": "\u{200b}", "attachments": [] }),
        json!({ "content": " ", "attachments": null }),
    ] {
        let refused = user.post("/chat/send", &body).await;
        assert_code(&refused, 422, "validation_failed", &body.to_string());
        assert_eq!(
            faults(&refused),
            [("/content".to_owned(), "invalid_content".to_owned())]
        );
    }
    let plain = user.post("/chat/send", &json!({ "content": "Hi" })).await.body;
    for (message, body) in [
        (
            &sent.body["user_message"]["id"],
            json!({ "content": " ", "attachments": [] }),
        ),
        (&plain["user_message"]["id"], json!({ "content": " " })),
    ] {
        let refused = edit(&user, message, &body).await;
        assert_code(&refused, 422, "validation_failed", &body.to_string());
        assert_eq!(
            faults(&refused),
            [("/content".to_owned(), "invalid_content".to_owned())]
        );
    }
}

#[tokio::test]
async fn files_of_others_and_bad_ones_are_refused_and_nothing_is_stored() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let bob = cura.client().register("bob@example.com").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let owner = if n == 0 { &bob } else { &ann };
        ids.push(owner.upload(Form::of("a.png", samples::png_number(n))).await.body["id"].clone());
    }
    let [of_bob, infected, failed] = [&ids[0], &ids[1], &ids[2]];
    for (id, status, reason) in [(infected, "infected", "malware"), (failed, "failed", "unreadable")] {
        execute(
            &cura,
            &format!("UPDATE files SET status = '{status}', reason_code = '{reason}' WHERE id = {id}"),
        )
        .await;
    }
    let first = ann.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    ann.cancel(&first["assistant_message"]["id"]).await;
    let stored = messages(&cura).await;
    let mut socket = Socket::of(&ann, &first["conversation_id"], None).await;
    let in_conversation = format!("/chat/stream/{}", first["conversation_id"]);
    let edit_path = format!("/chat/messages/{}/edit", first["user_message"]["id"]);
    for (what, named, status, code, file) in [
        ("of_another", json!([of_bob]), 404, "file_not_found", None),
        ("of_nobody", json!([999_999_999]), 404, "file_not_found", None),
        ("negative", json!([-1]), 404, "file_not_found", None),
        ("infected", json!([infected]), 409, "file_infected", Some(infected)),
        ("failed", json!([failed, infected]), 409, "file_failed", Some(failed)),
    ] {
        let body = json!({ "content": "Look", "attachments": named, "on_busy": "interrupt" });
        for path in ["/chat/send", "/chat/stream", &in_conversation, &edit_path] {
            let refused = ann.post(path, &body).await;
            assert_code(&refused, status, code, &format!("{what}: {path}"));
            assert_eq!(refused.body.get("file_id"), file, "{what}: {path}");
        }
        let frame = json!({ "type": "message", "content": "Look", "attachments": named, "client_message_id": what });
        socket.send(&frame).await;
        let refused = socket.until("error").await.pop().unwrap();
        assert_eq!(
            (&refused["code"], &refused["client_message_id"], refused.get("file_id")),
            (&json!(code), &json!(what), file)
        );
    }
    let eleven: Vec<i64> = (1..12).collect();
    let refused = ann
        .post("/chat/send", &json!({ "content": "Look", "attachments": eleven }))
        .await;
    assert_eq!(faults(&refused), [("/attachments".to_owned(), "too_many".to_owned())]);
    assert_eq!(messages(&cura).await, stored);
    assert_eq!(cura.database.count("SELECT count(*) FROM message_files").await, 0);
}

#[tokio::test]
async fn files_belong_to_what_a_key_stands_for() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let ids = [clean_file(&user, "a.png", 1).await, clean_file(&user, "b.png", 2).await];
    let send = async |files: Value| {
        let request = user
            .request(Method::POST, "/chat/send")
            .header("Idempotency-Key", "once");
        user.send(request.json(&json!({ "content": "Look", "attachments": files })))
            .await
    };
    let first = send(json!([ids[0]])).await;
    assert_eq!(first.status, 200, "{}", first.body);
    for other in [json!([ids[1]]), json!([ids[0], ids[1]]), json!([])] {
        assert_code(
            &send(other.clone()).await,
            422,
            "idempotency_key_reused",
            &other.to_string(),
        );
    }
    let again = send(json!([ids[0]])).await;
    assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
    for field in ["id", "content", "created_at"] {
        assert_eq!(again.body["user_message"][field], first.body["user_message"][field]);
    }
    assert_eq!(files(&again.body["user_message"]), [ids[0].clone()]);
    // What was stored stays, also where the file does not.
    user.send(user.request(Method::DELETE, &format!("/uploads/{}", ids[0])))
        .await;
    let again = send(json!([ids[0]])).await;
    assert_eq!(
        (again.status.as_u16(), files(&again.body["user_message"])),
        (200, vec![]),
        "{}",
        again.body
    );
    assert_eq!(provider.requests().len(), 1);
}

#[tokio::test]
async fn a_socket_takes_files_and_tells_what_becomes_of_uploads() {
    let (cura, provider) = answering().await;
    let user = cura.user().await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    let mut socket = Socket::of(&user, &conversation, None).await;
    let file = clean_file(&user, "a.png", 1).await;
    let told = socket.until("upload").await.pop().unwrap();
    assert_eq!(told["upload_id"], file);
    let frame = json!({ "type": "message", "content": "", "attachments": [file], "client_message_id": "1" });
    socket.send(&frame).await;
    let told = socket.until("complete").await;
    let question = told.iter().find(|event| event["message"]["role"] == "user").unwrap();
    assert_eq!(files(&question["message"]), [file]);
    assert_eq!(provider.requests().len(), 1);
}

/// What the model was asked last, of the last request.
pub(super) fn asked(provider: &ScriptedProvider) -> String {
    let requests = provider.requests();
    let messages = requests.last().unwrap().body["messages"].as_array().unwrap();
    text(messages.last().unwrap())
}

#[tokio::test]
async fn a_question_of_a_file_that_is_deleted_is_still_a_question() {
    let provider = ScriptedProvider::answering(&["I see."], Duration::ZERO).await;
    let mut cura = Cura::builder().with_provider(&provider).workers(0).start().await;
    let user = cura.user().await;
    for content in ["", " "] {
        let file = user.upload(Form::of("a.png", samples::PNG)).await.body["id"].clone();
        let sent = user
            .send_without_waiting(&json!({ "content": content, "attachments": [file] }))
            .await
            .body;
        user.send(user.request(Method::DELETE, &format!("/uploads/{file}")))
            .await;
        if cura.workers.is_empty() {
            cura.add_worker().await;
        }
        let answer = &sent["assistant_message"]["id"];
        user.until_final(answer).await;
        let gone = "[The person had attached files, which were deleted.]";
        assert_eq!(asked(&provider), gone, "{content:?}");
        let again = user
            .post(&format!("/chat/messages/{answer}/regenerate"), &json!({}))
            .await;
        assert_eq!(again.body["assistant_message"]["status"], "sent", "{}", again.body);
        assert_eq!(asked(&provider), gone, "{content:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_comes_before_what_is_in_the_way() {
    let cura = Cura::builder()
        .workers(0)
        .with("USER_DAILY_TOKENS", "1000000")
        .start()
        .await;
    let user = cura.user().await;
    let file = user.upload(Form::of("a.png", samples::PNG)).await.body["id"].clone();
    let busy = user
        .send_without_waiting(&json!({ "content": "Hi", "attachments": [file] }))
        .await
        .body;
    let send = async |files: Value, on_busy: &str| {
        let conversation = &busy["conversation_id"];
        let body =
            json!({ "conversation_id": conversation, "content": "Look", "attachments": files, "on_busy": on_busy });
        user.try_send_without_waiting(&body).await
    };
    for on_busy in ["reject", "interrupt", "queue"] {
        assert_code(&send(json!([999]), on_busy).await, 404, "file_not_found", on_busy);
    }
    assert_code(
        &send(json!([file]), "reject").await,
        409,
        "generation_in_progress",
        "busy",
    );
    let interrupting = send(json!([file]), "interrupt").await;
    assert_eq!(
        (interrupting.status.as_u16(), files(&interrupting.body["user_message"])),
        (202, vec![file])
    );
    let stopped = user
        .get(&format!("/chat/messages/{}", busy["assistant_message"]["id"]))
        .await
        .body;
    assert_eq!(stopped["metadata"]["finish_reason"], "cancelled");
}

#[tokio::test]
async fn a_file_that_goes_while_it_is_sent_is_there_or_not_and_nothing_hangs() {
    let many = "1000000";
    let cura = Cura::builder()
        .with("RATE_LIMIT_CHAT", many)
        .with("RATE_LIMIT_UPLOAD", many)
        .workers(0);
    let cura = cura.with("RATE_LIMIT_DEFAULT", many).start().await;
    let user = cura.user().await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"].clone();
    for n in 0..20 {
        let file = user.upload(Form::of("a.png", samples::png_number(n))).await.body["id"].clone();
        let body = json!({ "content": "Look", "attachments": [file], "on_busy": "interrupt", "conversation_id": conversation });
        let delete = user.send(user.request(Method::DELETE, &format!("/uploads/{file}")));
        let (sent, deleted) = tokio::join!(user.try_send_without_waiting(&body), delete);
        assert_eq!(deleted.status, 204);
        assert!(matches!(sent.status.as_u16(), 202 | 404), "{}", sent.body);
    }
    assert_eq!(cura.database.count("SELECT count(*) FROM message_files").await, 0);
}
