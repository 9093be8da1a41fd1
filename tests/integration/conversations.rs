//! Conversations: created, listed page by page, changed, deleted.

use std::time::Duration;

use cura_tests::provider::Step;
use cura_tests::{Client, Cura, ScriptedProvider, eventually, interrupted_answer};
use reqwest::Method;
use serde_json::{Value, json};

async fn ids_page_by_page(client: &Client, first: &str) -> (Vec<i64>, usize) {
    let (mut ids, mut pages, mut path) = (Vec::new(), 0, first.to_owned());
    loop {
        let page = client.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.body);
        pages += 1;
        ids.extend(
            page.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_i64().unwrap()),
        );
        let next = page
            .header("link")
            .map(|link| link[1..link.find('>').unwrap()].to_owned());
        assert_eq!(page.body["has_more"], next.is_some());
        assert_eq!(page.body["next_cursor"].is_string(), next.is_some());
        match next {
            Some(next) => path = next,
            None => return (ids, pages),
        }
    }
}

#[tokio::test]
async fn a_conversation_is_made_and_read() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let made = user.post("/conversations", &json!({ "title": " Sleep " })).await;
    assert_eq!(made.status, 201);
    let read = user.get(made.header("location").unwrap()).await;
    assert_eq!(read.body, made.body);
    assert_eq!(made.body["title"], "Sleep");
    assert_eq!(made.body["status"], "active");
    assert_eq!(made.body["message_count"], 0);
    assert_eq!(made.body["busy"], false);
    assert_eq!(made.body["last_message_at"], Value::Null);
    let untitled = user.post("/conversations", &json!({ "title": null })).await;
    assert_eq!(untitled.status, 201);
}

#[tokio::test]
async fn pages_cover_every_conversation_once_newest_first() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(
            user.post("/conversations", &json!({})).await.body["id"]
                .as_i64()
                .unwrap(),
        );
    }
    made.reverse();
    assert_eq!(
        ids_page_by_page(&user, "/conversations?limit=3").await,
        (made.clone(), 3)
    );
    let page = user.get("/conversations").await;
    assert_eq!(page.header("x-total-count"), Some("7"));
    assert_eq!(
        ids_page_by_page(&user, "/conversations?status=archived").await.0,
        Vec::<i64>::new()
    );
    let other = cura.client().register("other@example.com").await;
    assert_eq!(ids_page_by_page(&other, "/conversations").await.0, Vec::<i64>::new());
}

#[tokio::test]
async fn messages_are_paged_in_both_orders_and_title_the_conversation() {
    let mut cura = Cura::without_workers().await;
    cura.add_worker().await;
    let user = cura.user().await;
    let conversation = user.post("/conversations", &json!({})).await.body["id"]
        .as_i64()
        .unwrap();
    for n in 0..3 {
        let body = json!({ "content": format!("message {n}"), "conversation_id": conversation });
        assert_eq!(user.post("/chat/send", &body).await.status, 200);
    }
    let path = format!("/conversations/{conversation}/messages?limit=4");
    let (newest_first, pages) = ids_page_by_page(&user, &path).await;
    assert_eq!((newest_first.len(), pages), (6, 2));
    let (mut oldest_first, _) = ids_page_by_page(&user, &format!("{path}&order=asc")).await;
    oldest_first.reverse();
    assert_eq!(newest_first, oldest_first);
    let read = user.get(&format!("/conversations/{conversation}")).await.body;
    assert_eq!(
        (&read["message_count"], &read["title"]),
        (&json!(6), &json!("message 0"))
    );
}

#[tokio::test]
async fn limits_and_cursors_that_make_no_sense_are_refused() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for (query, status) in [
        ("limit=0", 422),
        ("limit=101", 422),
        ("limit=ten", 422),
        ("limit=9223372036854775808", 422),
        ("status=deleted", 422),
        ("cursor=nonsense", 400),
        ("cursor=bTE", 400),
        ("cursor=%00", 400),
    ] {
        let reply = user.get(&format!("/conversations?{query}")).await;
        assert_eq!(reply.status, status, "{query}: {}", reply.body);
    }
    let titles = [
        json!({ "title": "x".repeat(256) }),
        json!({ "title": 7 }),
        json!({ "title": "nul \u{0}" }),
    ];
    for body in titles {
        assert_eq!(user.post("/conversations", &body).await.status, 422, "{body}");
    }
}

async fn patch(client: &Client, id: &Value, body: Value) -> cura_tests::Reply {
    let request = client.request(Method::PATCH, &format!("/conversations/{id}"));
    client.send(request.json(&body)).await
}

