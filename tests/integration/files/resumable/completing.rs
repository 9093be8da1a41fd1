//! Once all has arrived: one file, or none, whatever happens in between and however often it is asked for.

use cura_tests::{Cura, eventually};
use serde_json::json;

use super::{
    assert_code, assert_is_file, begin, file_of, head, left, objects, offset, picture, rows, samples, send_part,
};
use crate::files::{clean_up, execute, left_over};

/// One file, one object, one scan.
async fn assert_one_file(cura: &Cura) {
    assert_eq!((rows(cura).await, objects(cura).len()), (1, 1));
    let scans = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'scan-upload'";
    assert_eq!(cura.database.count(scans).await, 1);
}

/// Takes the file store away, or gives it back.
fn take_store_away(cura: &Cura, is_away: bool) {
    let (folder, away) = (cura.data.path().join("files"), cura.data.path().join("away"));
    if is_away {
        std::fs::rename(&folder, &away).unwrap();
        std::fs::write(&folder, "no folder").unwrap();
    } else {
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&away, &folder).unwrap();
    }
}

#[tokio::test]
async fn when_the_store_is_away_at_the_end_what_has_arrived_waits_for_it() {
    for by_head in [false, true] {
        let cura = Cura::without_workers().await;
        let user = cura.user().await;
        let content = picture(300_000);
        let path = begin(&user, content.len()).await;
        take_store_away(&cura, true);
        let reply = send_part(&user, &path, 0, content.clone()).await;
        assert_code(&reply, 503, "storage_unavailable", "away");
        assert_eq!(reply.header("retry-after"), Some("10"));
        // Clients of TUS take it for done when they are told that all is there.
        let asked = head(&user, &path).await;
        assert_eq!(
            (asked.status.as_u16(), asked.header("upload-offset")),
            (423, Some("300000"))
        );
        assert_eq!(asked.header("retry-after"), Some("10"));
        assert_code(
            &send_part(&user, &path, 300_000, "").await,
            503,
            "storage_unavailable",
            "still away",
        );
        assert_code(&user.get(&file_of(&path)).await, 404, "file_not_found", "no file yet");
        // What arrived counts once, however often it was tried.
        let listed = "SELECT COALESCE(sum(size), 0)::bigint FROM object_deletions";
        assert_eq!(cura.database.count(listed).await, 0);
        take_store_away(&cura, false);
        if by_head {
            assert_eq!(offset(&user, &path).await, 300_000);
        } else {
            assert_eq!(send_part(&user, &path, 300_000, "").await.status, 204);
        }
        assert_is_file(&cura, &user, &path, &content).await;
        assert_eq!((rows(&cura).await, objects(&cura).len()), (1, 1));
    }
}

#[tokio::test]
async fn a_file_that_is_not_taken_is_gone_with_its_parts() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let cut_short = samples::JPEG[..samples::JPEG.len() / 2].to_vec();
    for (content, status, code) in [
        (vec![b'x'; 200_000], 415, "unsupported_file_type"),
        (cut_short, 422, "damaged_file"),
    ] {
        let path = begin(&user, content.len()).await;
        let middle = content.len() / 2;
        assert_eq!(send_part(&user, &path, 0, content[..middle].to_vec()).await.status, 204);
        let reply = send_part(&user, &path, middle, content[middle..].to_vec()).await;
        assert_code(&reply, status, code, "the last part");
        assert_eq!(head(&user, &path).await.status, 404);
        assert_eq!(left(&cura).await, 0);
    }
    crate::files::assert_nothing_is_kept(&cura, "refused").await;
}

#[tokio::test]
async fn a_lost_answer_to_the_last_part_leads_to_no_second_file() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(200_000);
    let path = begin(&user, content.len()).await;
    assert_eq!(send_part(&user, &path, 0, content.clone()).await.status, 204);
    assert_code(
        &send_part(&user, &path, 0, content.clone()).await,
        409,
        "wrong_offset",
        "all of it again",
    );
    assert_eq!(
        send_part(&user, &path, 200_000, "").await.status,
        204,
        "nothing behind the end"
    );
    assert_eq!(offset(&user, &path).await, 200_000);
    assert_is_file(&cura, &user, &path, &content).await;
    assert_one_file(&cura).await;
}

