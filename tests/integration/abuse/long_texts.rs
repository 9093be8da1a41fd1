//! Long texts: what they cost in memory is bounded, however many of them somebody has.

use cura_tests::{Client, Cura};
use reqwest::Method;
use serde_json::{Value, json};

use crate::accounts::export::export;

/// Fills a new conversation with this many answers of this many bytes, and returns its id.
async fn conversation_of(cura: &Cura, ann: &Client, answers: i64, bytes: i32) -> i64 {
    let id = ann.get("/users/me").await.body["id"].as_i64().unwrap();
    let fill = "WITH c AS (
                    INSERT INTO conversations (user_id, last_message_at, created_at, updated_at, message_count)
                    VALUES ($1, now(), now(), now(), $2) RETURNING id
                ), m AS (
                    INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
                    SELECT c.id, $1, 'assistant', repeat('words ', $3 / 6) || n, 'sent', now(), now()
                    FROM c, generate_series(1, $2) n
                )
                SELECT id FROM c";
    sqlx::query_scalar(fill)
        .bind(id)
        .bind(i32::try_from(answers).unwrap())
        .bind(bytes)
        .fetch_one(cura.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_page_of_long_answers_ends_early_and_the_next_one_goes_on_there() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let conversation = conversation_of(&cura, &ann, 30, 500_000).await;
    for order in ["asc", "desc"] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("/conversations/{conversation}/messages?limit=100&order={order}&cursor={cursor}");
            let page = ann.get(&path).await;
            assert_eq!(page.status, 200, "{}", page.body);
            assert!(page.bytes.len() < 5 * 1024 * 1024, "{} bytes", page.bytes.len());
            let ids = page.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_i64().unwrap());
            let before = seen.len();
            seen.extend(ids);
            assert!(seen.len() > before, "a page has an item");
            assert_eq!(page.header("x-total-count"), Some("30"));
            pages += 1;
            let Some(next) = page.body["next_cursor"].as_str() else {
                break;
            };
            cursor = next.to_owned();
        }
        assert_eq!(pages, 4);
        let mut expected: Vec<i64> = seen.clone();
        expected.sort_unstable();
        expected.dedup();
        if order == "desc" {
            expected.reverse();
        }
        assert_eq!((seen.len(), &seen), (30, &expected), "each once, in order");
    }
}

#[tokio::test]
async fn a_page_of_short_messages_is_as_long_as_was_asked_for() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let conversation = conversation_of(&cura, &ann, 30, 60).await;
    let path = format!("/conversations/{conversation}/messages?limit=30");
    let page = ann.get(&path).await.body;
    assert_eq!(page["items"].as_array().unwrap().len(), 30);
    assert_eq!(page["next_cursor"], Value::Null);
}

#[tokio::test]
async fn exporting_long_answers_takes_little_memory() {
    let cura = Cura::start().await;
    let ann = cura.user().await;
    conversation_of(&cura, &ann, 300, 500_000).await;
    let archive = export(&ann).await;
    assert!(!archive.is_empty());
    let status = std::fs::read_to_string(format!("/proc/{}/status", cura.workers[0].pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // 150 MB of text; the worker itself has about 50.
    assert!(kib < 130 * 1024, "the worker had {kib} KiB");
}

#[tokio::test]
async fn preferences_are_measured_as_they_are_stored() {
    let cura = Cura::without_workers().await;
    let ann = cura.user().await;
    let change = async |preferences: String| {
        let request = ann
            .request(Method::PATCH, "/users/me")
            .header("content-type", "application/json");
        ann.send(request.body(format!("{{\"preferences\":{preferences}}}")))
            .await
    };
    let numbers = |count: usize| format!("{{\"a\":[{}]}}", vec!["1e308"; count].join(","));
    let refused = change(numbers(2000)).await;
    assert_eq!(refused.status, 422, "{}", refused.body);
    // Piece by piece, it is the same.
    for name in ["a", "b", "c"] {
        change(numbers(50).replace("\"a\"", &format!("\"{name}\""))).await;
    }
    let stored = "SELECT max(octet_length(preferences::text))::bigint FROM users";
    let bytes = cura.database.count(stored).await;
    assert!((10_000..18_000).contains(&bytes), "{bytes} bytes");
    assert_eq!(change(json!({"theme": "dark"}).to_string()).await.status, 200);
}
