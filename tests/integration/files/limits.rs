//! How many at a time, how much in all, and for whose session.

use std::time::Duration;

use cura_tests::{Client, Cura, Form, Reply, eventually};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use reqwest::{Body, Method, RequestBuilder};
use serde_json::json;
use tokio::sync::watch;

use super::{assert_code, assert_nothing_is_kept, objects, rows, samples};

/// An upload that has begun, and goes on byte by byte until it is told to end.
fn held(user: &Client, form: Form, released: &watch::Receiver<bool>) -> RequestBuilder {
    let content_type = form.content_type();
    let (first, behind) = form.halves();
    let more = stream::unfold((Some(behind), released.clone()), |(behind, mut released)| async move {
        let behind = behind?;
        let released_now = released.wait_for(|released| *released);
        let is_over = tokio::time::timeout(Duration::from_millis(200), released_now)
            .await
            .is_ok();
        Some(match is_over {
            true => (behind, (None, released)),
            // What follows the end of a picture is taken.
            false => (b"x".to_vec(), (Some(behind), released)),
        })
    });
    let pieces = stream::once(async { first }).chain(more).map(Ok::<_, std::io::Error>);
    let request = user.request(Method::POST, "/uploads/file");
    request
        .header("content-type", content_type)
        .body(Body::wrap_stream(pieces))
}

/// Sends such an upload, again if the test's own [`until_full`] has taken its place.
pub(super) async fn hold(user: Client, form: Form, released: watch::Receiver<bool>) -> Reply {
    loop {
        let reply = user.send(held(&user, form.clone(), &released)).await;
        if reply.code() != "too_many_uploads" {
            return reply;
        }
    }
}

/// Waits until no place is left for another upload of this user.
pub(super) async fn until_full(user: &Client) {
    eventually("all places are taken", async || {
        let reply = user.upload(Form::of("a.txt", "words")).await;
        (reply.code() == "too_many_uploads").then_some(())
    })
    .await;
}

#[tokio::test]
async fn four_files_arrive_at_once_and_the_fifth_waits_its_turn() {
    let cura = Cura::without_workers().await;
    let user = cura.client().register("ann@example.com").await;
    let other = cura.client().register("bob@example.com").await;
    let (release, released) = watch::channel(false);
    let uploads = (0..4).map(|n| {
        hold(
            user.clone(),
            Form::of("a.png", samples::png_number(n)),
            released.clone(),
        )
    });
    let uploads = tokio::task::JoinSet::from_iter(uploads);
    until_full(&user).await;
    let fifth = user.upload(Form::of("a.png", samples::PNG)).await;
    assert_code(&fifth, 429, "too_many_uploads", "the fifth");
    assert_eq!(
        (fifth.header("retry-after"), &fifth.body["limit"]),
        (Some("10"), &json!(4))
    );
    assert_eq!(
        other.upload(Form::of("a.png", samples::PNG)).await.status,
        201,
        "somebody else"
    );
    release.send(true).unwrap();
    for reply in uploads.join_all().await {
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    assert_eq!(
        user.upload(Form::of("a.png", samples::PNG)).await.status,
        201,
        "the place is back"
    );
    assert_eq!((rows(&cura).await, objects(&cura).len()), (6, 6));
}

#[tokio::test]
async fn a_refused_upload_gives_its_place_back() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for _ in 0..3 {
        let uploads = (0..4).map(|_| user.upload(Form::of("a.txt", "words")));
        for reply in join_all(uploads).await {
            assert_code(&reply, 415, "unsupported_file_type", "a text");
        }
    }
}