#[tokio::test]
async fn a_conversation_is_renamed_put_aside_and_taken_back() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let id = ann.post("/conversations", &json!({ "title": "Old" })).await.body["id"].clone();
    let renamed = patch(&ann, &id, json!({ "title": " New " })).await;
    assert_eq!((renamed.status.as_u16(), &renamed.body["title"]), (200, &json!("New")));
    assert_eq!(
        patch(&ann, &id, json!({})).await.body,
        renamed.body,
        "nothing to change"
    );
    let aside = patch(&ann, &id, json!({ "status": "archived" })).await.body;
    assert_eq!((&aside["status"], &aside["title"]), (&json!("archived"), &json!("New")));
    let listed = async |status: &str| {
        ids_page_by_page(&ann, &format!("/conversations?status={status}"))
            .await
            .0
            .len()
    };
    assert_eq!((listed("active").await, listed("archived").await), (0, 1));
    patch(&ann, &id, json!({ "status": "active" })).await;
    assert_eq!((listed("active").await, listed("archived").await), (1, 0));
    assert_eq!(renamed.body["muted"], false);
    let muted = patch(&ann, &id, json!({ "muted": true })).await.body;
    assert_eq!((&muted["muted"], &muted["title"]), (&json!(true), &json!("New")));
    assert_eq!(patch(&ann, &id, json!({ "title": "Newer" })).await.body["muted"], true);
    for bad in [
        json!({ "status": "deleted" }),
        json!({ "title": " " }),
        json!({ "title": "x".repeat(256) }),
        json!({ "title": 7 }),
        json!({ "muted": "yes" }),
        json!({ "user_id": 2 }),
    ] {
        assert_eq!(patch(&ann, &id, bad.clone()).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn a_chosen_title_stays_and_a_missing_one_is_an_excerpt_of_the_first_message() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let title_after = async |created: Value| {
        let id = ann.post("/conversations", &created).await.body["id"].clone();
        let said = json!({ "conversation_id": id, "content": "I cannot sleep" });
        ann.send_without_waiting(&said).await;
        ann.get(&format!("/conversations/{id}")).await.body["title"].clone()
    };
    assert_eq!(title_after(json!({})).await, "I cannot sleep");
    assert_eq!(title_after(json!({ "title": "Nights" })).await, "Nights");
}

#[tokio::test]
async fn a_deleted_conversation_is_gone_from_every_answer_and_then_from_the_database() {
    let provider = ScriptedProvider::answering(&["Hello"], Duration::ZERO).await;
    let mut cura = Cura::builder().workers(0).with_provider(&provider).start().await;
    let ann = cura.user().await;
    let request = ann
        .request(Method::POST, "/chat/send")
        .header("Prefer", "wait=0")
        .header("Idempotency-Key", "k");
    let sent = ann.send(request.json(&json!({ "content": "Hi" }))).await.body;
    let (conversation, answer) = (&sent["conversation_id"], &sent["assistant_message"]["id"]);
    // It is queued, watched and deleted without a worker.
    let mut stream = ann.resume(answer.as_i64().unwrap(), None).await;
    let path = format!("/conversations/{conversation}");
    let delete = async || ann.send(ann.request(Method::DELETE, &path)).await;
    assert_eq!(delete().await.status, 204);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["code"]),
        ("error", &json!("message_not_found"))
    );
    for gone in [
        path.clone(),
        format!("{path}/messages"),
        format!("/chat/messages/{answer}"),
        format!("/chat/messages/{answer}/stream"),
    ] {
        assert_eq!(ann.get(&gone).await.status, 404, "{gone}");
    }
    assert_eq!(delete().await.status, 404);
    assert_eq!(patch(&ann, conversation, json!({ "title": "x" })).await.status, 404);
    assert_eq!(ann.get("/conversations").await.body["items"], json!([]));
    let again = json!({ "conversation_id": conversation, "content": "Hi" });
    assert_eq!(ann.post("/chat/send", &again).await.status, 404);
    cura.add_worker().await;
    eventually("it is purged", async || {
        let left: i64 =
            sqlx::query_scalar("SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM conversations)")
                .fetch_one(cura.database.pool())
                .await
                .unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(provider.requests().len(), 0, "a deleted question is not answered");
}

#[tokio::test]
async fn deleting_stops_the_answer_that_is_being_written() {
    let mut answer = interrupted_answer().stalling_after(&["I am going to"]).start().await;
    let path = format!("/conversations/{}", answer.conversation_id());
    let delete = answer.user.request(Method::DELETE, &path);
    assert_eq!(answer.user.send(delete).await.status, 204);
    answer.read_rest().await;
    assert_eq!(answer.last().name, "error");
    answer.provider.wait_for_disconnect().await;
}

#[tokio::test]
async fn deleting_does_not_wait_for_a_provider_that_has_said_nothing_yet() {
    let provider = ScriptedProvider::start(|_, _| vec![Step::Hang]).await;
    let cura = Cura::with_provider(&provider).await;
    let ann = cura.user().await;
    let seen = ann.stream("Hi").await.until("start").await;
    provider.wait_for_requests(1).await;
    let path = format!("/conversations/{}", seen[0].data["conversation_id"]);
    assert_eq!(ann.send(ann.request(Method::DELETE, &path)).await.status, 204);
    // Sooner than the minute its first byte may take.
    provider.wait_for_disconnect().await;
}

#[tokio::test]
async fn a_conversation_of_ten_thousand_messages_is_purged() {
    let mut cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let id = ann.post("/conversations", &json!({})).await.body["id"]
        .as_i64()
        .unwrap();
    // Each follows the one before: removed from the wrong end, one statement would have to follow them all.
    let fill =
        "INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at)
                SELECT $1, 1, NULLIF(n - 1, 0), 'user', 'x', 'sent', now(), now() FROM generate_series(1, 10000) n";
    sqlx::query(fill).bind(id).execute(cura.database.pool()).await.unwrap();
    ann.send(ann.request(Method::DELETE, &format!("/conversations/{id}")))
        .await;
    cura.add_worker().await;
    eventually("it is purged", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM messages")
            .fetch_one(cura.database.pool())
            .await
            .unwrap();
        (left == 0).then_some(())
    })
    .await;
}
