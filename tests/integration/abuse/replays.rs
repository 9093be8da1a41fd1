//! Old cursors: whoever comes back gets everything, but not everything at once, and what is handed out is taken back.

use cura_tests::{Attacker, Client, Cura, Event};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;

/// Conversations of a client that were renamed this often.
async fn rename_often(cura: &Cura, client: &Client, events: i64) {
    let title = "Renamed ".repeat(20);
    let made = client.post("/conversations", &json!({ "title": title })).await.body;
    let pool = cura.database.pool();
    sqlx::query(
        "INSERT INTO events (user_id, seq, kind, payload, created_at)
         SELECT user_id, seq + n, 'conversation', jsonb_build_object('conversation_id', $1::bigint), now()
         FROM event_counters, generate_series(1, $2) AS n",
    )
    .bind(made["id"].as_i64())
    .bind(events - 1)
    .execute(pool)
    .await
    .unwrap();
    sqlx::query("UPDATE event_counters SET seq = $1")
        .bind(events)
        .execute(pool)
        .await
        .unwrap();
}

/// Reads on from the beginning until this event; nothing may be missing, or come twice.
async fn read_to(client: &Client, last: i64) {
    let mut stream = client.watch(Some("0")).await;
    for expected in 1..=last {
        let event: Event = stream.next().await.expect("an event");
        assert_eq!((event.name.as_str(), event.id), ("conversation", expected.to_string()));
    }
}

#[tokio::test]
async fn many_connections_with_an_old_cursor_miss_nothing() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    rename_often(&cura, &ann, 220).await;
    join_all((0..30).map(|_| read_to(&ann, 220))).await;
}

#[tokio::test]
async fn connections_that_do_not_read_keep_no_other_from_reading() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    rename_often(&cura, &ann, 4000).await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let attacker = Attacker::new(&cura.servers[0].base, [127, 0, 0, 1]).with_token(ann.token.clone());
        let mut stream = attacker.connect().await.unwrap();
        let head = attacker.head("GET", "/events?after=0", "");
        stream.write_all(head.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    read_to(&ann, 1000).await;
    // Live events do not wait for replays either.
    let mut live = ann.watch(None).await;
    ann.post("/conversations", &json!({})).await;
    assert_eq!(live.next().await.unwrap().name, "conversation");
    drop(stalled);
}

#[tokio::test]
async fn a_cursor_that_was_handed_out_is_taken_back_however_much_is_under_way() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let sent = ann.send_without_waiting(&json!({ "content": "Hi" })).await.body;
    sqlx::query(
        "INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at)
         SELECT conversation_id, user_id, parent_id, role, content, status, created_at, updated_at
         FROM messages, generate_series(1, 2000) WHERE id = $1",
    )
    .bind(sent["assistant_message"]["id"].as_i64())
    .execute(cura.database.pool())
    .await
    .unwrap();
    let mut stream = ann.watch(None).await;
    assert!(stream.wait_for_cursor().await);
    let cursor = stream.cursor.clone().unwrap();
    drop(stream);
    let mut again = ann.watch(Some(&cursor)).await;
    let first = again.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), &first.data["reason"]),
        ("resync", &json!("unknown"))
    );
    ann.post("/conversations", &json!({ "title": "after" })).await;
    let next = again.until("conversation").await.pop().unwrap();
    assert_eq!(next.data["conversation"]["title"], "after");
    // Also what older servers handed out.
    let long: String = (1..1500).map(|id| format!("_{id}-0.0")).collect();
    let request = ann
        .request(Method::GET, "/events")
        .header("Last-Event-ID", format!("1{long}"));
    let mut old = ann
        .events(request)
        .await
        .unwrap_or_else(|reply| panic!("{}", reply.status));
    assert_eq!(old.next().await.unwrap().name, "resync");
}
