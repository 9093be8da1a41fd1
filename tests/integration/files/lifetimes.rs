//! Files that go without anybody's deleting them: with their conversation, and when no message has them for long.

use std::time::Duration;

use cura_domain::UserId;
use cura_live::{Live, LiveConfig, Signal};
use cura_queue::{PruneExpired, PruneKind};
use cura_tests::{Client, Cura, Form, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_code, clean_up, execute, objects, rows, run_job, samples};

async fn upload(user: &Client, n: u32) -> Value {
    user.upload(Form::of("a.png", samples::png_number(n))).await.body["id"].clone()
}

/// Sends these files in a new conversation, and gives its path.
async fn send(user: &Client, files: &[&Value]) -> String {
    let sent = user
        .send_without_waiting(&json!({ "content": "Look", "attachments": files }))
        .await;
    format!("/conversations/{}", sent.body["conversation_id"])
}

async fn delete(user: &Client, path: &str) {
    assert_eq!(
        user.send(user.request(Method::DELETE, path)).await.status,
        204,
        "{path}"
    );
}

/// Listens for the last event that the first person has once `act` is done, as a server does: nobody waits until they look by themselves.
async fn assert_signalled(cura: &Cura, act: impl AsyncFnOnce(), done: &'static str) {
    let live = Live::redis(&cura.redis.url(), LiveConfig::default()).unwrap();
    let mut watch = live.watch_user(UserId(1));
    // They may not be subscribed to yet.
    let publishing = async {
        loop {
            let _ = live.publish_to_user(UserId(1), Signal::Logged(0)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = async { while watch.next().await != Signal::Logged(0) {} } => {}
        () = publishing => {}
    }
    act().await;
    eventually("it is done", async || {
        (cura.database.count(done).await == 0).then_some(())
    })
    .await;
    let last = cura.database.count("SELECT max(seq) FROM events").await;
    let told = async { while watch.next().await != Signal::Logged(last) {} };
    tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
}

#[tokio::test]
async fn the_files_of_a_conversation_go_with_it_unless_another_one_has_them() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let (own, shared) = (upload(&user, 1).await, upload(&user, 2).await);
    let first = send(&user, &[&own, &shared]).await;
    let second = send(&user, &[&shared]).await;
    let mut events = user.watch(None).await;
    assert!(events.wait_for_cursor().await);
    delete(&user, &first).await;
    let told = events.until("upload").await.pop().unwrap();
    assert_eq!(
        told.data,
        json!({ "type": "upload", "upload_id": own, "deleted": true })
    );
    assert_code(
        &user.get(&format!("/uploads/{own}")).await,
        404,
        "file_not_found",
        "of the deleted one",
    );
    let kept = user.get(&format!("/uploads/{shared}")).await.body;
    let messages = user.get(&format!("{second}/messages?order=asc")).await.body;
    assert_eq!(kept["message_id"], messages["items"][0]["id"]);
    assert_eq!(messages["items"][0]["attachments"][0]["id"], shared);
    cura.add_worker().await;
    eventually("the object of one is deleted", async || {
        let original = "SELECT count(*) FROM files WHERE status = 'clean'";
        // What the scan of the other has made is there, too.
        (cura.database.count(original).await == 1 && objects(&cura).len() == 3).then_some(())
    })
    .await;
    delete(&user, &second).await;
    assert_code(
        &user.get(&format!("/uploads/{shared}")).await,
        404,
        "file_not_found",
        "of the last one",
    );
    eventually("no object is left", async || objects(&cura).is_empty().then_some(())).await;
}

#[tokio::test]
async fn more_files_than_a_request_deletes_go_with_their_conversation_all_the_same() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let file = upload(&user, 1).await;
    let conversation = send(&user, &[&file]).await;
    // A thousand messages with a file each.
    for fill in [
        "INSERT INTO messages (conversation_id, user_id, role, content, status, created_at, updated_at)
         SELECT conversation_id, user_id, 'user', 'x', 'sent', now(), now() FROM messages, generate_series(1, 1000) WHERE role = 'user'",
        "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, created_at, updated_at)
         SELECT user_id, user_id || '/' || gen_random_uuid() || '.png', 'a', 'png', 1, 'x', 'clean', now(), now()
         FROM files, generate_series(1, 1000)",
        "INSERT INTO message_files SELECT m.id, f.id, 0
         FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM messages WHERE content = 'x') m
              JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM files WHERE sha256 = 'x') f USING (n)",
    ] {
        execute(&cura, fill).await;
    }
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM files WHERE unattached_since IS NOT NULL")
            .await,
        0
    );
    delete(&user, &conversation).await;
    assert_eq!(rows(&cura).await, 501);
    let mut begun = std::mem::take(&mut cura.workers);
    assert_signalled(
        &cura,
        async || {
            let worker = cura_tests::Program::start("cura-worker", &["--wait", "20"], &cura.variables_with(&[]));
            worker.wait_for_log("the worker has started").await;
            begun.push(worker);
        },
        "SELECT count(*) FROM files",
    )
    .await;
    cura.workers = begun;
    eventually("no message is left", async || {
        (cura.database.count("SELECT count(*) FROM messages").await == 0).then_some(())
    })
    .await;
    let told = "SELECT count(DISTINCT payload) FROM events WHERE kind = 'upload'";
    assert_eq!(cura.database.count(told).await, 1001);
    eventually("no object is listed", async || {
        (cura.database.count("SELECT count(*) FROM object_deletions").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_that_goes_to_another_conversation_while_its_own_is_deleted_is_there_or_not() {
    let many = "1000000";
    let cura = Cura::builder()
        .with("RATE_LIMIT_CHAT", many)
        .with("RATE_LIMIT_UPLOAD", many)
        .workers(0);
    let cura = cura
        .with("RATE_LIMIT_DEFAULT", many)
        .with("USER_RUNNING_ANSWERS", "0")
        .start()
        .await;
    let user = cura.user().await;
    for n in 0..20 {
        let file = upload(&user, n).await;
        let conversation = send(&user, &[&file]).await;
        let again = json!({ "content": "Look", "attachments": [file] });
        let delete = user.send(user.request(Method::DELETE, &conversation));
        let (sent, deleted) = tokio::join!(user.try_send_without_waiting(&again), delete);
        assert_eq!(deleted.status, 204);
        let kept = user.get(&format!("/uploads/{file}")).await;
        match sent.status.as_u16() {
            202 => assert_eq!(kept.body["message_id"], sent.body["user_message"]["id"]),
            404 => assert_eq!(kept.status, 404),
            _ => panic!("{}", sent.body),
        }
    }
}

#[tokio::test]
async fn a_file_that_no_message_has_goes_after_thirty_days() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let (attached, alone, fresh) = (upload(&user, 1).await, upload(&user, 2).await, upload(&user, 3).await);
    send(&user, &[&attached]).await;
    for id in [&attached, &alone, &fresh] {
        user.until_scanned(id).await;
    }
    execute(
        &cura,
        &format!(
            "UPDATE files SET created_at = created_at - interval '31 days', unattached_since = unattached_since - interval '31 days'
             WHERE id <> {fresh}"
        ),
    )
    .await;
    let mut events = user.watch(None).await;
    assert!(events.wait_for_cursor().await);
    let job = PruneExpired {
        kind: PruneKind::UnattachedFiles,
        period: 1,
        round: 0,
    };
    let gone = "SELECT count(*) FROM files WHERE unattached_since < now() - interval '30 days'";
    assert_signalled(&cura, async || run_job(&cura, &job).await, gone).await;
    let told = events.until("upload").await.pop().unwrap();
    assert_eq!(
        told.data,
        json!({ "type": "upload", "upload_id": alone, "deleted": true })
    );
    let left = user.get("/uploads").await.body["items"].as_array().unwrap().len();
    assert_eq!(left, 2, "{} is of a message, {} is new", attached, fresh);
    clean_up(&cura, 2).await;
    eventually("its objects are deleted", async || {
        (objects(&cura).len() == 6).then_some(())
    })
    .await;
    // Its days begin when no message has it any more.
    execute(&cura, "DELETE FROM message_files").await;
    let since = "SELECT count(*) FROM files WHERE unattached_since > now() - interval '1 day'";
    assert_eq!(cura.database.count(since).await, 2);
}
