//! Conversations: made, listed page by page, read.

use cura_tests::{Client, Cura};
use serde_json::{Value, json};

async fn server() -> Cura {
    Cura::builder().workers(0).start().await
}

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
    let cura = server().await;
    let somebody = cura.somebody().await;
    let made = somebody.post("/conversations", &json!({ "title": " Sleep " })).await;
    assert_eq!(made.status, 201);
    let read = somebody.get(made.header("location").unwrap()).await;
    assert_eq!(read.body, made.body);
    assert_eq!(made.body["title"], "Sleep");
    assert_eq!(made.body["status"], "active");
    assert_eq!(made.body["message_count"], 0);
    assert_eq!(made.body["busy"], false);
    assert_eq!(made.body["last_message_at"], Value::Null);
    let untitled = somebody.post("/conversations", &json!({ "title": null })).await;
    assert_eq!(untitled.status, 201);
}

#[tokio::test]
async fn pages_cover_every_conversation_once_newest_first() {
    let cura = server().await;
    let somebody = cura.somebody().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(
            somebody.post("/conversations", &json!({})).await.body["id"]
                .as_i64()
                .unwrap(),
        );
    }
    made.reverse();
    assert_eq!(
        ids_page_by_page(&somebody, "/conversations?limit=3").await,
        (made.clone(), 3)
    );
    let page = somebody.get("/conversations").await;
    assert_eq!(page.header("x-total-count"), Some("7"));
    assert_eq!(
        ids_page_by_page(&somebody, "/conversations?status=archived").await.0,
        Vec::<i64>::new()
    );
    let other = cura.client().register("other@example.com").await;
    assert_eq!(ids_page_by_page(&other, "/conversations").await.0, Vec::<i64>::new());
}

#[tokio::test]
async fn messages_are_paged_in_both_orders_and_title_the_conversation() {
    let mut cura = server().await;
    cura.add_worker().await;
    let somebody = cura.somebody().await;
    let conversation = somebody.post("/conversations", &json!({})).await.body["id"]
        .as_i64()
        .unwrap();
    for n in 0..3 {
        let body = json!({ "content": format!("message {n}"), "conversation_id": conversation });
        assert_eq!(somebody.post("/chat/send", &body).await.status, 200);
    }
    let path = format!("/conversations/{conversation}/messages?limit=4");
    let (newest_first, pages) = ids_page_by_page(&somebody, &path).await;
    assert_eq!((newest_first.len(), pages), (6, 2));
    let (mut oldest_first, _) = ids_page_by_page(&somebody, &format!("{path}&order=asc")).await;
    oldest_first.reverse();
    assert_eq!(newest_first, oldest_first);
    let read = somebody.get(&format!("/conversations/{conversation}")).await.body;
    assert_eq!(
        (&read["message_count"], &read["title"]),
        (&json!(6), &json!("message 0"))
    );
}

#[tokio::test]
async fn limits_and_cursors_that_make_no_sense_are_refused() {
    let cura = server().await;
    let somebody = cura.somebody().await;
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
        let reply = somebody.get(&format!("/conversations?{query}")).await;
        assert_eq!(reply.status, status, "{query}: {}", reply.body);
    }
    let titles = [
        json!({ "title": "x".repeat(201) }),
        json!({ "title": 7 }),
        json!({ "title": "nul \u{0}" }),
    ];
    for body in titles {
        assert_eq!(somebody.post("/conversations", &body).await.status, 422, "{body}");
    }
}
