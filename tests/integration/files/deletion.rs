//! Deleting: the row is gone at once, the object until the store agrees, and an erased person leaves nothing.

use std::path::PathBuf;

use cura_tests::{Client, Cura, Form, Socket, eventually};
use reqwest::Method;
use serde_json::{Value, json};

use super::{assert_code, assert_nothing_is_kept, objects, rows, samples};

async fn delete(user: &Client, id: &Value) -> cura_tests::Reply {
    user.send(user.request(Method::DELETE, &format!("/uploads/{id}"))).await
}

/// Where the only object is.
async fn path_of_object(cura: &Cura) -> PathBuf {
    let key: String = sqlx::query_scalar("SELECT object_key FROM files")
        .fetch_one(cura.database.pool())
        .await
        .unwrap();
    cura.data.path().join("files").join(key)
}

/// Makes an object one that the store cannot delete: a folder with something in it.
fn block(path: &PathBuf) {
    std::fs::remove_file(path).unwrap();
    std::fs::create_dir(path).unwrap();
    std::fs::write(path.join("x"), "x").unwrap();
}

#[tokio::test]
async fn a_deleted_file_is_gone_everywhere_and_every_device_learns_it() {
    let mut cura = Cura::without_workers().await;
    let user = cura.user().await;
    let sent = user.try_send_without_waiting(&json!({ "content": "Look" })).await.body;
    let mut events = user.watch(None).await;
    let mut socket = Socket::of(&user, &sent["conversation_id"], None).await;
    assert!(events.wait_for_cursor().await);
    let form = Form::of("a.png", samples::PNG).field("message_id", &sent["user_message"]["id"]);
    let kept = user.upload(form).await.body;
    let told = events.until("upload").await.pop().unwrap();
    let mut expected = json!({ "type": "upload", "upload_id": kept["id"], "deleted": false, "upload": kept });
    assert_eq!(told.data, expected);
    let mut told = socket.until("upload").await.pop().unwrap();
    expected["cursor"] = told["cursor"].take();
    told["cursor"] = expected["cursor"].clone();
    assert_eq!(told, expected);
    assert_eq!(objects(&cura).len(), 1);
    let stranger = cura.client().register("bob@example.com").await;
    assert_code(
        &delete(&stranger, &kept["id"]).await,
        404,
        "file_not_found",
        "somebody else's",
    );
    assert_eq!(delete(&user, &kept["id"]).await.status, 204);
    assert_code(
        &user.get(&format!("/uploads/{}", kept["id"])).await,
        404,
        "file_not_found",
        "deleted",
    );
    assert_code(
        &delete(&user, &kept["id"]).await,
        404,
        "file_not_found",
        "deleted twice",
    );
    let told = events.until("upload").await.pop().unwrap();
    assert_eq!(
        told.data,
        json!({ "type": "upload", "upload_id": kept["id"], "deleted": true })
    );
    let told = socket.until("upload").await.pop().unwrap();
    assert_eq!((&told["upload_id"], &told["deleted"]), (&kept["id"], &json!(true)));
    cura.add_worker().await;
    assert_eq!(cura.database.count("SELECT count(*) FROM message_files").await, 0);
    eventually("the object is deleted", async || {
        objects(&cura).is_empty().then_some(())
    })
    .await;
    eventually("nothing is listed", async || {
        let listed = "SELECT count(*) FROM object_deletions";
        (cura.database.count(listed).await == 0).then_some(())
    })
    .await;
    assert_nothing_is_kept(&cura, "deleted").await;
}

#[tokio::test]
async fn an_object_that_the_store_does_not_delete_is_tried_again() {
    let cura = Cura::start().await;
    let user = cura.user().await;
    let kept = user.upload(Form::of("a.png", samples::PNG)).await.body;
    // What is being put while its file is deleted is left alone for a while.
    user.until_scanned(&kept["id"]).await;
    let path = path_of_object(&cura).await;
    block(&path);
    assert_eq!(delete(&user, &kept["id"]).await.status, 204);
    eventually("it was tried", async || {
        let tried = "SELECT count(*) FROM object_deletions WHERE attempts = 1 AND due_at > now()";
        (cura.database.count(tried).await == 1).then_some(())
    })
    .await;
    assert!(cura.logs().contains("deleted files are still in the file store"));
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::write(&path, "still there").unwrap();
    super::clean_up(&cura, 1).await;
    assert!(objects(&cura).is_empty());
}

#[tokio::test]
async fn whatever_deletes_a_row_lists_its_object() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for n in 0..3 {
        user.upload(Form::of("a.png", samples::png_number(n))).await;
    }
    super::execute(&cura, "DELETE FROM files WHERE id = (SELECT min(id) FROM files)").await;
    super::execute(&cura, "DELETE FROM users").await;
    let listed = "SELECT count(*) FROM object_deletions WHERE due_at <= now()";
    assert_eq!((rows(&cura).await, cura.database.count(listed).await), (0, 3));
}

#[tokio::test]
async fn an_erased_person_leaves_no_object_and_the_erasure_waits_for_the_store() {
    let cura = Cura::start().await;
    let user = cura.client().register("ann@example.com").await;
    let other = cura.client().register("bob@example.com").await;
    user.upload(Form::of("a.png", samples::PNG)).await;
    let path = path_of_object(&cura).await;
    for n in 0..3 {
        user.upload(Form::of("a.png", samples::png_number(n))).await;
    }
    other.upload(Form::of("b.png", samples::PNG)).await;
    // With two pictures made of each.
    eventually("all are scanned", async || {
        let clean = "SELECT count(*) FROM files WHERE status = 'clean'";
        (cura.database.count(clean).await == 5).then_some(())
    })
    .await;
    block(&path);
    let request = user.request(Method::DELETE, "/users/me");
    let erased = user.send(request.json(&json!({ "password": "a long password" }))).await;
    assert_eq!(erased.status, 204);
    eventually("only the object is left that cannot be deleted", async || {
        let tried = "SELECT count(*) FROM object_deletions WHERE attempts > 0";
        (rows(&cura).await == 1 && objects(&cura).len() == 4 && cura.database.count(tried).await == 1).then_some(())
    })
    .await;
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM users WHERE erased_at IS NOT NULL")
            .await,
        1
    );
    std::fs::remove_dir_all(&path).unwrap();
    super::execute(&cura, "UPDATE object_deletions SET due_at = now()").await;
    eventually("the person is erased", async || {
        (cura.database.count("SELECT count(*) FROM users").await == 1).then_some(())
    })
    .await;
    assert_eq!(cura.database.count("SELECT count(*) FROM object_deletions").await, 0);
    assert_eq!(objects(&cura).len(), 3, "the other person's");
}
