//! Avatars: two squares are made of what is sent, and nothing else is kept; one is shown, to whoever has its address.

use cura_tests::supabase_server::{BUCKET, KEY};
use cura_tests::{Client, Cura, Form, Reply, SupabaseServer, eventually};
use reqwest::Method;
use serde_json::json;

use super::scans::png_that_says;
use super::{assert_code, clean_up, execute, left_over, objects, samples};
use crate::scan::pictures::{PLACE, photo};

async fn set(user: &Client, name: &str, bytes: impl AsRef<[u8]>) -> Reply {
    let form = Form::of(name, bytes);
    let request = user.request(Method::POST, "/users/me/avatar");
    user.send(request.header("content-type", form.content_type()).body(form.end()))
        .await
}

async fn shown(user: &Client) -> Option<String> {
    let profile = user.get("/users/me").await.body;
    profile["avatar_url"].as_str().map(str::to_owned)
}

/// How many pictures are named by rows.
async fn rows(cura: &Cura) -> i64 {
    cura.database.count("SELECT count(*) FROM avatar_pictures").await
}

async fn until_objects(cura: &Cura, count: usize) {
    eventually("what is not shown is deleted", async || {
        (objects(cura).len() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_photo_becomes_two_squares_that_say_nothing_of_it() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    assert_eq!(shown(&user).await, None);
    let reply = set(&user, "me.jpg", photo(1_200, 900)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let url = shown(&user).await.unwrap();
    assert_eq!(reply.body["avatar_url"], json!(url));
    let key = url.strip_prefix("/files/avatars/").unwrap();
    assert_eq!(key.len(), 22);
    let stranger = cura.client();
    for (path, side) in [
        (url.clone(), 512),
        (format!("{url}?size=512"), 512),
        (format!("{url}?size=128"), 128),
    ] {
        let given = stranger.get(&path).await;
        assert_eq!(given.status, 200, "{}", given.body);
        for (name, value) in [
            ("content-type", "image/jpeg"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(given.header(name), Some(value), "{path}: {name}");
        }
        let picture = image::load_from_memory(&given.bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (side, side));
        for trace in [PLACE, b"Exif"] {
            assert!(!given.bytes.windows(trace.len()).any(|part| part == trace));
        }
        let request = stranger.request(Method::GET, &path);
        let again = stranger
            .send(request.header("if-none-match", given.header("etag").unwrap()))
            .await;
        assert_eq!(again.status, 304);
    }
    assert_eq!(
        (objects(&cura).len(), rows(&cura).await),
        (2, 2),
        "nothing else is kept"
    );
    assert!(left_over(&cura).is_empty(), "{:?}", left_over(&cura));
    for (what, path) in [
        ("another size", format!("{url}?size=64")),
        ("another key", format!("/files/avatars/{}", "A".repeat(22))),
        ("no key", "/files/avatars/1".to_owned()),
        ("longer", format!("{url}A")),
    ] {
        let reply = stranger.get(&path).await;
        let expected = if what == "another size" { 422 } else { 404 };
        assert_eq!(reply.status, expected, "{what}: {}", reply.body);
    }
}

#[tokio::test]
async fn an_avatar_is_dead_once_it_is_replaced_or_deleted() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    for (name, bytes) in [("a.png", samples::PNG.to_vec()), ("b.jpg", samples::JPEG.to_vec())] {
        let before = shown(&user).await;
        assert_eq!(set(&user, name, bytes).await.status, 200);
        let now = shown(&user).await.unwrap();
        assert_ne!(before.as_ref(), Some(&now));
        assert_eq!(cura.client().get(&now).await.status, 200);
        if let Some(before) = before {
            assert_code(&cura.client().get(&before).await, 404, "file_not_found", "replaced");
        }
        until_objects(&cura, 2).await;
    }
    let last = shown(&user).await.unwrap();
    for _ in 0..2 {
        let deleted = user.send(user.request(Method::DELETE, "/users/me/avatar")).await;
        assert_eq!(deleted.status, 204, "{}", deleted.body);
        assert_eq!(shown(&user).await, None);
    }
    assert_code(&cura.client().get(&last).await, 404, "file_not_found", "deleted");
    until_objects(&cura, 0).await;
    assert_eq!(rows(&cura).await, 0);
}

#[tokio::test]
async fn of_two_at_once_one_is_shown_and_the_other_is_gone() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let (one, other) = tokio::join!(set(&user, "a.png", samples::PNG), set(&user, "b.jpg", samples::JPEG),);
    for reply in [&one, &other] {
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    let url = shown(&user).await.unwrap();
    assert!(
        [&one, &other]
            .iter()
            .any(|reply| reply.body["avatar_url"] == json!(url))
    );
    assert_eq!(cura.client().get(&url).await.status, 200);
    until_objects(&cura, 2).await;
    assert_eq!(rows(&cura).await, 2);
}

#[tokio::test]
async fn what_is_no_picture_changes_nothing() {
    let cura = Cura::builder().with("RATE_LIMIT_UPLOAD", "100").start().await;
    let user = cura.user().await;
    assert_eq!(set(&user, "a.png", samples::PNG).await.status, 200);
    let before = shown(&user).await;
    let mut damaged = samples::JPEG.to_vec();
    // The tables that everything after them needs.
    for byte in &mut damaged[20..120] {
        *byte = 0xff;
    }
    for (what, bytes, status, code) in [
        ("a document", samples::PDF.to_vec(), 415, "unsupported_file_type"),
        ("text", b"hello".to_vec(), 415, "unsupported_file_type"),
        ("cut", samples::PNG[..200].to_vec(), 422, "damaged_file"),
        ("damaged", damaged, 422, "damaged_file"),
        ("a bomb", png_that_says(30_000, 30_000), 413, "too_large"),
        ("too large", samples::png_of(11 * 1024 * 1024), 413, "too_large"),
    ] {
        let reply = set(&user, "me.jpg", bytes).await;
        assert_code(&reply, status, code, what);
        assert_eq!(shown(&user).await, before, "{what}");
    }
    let request = user.request(Method::POST, "/users/me/avatar");
    let form = Form::of("a.png", samples::PNG);
    let stranger = cura.client().request(Method::POST, "/users/me/avatar");
    let stranger = stranger.header("content-type", form.content_type()).body(form.end());
    assert_code(
        &cura.client().send(stranger).await,
        401,
        "not_authenticated",
        "signed out",
    );
    assert_code(
        &user.send(request.json(&json!({}))).await,
        415,
        "unsupported_media_type",
        "JSON",
    );
    assert_eq!((objects(&cura).len(), rows(&cura).await), (2, 2));
    assert!(left_over(&cura).is_empty(), "{:?}", left_over(&cura));
}

#[tokio::test]
async fn an_avatar_goes_with_its_person() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    assert_eq!(set(&user, "a.png", samples::PNG).await.status, 200);
    let url = shown(&user).await.unwrap();
    execute(&cura, "UPDATE users SET suspended_at = now()").await;
    assert_code(&cura.client().get(&url).await, 404, "file_not_found", "suspended");
    execute(&cura, "UPDATE users SET suspended_at = NULL").await;
    assert_eq!(cura.client().get(&url).await.status, 200);
    let request = user.request(Method::DELETE, "/users/me");
    let erased = user.send(request.json(&json!({ "password": "a long password" }))).await;
    assert_eq!(erased.status, 204, "{}", erased.body);
    assert_code(&cura.client().get(&url).await, 404, "file_not_found", "erased");
    until_objects(&cura, 0).await;
    eventually("the person is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_leaves_the_avatar_before() {
    let supabase = SupabaseServer::start().await;
    let mut cura = Cura::builder()
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", supabase.url())
        .with("SUPABASE_KEY", KEY)
        .with("SUPABASE_STORAGE_BUCKET", BUCKET)
        .workers(0)
        .start()
        .await;
    let user = cura.user().await;
    assert_eq!(set(&user, "a.png", samples::PNG).await.status, 200);
    let url = shown(&user).await.unwrap();
    assert_eq!(supabase.objects().len(), 2);
    assert_eq!(cura.client().get(&url).await.status, 200, "through us, from any store");
    let away = Cura::builder()
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", "http://127.0.0.1:1")
        .with("SUPABASE_KEY", KEY)
        .with("SUPABASE_STORAGE_BUCKET", BUCKET)
        .workers(0)
        .start()
        .await;
    let other = away.user().await;
    assert_code(
        &set(&other, "a.png", samples::PNG).await,
        503,
        "storage_unavailable",
        "away",
    );
    assert_eq!((shown(&other).await, rows(&away).await), (None, 0));
    // A server that died in between leaves rows, which a worker forgets, and whose objects it deletes.
    execute(
        &cura,
        "UPDATE avatar_pictures SET is_shown = false, created_at = created_at - interval '16 minutes'",
    )
    .await;
    cura.add_worker().await;
    clean_up(&cura, 1).await;
    eventually("what was never shown is deleted", async || {
        supabase.objects().is_empty().then_some(())
    })
    .await;
    assert_eq!(rows(&cura).await, 0);
}
