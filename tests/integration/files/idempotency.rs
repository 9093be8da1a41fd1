//! A key makes an upload happen once.

use cura_tests::{Cura, Form};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use super::{assert_code, clean_up, objects, rows, samples};

#[tokio::test]
async fn the_same_key_finds_the_first_file_and_another_request_with_it_is_refused() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let form = || Form::of("a.png", samples::PNG);
    let first = user.upload_with_key(form(), "one").await;
    assert_eq!(
        (first.status.as_u16(), first.header("idempotent-replayed")),
        (201, None)
    );
    let again = user.upload_with_key(form(), "one").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (201, Some("true"))
    );
    assert_eq!(
        (&again.body, again.header("location")),
        (&first.body, first.header("location"))
    );
    let message = user.try_send_without_waiting(&json!({ "content": "Hi" })).await.body["user_message"]["id"].clone();
    for (what, form) in [
        ("another file", Form::of("a.png", samples::png_number(1))),
        ("another name", Form::of("b.png", samples::PNG)),
        ("a message", form().field("message_id", message)),
        ("a file of no type", Form::of("a.png", "words")),
    ] {
        assert_code(
            &user.upload_with_key(form, "one").await,
            422,
            "idempotency_key_reused",
            what,
        );
    }
    assert_code(
        &user.upload_with_key(form(), "a b").await,
        400,
        "invalid_idempotency_key",
        "a key with a space",
    );
    let other = cura.client().register("bob@example.com").await;
    let theirs = other.upload_with_key(form(), "one").await;
    assert_eq!(
        (theirs.status.as_u16(), theirs.header("idempotent-replayed")),
        (201, None)
    );
    assert_eq!((rows(&cura).await, objects(&cura).len()), (2, 2));
    // Without a key the same file is another one.
    assert_eq!(user.upload(form()).await.status, 201);
    assert_eq!(rows(&cura).await, 3);
}

#[tokio::test]
async fn a_key_of_a_message_is_none_of_an_upload_and_the_other_way_round() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let send = async |key: &str| {
        let request = user.request(Method::POST, "/chat/send").header("Prefer", "wait=0");
        user.send(request.header("Idempotency-Key", key).json(&json!({ "content": "Hi" })))
            .await
    };
    assert_eq!(send("message").await.status, 202);
    let upload = user.upload_with_key(Form::of("a.png", samples::PNG), "message").await;
    assert_code(&upload, 422, "idempotency_key_reused", "a message's key");
    assert_eq!(
        user.upload_with_key(Form::of("a.png", samples::PNG), "file")
            .await
            .status,
        201
    );
    assert_code(&send("file").await, 422, "idempotency_key_reused", "an upload's key");
    // After a day a key can be used again.
    super::execute(
        &cura,
        "UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'",
    )
    .await;
    assert_eq!(send("file").await.status, 202);
    assert_eq!(
        user.upload_with_key(Form::of("a.png", samples::PNG), "message")
            .await
            .status,
        201
    );
    let replayed = user.upload_with_key(Form::of("a.png", samples::PNG), "message").await;
    assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn the_key_of_a_deleted_file_brings_nothing_back() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let first = user.upload_with_key(Form::of("a.png", samples::PNG), "one").await;
    let path = format!("/uploads/{}", first.body["id"]);
    assert_eq!(user.send(user.request(Method::DELETE, &path)).await.status, 204);
    let again = user.upload_with_key(Form::of("a.png", samples::PNG), "one").await;
    assert_code(&again, 404, "file_not_found", "deleted");
    assert_eq!(rows(&cura).await, 0);
}

#[tokio::test]
async fn twenty_at_once_make_one() {
    let cura = Cura::builder().servers(2).start().await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    // Of each server four at a time; who is refused comes again, as clients do.
    let uploads = (0..20).map(|n| {
        let user = if n % 2 == 0 { user.clone() } else { there.clone() };
        async move {
            loop {
                let reply = user
                    .upload_with_key(Form::of("a.png", samples::png_of(100_000)), "one")
                    .await;
                if !["too_many_uploads", "database_unavailable"].contains(&reply.code()) {
                    return reply;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    });
    let replies = join_all(uploads).await;
    let first = &replies[0].body["id"];
    for reply in &replies {
        assert_eq!(
            (reply.status.as_u16(), &reply.body["id"]),
            (201, first),
            "{}",
            reply.body
        );
    }
    let new = replies
        .iter()
        .filter(|reply| reply.header("idempotent-replayed").is_none());
    assert_eq!(new.count(), 1);
    assert_eq!(user.until_scanned(first).await["status"], "clean");
    clean_up(&cura, 1).await;
    // With the two pictures that are made of it.
    assert_eq!((rows(&cura).await, objects(&cura).len()), (1, 3));
    let events = "SELECT count(*) FROM events WHERE kind = 'upload'";
    assert_eq!(cura.database.count(events).await, 2, "kept, and scanned");
}
