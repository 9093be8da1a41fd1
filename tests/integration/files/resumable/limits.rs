//! How many, how much, how long.

use cura_queue::{PruneExpired, PruneKind};
use cura_tests::{Cura, Form, eventually};
use serde_json::json;

use super::{assert_code, assert_is_file, begin, delete, head, left, picture, samples, send_part, try_begin};
use crate::files::{execute, run_job};

const EXPIRE: &str = "UPDATE resumable_uploads SET expires_at = now() - interval '1 second'";

#[tokio::test]
async fn twenty_may_be_unfinished() {
    let cura = Cura::without_workers().await;
    let user = cura.client().register("ann@example.com").await;
    let other = cura.client().register("bob@example.com").await;
    let mut paths = Vec::new();
    for _ in 0..20 {
        paths.push(begin(&user, samples::PNG.len()).await);
    }
    let refused = try_begin(&user, 1000).await;
    assert_code(&refused, 429, "too_many_uploads", "the twenty-first");
    assert_eq!(refused.body["limit"], json!(20));
    let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((86_000..=86_400).contains(&retry_after), "{retry_after}");
    assert_eq!(try_begin(&other, 1000).await.status, 201, "somebody else");
    assert_eq!(send_part(&user, &paths[0], 0, samples::PNG).await.status, 204);
    assert_eq!(try_begin(&user, 1000).await.status, 201, "one is finished");
    assert_eq!(delete(&user, &paths[1]).await.status, 204);
    assert_eq!(try_begin(&user, 1000).await.status, 201, "one is given up");
    assert_code(&try_begin(&user, 1000).await, 429, "too_many_uploads", "again");
    execute(&cura, EXPIRE).await;
    assert_eq!(try_begin(&user, 1000).await.status, 201, "all are over");
}

#[tokio::test]
async fn the_room_is_taken_before_the_bytes_come() {
    let cura = Cura::builder().workers(0).with("USER_STORAGE_MB", "1").start().await;
    let user = cura.user().await;
    let content = picture(600_000);
    let two = tokio::join!(try_begin(&user, content.len()), try_begin(&user, content.len()));
    let (kept, refused) = if two.0.status == 201 { two } else { (two.1, two.0) };
    assert_eq!(kept.status, 201, "{}", kept.body);
    assert_code(&refused, 413, "storage_quota_exceeded", "two at once");
    let whole = user.upload(Form::of("a.png", samples::png_of(600_000))).await;
    assert_code(&whole, 413, "storage_quota_exceeded", "in one request");
    let path = kept.header("location").unwrap();
    assert_eq!(send_part(&user, path, 0, content.clone()).await.status, 204);
    assert_is_file(&cura, &user, path, &content).await;
    assert_code(
        &try_begin(&user, 600_000).await,
        413,
        "storage_quota_exceeded",
        "the file",
    );
    let other = begin(&user, 400_000).await;
    assert_code(
        &try_begin(&user, 100_000).await,
        413,
        "storage_quota_exceeded",
        "the rest",
    );
    assert_eq!(delete(&user, &other).await.status, 204);
    assert_eq!(try_begin(&user, 400_000).await.status, 201, "given up");
}

#[tokio::test]
async fn an_upload_is_charged_once_and_going_on_is_not() {
    let cura = Cura::builder().workers(0).with("RATE_LIMIT_UPLOAD", "3").start().await;
    let user = cura.user().await;
    let path = begin(&user, 1000).await;
    for _ in 0..2 {
        begin(&user, 1000).await;
    }
    assert_code(&try_begin(&user, 1000).await, 429, "rate_limited", "the fourth");
    let content = picture(1000);
    for at in 0..20 {
        assert_eq!(send_part(&user, &path, at, content[at..=at].to_vec()).await.status, 204);
        assert_eq!(head(&user, &path).await.status, 200);
    }
}

#[tokio::test]
async fn four_arrive_at_once_and_the_fifth_waits_its_turn() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let (release, released) = tokio::sync::watch::channel(false);
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let path = begin(&user, 100_000).await;
        let (user, released) = (user.clone(), released.clone());
        uploads.spawn(async move {
            let content = picture(100_000);
            let pieces = content
                .chunks(50_000)
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>()
                .into_iter();
            let paced = futures_util::stream::unfold((pieces, released), |(mut pieces, mut released)| async move {
                if pieces.len() == 1 {
                    released.wait_for(|released| *released).await.unwrap();
                }
                let piece = pieces.next()?;
                Some((Ok::<_, std::io::Error>(piece), (pieces, released)))
            });
            let body = reqwest::Body::wrap_stream(paced);
            user.send(super::part(&user, &path, 0, body)).await
        });
    }
    eventually("half of each is there", async || {
        let halves = "SELECT count(*) FROM resumable_uploads WHERE received = 50000";
        (cura.database.count(halves).await == 4).then_some(())
    })
    .await;
    let fifth = begin(&user, 1000).await;
    let reply = send_part(&user, &fifth, 0, picture(1000)).await;
    assert_code(&reply, 429, "too_many_uploads", "the fifth");
    let whole = user.upload(Form::of("a.png", samples::PNG)).await;
    assert_code(&whole, 429, "too_many_uploads", "of either kind");
    release.send(true).unwrap();
    for reply in uploads.join_all().await {
        assert_eq!(reply.status, 204, "{}", reply.body);
    }
    assert_eq!(
        send_part(&user, &fifth, 0, picture(1000)).await.status,
        204,
        "the place is back"
    );
}

#[tokio::test]
async fn after_a_day_an_upload_is_gone() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(300_000);
    let (unfinished, finished) = (begin(&user, content.len()).await, begin(&user, content.len()).await);
    assert_eq!(
        send_part(&user, &unfinished, 0, content[..200_000].to_vec())
            .await
            .status,
        204
    );
    assert_eq!(send_part(&user, &finished, 0, content.clone()).await.status, 204);
    let young = begin(&user, content.len()).await;
    let id = young.rsplit('/').next().unwrap();
    execute(&cura, &format!("{EXPIRE} WHERE id <> {id}")).await;
    for path in [&unfinished, &finished] {
        assert_eq!(head(&user, path).await.status, 404, "{path}");
        assert_code(&delete(&user, path).await, 404, "file_not_found", path);
        for at in [0, 200_000, 300_000] {
            let reply = send_part(&user, path, at, "").await;
            assert_code(&reply, 404, "file_not_found", path);
        }
    }
    assert_is_file_still(&user, &finished).await;
    cura.add_worker().await;
    let prune = PruneExpired {
        kind: PruneKind::ResumableUploads,
        period: -1,
        round: 0,
    };
    run_job(&cura, &prune).await;
    eventually("only the young one is left", async || {
        (left(&cura).await == 1).then_some(())
    })
    .await;
    assert_eq!(head(&user, &young).await.status, 200);
    assert_is_file_still(&user, &finished).await;
}

async fn assert_is_file_still(user: &cura_tests::Client, path: &str) {
    assert_eq!(
        user.get(&super::file_of(path)).await.status,
        200,
        "a file is no unfinished upload"
    );
}
