//! Files that belong to a message.

use cura_tests::{Cura, Form};
use serde_json::json;

use super::{assert_code, assert_nothing_is_kept, faults, objects, rows, samples};

#[tokio::test]
async fn a_file_belongs_to_a_message_of_its_person_and_to_no_other() {
    let cura = Cura::without_workers().await;
    let ann = cura.client().register("ann@example.com").await;
    let bob = cura.client().register("bob@example.com").await;
    let asked = ann.send_without_waiting(&json!({ "content": "Look" })).await.body;
    let (question, answer) = (&asked["user_message"]["id"], &asked["assistant_message"]["id"]);
    let deleted = ann.send_without_waiting(&json!({ "content": "Forget" })).await.body;
    let conversation = format!("/conversations/{}", deleted["conversation_id"]);
    ann.send(ann.request(reqwest::Method::DELETE, &conversation)).await;
    let form = |message: &dyn ToString| Form::of("a.png", samples::PNG).field("message_id", message.to_string());
    for (what, client, message) in [
        ("an answer", &ann, answer),
        ("somebody else's", &bob, question),
        ("nobody's", &ann, &json!(999_999_999)),
        ("negative", &ann, &json!(-1)),
        ("of a deleted conversation", &ann, &deleted["user_message"]["id"]),
    ] {
        assert_code(&client.upload(form(message)).await, 404, "message_not_found", what);
    }
    assert_nothing_is_kept(&cura, "of no message").await;
    let kept = ann.upload(form(question)).await;
    assert_eq!(
        (kept.status.as_u16(), &kept.body["message_id"]),
        (201, question),
        "{}",
        kept.body
    );
    assert_eq!(ann.get("/uploads").await.body["items"], json!([kept.body]));
    // It goes with its conversation.
    let conversation = format!("/conversations/{}", asked["conversation_id"]);
    ann.send(ann.request(reqwest::Method::DELETE, &conversation)).await;
    let path = format!("/uploads/{}", kept.body["id"]);
    assert_code(
        &ann.get(&path).await,
        404,
        "file_not_found",
        "deleted with its conversation",
    );
}

#[tokio::test]
async fn a_message_has_ten_files_at_most_in_their_order() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let asked = user.send_without_waiting(&json!({ "content": "Look" })).await.body;
    let message = &asked["user_message"]["id"];
    let form = |n: u32| Form::of("a.png", samples::png_number(n)).field("message_id", message);
    for n in 0..8 {
        assert_eq!(user.upload(form(n)).await.status, 201);
    }
    // Of four at once two find room.
    let four = futures_util::future::join_all((8..12).map(|n| user.upload(form(n)))).await;
    let refused: Vec<_> = four.iter().filter(|reply| reply.status != 201).collect();
    assert_eq!(refused.len(), 2);
    for reply in refused {
        assert_code(reply, 422, "validation_failed", "the eleventh");
        assert_eq!(faults(reply), [("/message_id".to_owned(), "too_many".to_owned())]);
    }
    let placed: Vec<i16> = sqlx::query_scalar("SELECT position FROM message_files ORDER BY position")
        .fetch_all(cura.database.pool())
        .await
        .unwrap();
    assert_eq!(placed, (0..10).collect::<Vec<i16>>());
    assert_eq!(rows(&cura).await, 10);
    // The objects of those that found no room at the end are listed.
    let listed = "SELECT count(*) FROM object_deletions";
    assert_eq!(objects(&cura).len() as i64, 10 + cura.database.count(listed).await);
}
