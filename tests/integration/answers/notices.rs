//! Crisis notices: help is shown beside the answer at once, and the answer comes as usual.

use std::time::Duration;

use cura_care::CareRules;
use cura_tests::{Cura, Program, ScriptedProvider};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_notice_comes_before_the_answer_in_the_users_language_and_country() {
    let provider = ScriptedProvider::answering(&["I am here."], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let profile = json!({ "language": "de", "timezone": "Europe/Vienna" });
    let request = user.request(Method::PATCH, "/users/me").json(&profile);
    assert_eq!(user.send(request).await.status, 200);
    let mut seen = user.stream("I don’t want to live anymore").await.rest().await;
    // On a busy machine it may have to wait for its worker.
    seen.retain(|event| event.name != "queued");
    let names: Vec<&str> = seen.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["ack", "notice", "start", "chunk", "complete"]);
    let notice = &seen[1].data;
    assert_eq!(notice["kind"], "suicide_or_self_harm");
    assert_eq!(notice["message_id"], seen[0].data["message_id"]);
    let contacts: Vec<&str> = notice["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["contact"].as_str().unwrap())
        .collect();
    assert!(contacts.iter().any(|contact| contact.contains("142")), "{contacts:?}");
    assert_eq!(seen[4].data["message"]["content"], "I am here.", "it replaces nothing");
    let kept = &seen[4].data["message"]["metadata"]["notice"];
    assert_eq!((&kept["title"], &kept["text"]), (&notice["title"], &notice["text"]));
    let whole = user
        .resume(seen[0].data["message_id"].as_i64().unwrap(), None)
        .await
        .rest()
        .await;
    assert_eq!(whole[0].name, "notice", "other devices see it too");
    let rest = user
        .resume(seen[0].data["message_id"].as_i64().unwrap(), Some(&seen[3].id))
        .await
        .rest()
        .await;
    assert!(rest.iter().all(|event| event.name != "notice"), "and once only");
    for process in cura.logs().lines() {
        assert!(!process.contains("live anymore"), "words reached a log: {process}");
    }
}

#[tokio::test]
async fn a_notice_comes_without_workers_and_not_when_there_is_no_danger() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut stream = user.stream("I want to kill myself").await;
    assert_eq!(stream.next().await.unwrap().name, "ack");
    assert_eq!(stream.next().await.unwrap().name, "notice");
    let sent = user.send_without_waiting(&json!({ "content": "I slept badly" })).await;
    assert_eq!(sent.body["assistant_message"]["metadata"]["notice"], Value::Null);
}

#[tokio::test]
async fn an_operator_replaces_the_rules_and_a_wrong_file_stops_the_start() {
    let ours: Value = serde_json::from_str(include_str!("../../../src/care/data/care.json")).unwrap();
    let text = ours.to_string();
    let changed = text.replace("kill myself", "sink my boat");
    assert_ne!(text, changed);
    let good = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(good.path(), changed).unwrap();
    let cura = Cura::builder()
        .workers(0)
        .with("CARE_RULES_FILE", good.path().to_str().unwrap())
        .start()
        .await;
    let user = cura.user().await;
    let sent = user
        .send_without_waiting(&json!({ "content": "I will sink my boat" }))
        .await;
    assert!(
        sent.body["assistant_message"]["metadata"]["notice"].is_object(),
        "{}",
        sent.body
    );
    let bad = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bad.path(), "{ \"reviewed\": true }").unwrap();
    let variables = [("CARE_RULES_FILE", bad.path().to_str().unwrap().to_owned())];
    let mut program = Program::start("cura-server", &["--wait", "20"], &cura.variables_with(&variables));
    assert_eq!(program.ended().await, Some(1));
    assert!(
        program.logs().contains("CARE_RULES_FILE cannot be used"),
        "{}",
        program.logs()
    );
}