#[tokio::test]
async fn a_person_keeps_so_much_and_deleting_makes_room() {
    let mut cura = Cura::builder().workers(0).with("USER_STORAGE_MB", "1").start().await;
    let user = cura.client().register("ann@example.com").await;
    let half = |n: u8| Form::of("half.png", [samples::png_of(500_000), vec![n]].concat());
    let first = user.upload(half(1)).await;
    assert_eq!(first.status, 201, "{}", first.body);
    // The room for one: two at once do not both take it.
    let two = join_all([user.upload(half(2)), user.upload(half(3))]).await;
    let (kept, refused): (Vec<_>, Vec<_>) = two.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((kept.len(), refused.len()), (1, 1));
    assert_code(&refused[0], 413, "storage_quota_exceeded", "no room");
    assert_eq!((rows(&cura).await, objects(&cura).len()), (2, 2));
    let other = cura.client().register("bob@example.com").await;
    assert_eq!(
        other.upload(half(4)).await.status,
        201,
        "everybody has room of their own"
    );
    let path = format!("/uploads/{}", first.body["id"]);
    assert_eq!(user.send(user.request(Method::DELETE, &path)).await.status, 204);
    let reply = user.upload(half(5)).await;
    assert_code(&reply, 413, "storage_quota_exceeded", "the disk still has it");
    cura.add_worker().await;
    eventually("the disk has room again", async || {
        (user.upload(half(5)).await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test]
async fn many_small_files_take_room_too_and_zero_is_no_limit() {
    let cura = Cura::builder().workers(0).with("USER_STORAGE_MB", "1").start().await;
    let user = cura.user().await;
    // 255 files of a block each.
    let fill =
        "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, created_at, updated_at)
                SELECT u.id, u.id || '/' || gen_random_uuid() || '.png', 'a', 'png', 1, 'x', 'clean', now(), now()
                FROM users u, generate_series(1, 255)";
    super::execute(&cura, fill).await;
    assert_eq!(user.upload(Form::of("a.png", samples::PNG)).await.status, 201);
    let reply = user.upload(Form::of("a.png", samples::PNG)).await;
    assert_code(&reply, 413, "storage_quota_exceeded", "the 257th");
    let unlimited = Cura::builder().workers(0).with("USER_STORAGE_MB", "0").start().await;
    let user = unlimited.user().await;
    super::execute(&unlimited, &fill.replace("'png', 1,", "'png', 1000000000000,")).await;
    assert_eq!(user.upload(Form::of("a.png", samples::PNG)).await.status, 201);
}

#[tokio::test]
async fn a_session_that_ends_meanwhile_keeps_nothing() {
    let cura = Cura::without_workers().await;
    for (n, how) in ["signed out", "new password", "suspended", "erased"]
        .into_iter()
        .enumerate()
    {
        let user = cura.client().register(&format!("user{n}@example.com")).await;
        let (release, released) = watch::channel(false);
        let uploads = (0..4).map(|n| {
            hold(
                user.clone(),
                Form::of("a.png", samples::png_number(n)),
                released.clone(),
            )
        });
        let uploads = tokio::task::JoinSet::from_iter(uploads);
        until_full(&user).await;
        let status = match how {
            "signed out" => user.post("/auth/logout-all", &json!({})).await.status,
            "new password" => {
                let body = json!({ "current_password": "a long password", "new_password": "another long password" });
                user.post("/auth/password", &body).await.status
            }
            "suspended" => {
                super::execute(
                    &cura,
                    "UPDATE users SET suspended_at = now() WHERE id = (SELECT max(id) FROM users)",
                )
                .await;
                reqwest::StatusCode::OK
            }
            _ => {
                let request = user.request(Method::DELETE, "/users/me");
                user.send(request.json(&json!({ "password": "a long password" })))
                    .await
                    .status
            }
        };
        assert!(status.is_success(), "{how}: {status}");
        release.send(true).unwrap();
        for reply in uploads.join_all().await {
            let (status, code) = if how == "suspended" {
                (403, "account_suspended")
            } else {
                (401, "not_authenticated")
            };
            assert_code(&reply, status, code, how);
        }
        assert_nothing_is_kept(&cura, how).await;
    }
}

#[tokio::test]
async fn a_key_finds_nothing_for_a_session_that_ends_meanwhile() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for n in 0..4 {
        let form = Form::of("a.png", samples::png_number(n));
        assert_eq!(user.upload_with_key(form, &format!("key{n}")).await.status, 201);
    }
    let (release, released) = watch::channel(false);
    let mut uploads = tokio::task::JoinSet::new();
    for n in 0..4 {
        let (user, released) = (user.clone(), released.clone());
        uploads.spawn(async move {
            loop {
                let upload = held(&user, Form::of("a.png", samples::png_number(n)), &released);
                let reply = user.send(upload.header("Idempotency-Key", format!("key{n}"))).await;
                if reply.code() != "too_many_uploads" {
                    return reply;
                }
            }
        });
    }
    until_full(&user).await;
    assert_eq!(user.post("/auth/logout-all", &json!({})).await.status, 204);
    release.send(true).unwrap();
    for reply in uploads.join_all().await {
        assert_code(&reply, 401, "not_authenticated", "a key that was used");
    }
}

#[tokio::test]
async fn ten_uploads_a_minute_are_allowed() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_UPLOAD", "10").start().await;
    let user = cura.user().await;
    for left in (0..10).rev() {
        let reply = user.upload(Form::of("a.txt", "words")).await;
        assert_eq!(
            reply.header("ratelimit-remaining"),
            Some(left.to_string().as_str()),
            "{}",
            reply.body
        );
    }
    let reply = user.upload(Form::of("a.txt", "words")).await;
    assert_code(&reply, 429, "rate_limited", "the eleventh");
    assert_eq!(user.get("/uploads").await.status, 200, "reading is not uploading");
}