#[tokio::test]
async fn an_upload_that_is_completed_many_times_at_once_is_one_file() {
    let cura = Cura::builder().servers(2).workers(0).start().await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let content = picture(1_000_000);
    let path = begin(&user, content.len()).await;
    take_store_away(&cura, true);
    assert_code(
        &send_part(&user, &path, 0, content.clone()).await,
        503,
        "storage_unavailable",
        "away",
    );
    take_store_away(&cura, false);
    let (first, second, third, asked) = tokio::join!(
        send_part(&user, &path, content.len(), ""),
        send_part(&there, &path, content.len(), ""),
        send_part(&there, &path, content.len(), ""),
        offset(&there, &path),
    );
    for reply in [first, second, third] {
        assert_eq!(reply.status, 204, "{}", reply.body);
    }
    assert_eq!(asked, content.len());
    assert_is_file(&cura, &user, &path, &content).await;
    assert_one_file(&cura).await;
}

#[tokio::test]
async fn after_a_server_that_was_killed_while_it_made_the_file_another_one_makes_it() {
    let mut cura = Cura::builder().servers(2).workers(0).start().await;
    let user = cura.user().await;
    let there = user.at(&cura.servers[1].base);
    let content = picture(300_000);
    for sql in [
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); RETURN NEW; END $$",
        "CREATE TRIGGER wait BEFORE UPDATE ON files FOR EACH ROW EXECUTE FUNCTION wait()",
    ] {
        execute(&cura, sql).await;
    }
    let path = begin(&user, content.len()).await;
    let mut sending = tokio::task::JoinSet::new();
    let request = super::part(&user, &path, 0, content.clone());
    sending.spawn(request.send());
    eventually("the object is there", async || {
        (objects(&cura).len() == 1).then_some(())
    })
    .await;
    cura.servers[0].program.kill();
    assert!(sending.join_next().await.unwrap().unwrap().is_err());
    execute(&cura, "DROP TRIGGER wait ON files").await;
    eventually("another server makes the file", async || {
        let reply = send_part(&there, &path, content.len(), "").await;
        assert!([204, 503].contains(&reply.status.as_u16()), "{}", reply.body);
        (reply.status == 204).then_some(())
    })
    .await;
    assert_is_file(&cura, &there, &path, &content).await;
    cura.add_worker().await;
    clean_up(&cura, 1).await;
    assert_eq!(left_over(&cura), Vec::<String>::new());
    let named = "SELECT (SELECT count(*) FROM files) + (SELECT count(*) FROM file_pictures)";
    let id = there.get(&file_of(&path)).await.body["id"].clone();
    there.until_scanned(&id).await;
    let named = usize::try_from(cura.database.count(named).await).unwrap();
    assert_eq!(objects(&cura).len(), named, "what the killed one had stored is gone");
}

#[tokio::test]
async fn who_signs_out_meanwhile_signs_in_again_and_goes_on() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    let content = picture(100_000);
    let path = begin(&user, content.len()).await;
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (first, rest) = (content[..50_000].to_vec(), content[50_000..].to_vec());
    let pieces = futures_util::stream::once(async move { Ok::<_, std::io::Error>(first) });
    let behind = futures_util::stream::once(async move {
        released.await.unwrap();
        Ok(rest)
    });
    let body = reqwest::Body::wrap_stream(futures_util::StreamExt::chain(pieces, behind));
    let mut sending = tokio::task::JoinSet::new();
    let (client, request) = (user.clone(), super::part(&user, &path, 0, body));
    sending.spawn(async move { client.send(request).await });
    let arrived = "SELECT received FROM resumable_uploads";
    eventually("half is there", async || {
        (cura.database.count(arrived).await == 50_000).then_some(())
    })
    .await;
    assert_eq!(user.post("/auth/logout-all", &json!({})).await.status, 204);
    release.send(()).unwrap();
    let reply = sending.join_next().await.unwrap().unwrap();
    assert_code(&reply, 401, "not_authenticated", "the session has ended");
    assert_eq!(rows(&cura).await, 0);
    let login = json!({ "email": "user@example.com", "password": "a long password" });
    let signed_in = cura.client().post("/auth/login", &login).await;
    let user = user.with_token(&signed_in.body["access_token"]);
    assert_eq!(
        send_part(&user, &path, 100_000, "").await.status,
        204,
        "the upload is the person's"
    );
    assert_is_file(&cura, &user, &path, &content).await;
}