#[tokio::test]
async fn a_notice_reaches_a_client_that_was_away_and_never_comes_twice() {
    let provider = ScriptedProvider::answering(&["I am here."], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut watching = user.watch(None).await;
    let said = json!({ "content": "I want to kill myself" });
    user.post("/chat/send", &said).await;
    let seen = watching.until("complete").await;
    let at = seen.iter().position(|event| event.name == "notice").unwrap();
    assert_eq!(seen[..at].iter().filter(|event| event.name == "message").count(), 2);
    let cursors = seen[..seen.len() - 1].iter().map(|event| event.id.as_str());
    let cursors = std::iter::once("0").chain(cursors);
    for (after, cursor) in cursors.enumerate().filter(|(_, cursor)| !cursor.is_empty()) {
        let rest = user.watch(Some(cursor)).await.until("complete").await;
        let notices = rest.iter().filter(|event| event.name == "notice").count();
        assert_eq!(notices, usize::from(after <= at), "after {after} events, from {cursor}");
    }
}

#[tokio::test]
async fn resuming_before_the_answer_has_started_does_not_repeat_the_notice() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut stream = user.stream("I want to kill myself").await;
    let ack = stream.next().await.unwrap();
    let notice = stream.next().await.unwrap();
    assert_ne!(ack.id, notice.id, "it moves the cursor");
    let answer = ack.data["message_id"].as_i64().unwrap();
    let again = user.resume(answer, Some(&ack.id)).await.next().await.unwrap();
    assert_eq!(again.name, "notice", "it was not seen before");
    let mut watching = user.watch(None).await;
    let noticed = watching.until("notice").await.pop().unwrap();
    let (mut stream, mut watching) = (
        user.resume(answer, Some(&notice.id)).await,
        user.watch(Some(&noticed.id)).await,
    );
    user.cancel(&ack.data["message_id"]).await;
    assert_eq!(stream.next().await.unwrap().name, "complete");
    let rest = watching.until("complete").await;
    assert!(rest.iter().all(|event| event.name != "notice"));
}

#[tokio::test]
async fn a_stored_notice_that_cannot_be_read_is_replaced_by_the_general_one() {
    let provider = ScriptedProvider::answering(&["I am here."], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let sent = user
        .post("/chat/send", &json!({ "content": "I want to kill myself" }))
        .await;
    let answer = sent.body["assistant_message"]["id"].as_i64().unwrap();
    let damage = sqlx::query("UPDATE messages SET notice = '{\"kind\": 1}' WHERE id = $1").bind(answer);
    damage.execute(cura.database.pool()).await.unwrap();

    let expected = json!(CareRules::built_in().unwrap().general_notice());
    let message = user.get(&format!("/chat/messages/{answer}")).await;
    let shown = &message.body["metadata"]["notice"];
    let streamed = user.resume(answer, None).await.rest().await;
    let conversation = message.body["conversation_id"].as_i64().unwrap();
    let listed = user.get(&format!("/conversations/{conversation}/messages")).await;
    let watched = user.watch(Some("0")).await.until("complete").await;
    let event = watched.iter().find(|event| event.name == "notice").unwrap();
    for notice in [
        shown,
        &streamed[0].data,
        &listed.body["items"][0]["metadata"]["notice"],
        &event.data,
    ] {
        for field in ["kind", "title", "text"] {
            assert_eq!(notice[field], expected[field], "{notice}");
        }
        let contacts = |notice: &Value| -> Vec<Value> {
            let resources = notice["resources"].as_array().unwrap();
            resources.iter().map(|resource| resource["contact"].clone()).collect()
        };
        assert_eq!(contacts(notice), contacts(&expected));
    }
    assert_eq!(streamed[0].name, "notice");
    let logs = cura.logs();
    let mut logs = logs
        .lines()
        .filter(|line| line.contains("stored crisis notice cannot be read"));
    assert!(
        logs.next()
            .is_some_and(|line| line.contains("ERROR") || line.contains("error"))
    );
}
