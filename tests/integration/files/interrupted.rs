//! Servers that die at any moment of an upload: what is left is cleared away, and every object has its row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cura_tests::provider::Latch;
use cura_tests::supabase_server::KEY;
use cura_tests::{Client, Cura, Form, HttpAnswer, HttpServer, eventually};
use serde_json::json;
use tokio::task::JoinSet;

use super::{assert_code, assert_nothing_is_kept, clean_up, left_over, objects, rows, samples};

/// Begins an upload whose answer does not come.
fn begin(user: &Client) -> JoinSet<()> {
    let user = user.clone();
    JoinSet::from_iter([async move {
        let lost = user
            .try_send(user.upload_request(Form::of("a.png", samples::png_of(100_000))))
            .await;
        assert!(lost.is_err(), "{lost:?}");
    }])
}

async fn until_storing(cura: &Cura) {
    eventually("the row is there", async || (rows(cura).await == 1).then_some(())).await;
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM files WHERE status = 'storing'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_server_that_dies_before_the_object_is_there_leaves_nothing() {
    let store = HttpServer::start(|request| match request.line().0 {
        "POST" => HttpAnswer::Hang,
        "DELETE" => HttpAnswer::json(200, &json!([{ "name": "deleted" }])),
        _ => HttpAnswer::json(200, &json!({ "id": "cura-files" })),
    })
    .await;
    let mut cura = Cura::builder()
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", store.url())
        .with("SUPABASE_KEY", KEY)
        .start()
        .await;
    let user = cura.user().await;
    let upload = begin(&user);
    until_storing(&cura).await;
    assert_eq!(user.get("/uploads").await.body["items"], json!([]));
    cura.servers[0].program.kill();
    upload.join_all().await;
    clean_up(&cura, 1).await;
    assert_nothing_is_kept(&cura, "killed before").await;
}

#[tokio::test]
async fn a_server_that_dies_when_the_object_is_there_leaves_nothing() {
    let mut cura = Cura::start().await;
    let user = cura.user().await;
    for sql in [
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(4); RETURN NEW; END $$",
        "CREATE TRIGGER wait BEFORE UPDATE ON files FOR EACH ROW EXECUTE FUNCTION wait()",
    ] {
        super::execute(&cura, sql).await;
    }
    let upload = begin(&user);
    eventually("the object is there", async || {
        (objects(&cura).len() == 1).then_some(())
    })
    .await;
    until_storing(&cura).await;
    cura.servers[0].program.kill();
    upload.join_all().await;
    super::execute(&cura, "DROP TRIGGER wait ON files").await;
    // The transaction of the dead server may have gone on.
    eventually("Postgres has noticed", async || {
        let open =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        (cura.database.count(open).await == 0).then_some(())
    })
    .await;
    clean_up(&cura, 1).await;
    let kept = "SELECT count(*) FROM files WHERE status = 'scanning'";
    assert_eq!(cura.database.count(kept).await, 0);
    assert_nothing_is_kept(&cura, "killed after").await;
}

#[tokio::test]
async fn an_upload_that_was_taken_for_abandoned_leaves_nothing_when_it_goes_on() {
    let (latch, kept) = (Latch::default(), Arc::new(AtomicBool::new(false)));
    let (held, has) = (latch.clone(), Arc::clone(&kept));
    let store = HttpServer::start(move |request| match request.line().0 {
        "POST" => {
            has.store(true, Ordering::SeqCst);
            HttpAnswer::After(held.clone(), Box::new(HttpAnswer::json(200, &json!({ "Key": "k" }))))
        }
        "DELETE" => {
            has.store(false, Ordering::SeqCst);
            HttpAnswer::json(200, &json!([{ "name": "deleted" }]))
        }
        _ => HttpAnswer::json(200, &json!({ "id": "cura-files" })),
    })
    .await;
    let cura = Cura::builder()
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", store.url())
        .with("SUPABASE_KEY", KEY)
        .start()
        .await;
    let user = cura.user().await;
    let form = || Form::of("a.png", samples::png_of(100_000));
    let mut upload = JoinSet::new();
    upload.spawn({
        let user = user.clone();
        async move { user.upload(form()).await }
    });
    until_storing(&cura).await;
    clean_up(&cura, 1).await;
    assert_eq!(rows(&cura).await, 0);
    // The server that was asleep wakes up.
    kept.store(true, Ordering::SeqCst);
    latch.open();
    let reply = upload.join_next().await.unwrap().unwrap();
    assert_code(&reply, 503, "storage_unavailable", "its row is gone");
    assert_eq!(cura.database.count("SELECT count(*) FROM object_deletions").await, 1);
    clean_up(&cura, 2).await;
    assert!(
        !kept.load(Ordering::SeqCst),
        "what was put after its row was gone is deleted"
    );
}

#[tokio::test]
async fn a_repetition_of_an_upload_that_takes_the_last_room_is_told_to_come_again() {
    let latch = Latch::default();
    let held = latch.clone();
    let store = HttpServer::start(move |request| match request.line().0 {
        "POST" => HttpAnswer::After(held.clone(), Box::new(HttpAnswer::json(200, &json!({ "Key": "k" })))),
        _ => HttpAnswer::json(200, &json!({ "id": "cura-files" })),
    })
    .await;
    let cura = Cura::builder()
        .workers(0)
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", store.url())
        .with("SUPABASE_KEY", KEY)
        .with("USER_STORAGE_MB", "1")
        .start()
        .await;
    let user = cura.user().await;
    let form = || Form::of("a.png", samples::png_of(600_000));
    let mut upload = JoinSet::new();
    upload.spawn({
        let user = user.clone();
        async move { user.upload_with_key(form(), "one").await }
    });
    until_storing(&cura).await;
    let again = user.upload_with_key(form(), "one").await;
    assert_code(&again, 503, "storage_unavailable", "the first is under way");
    let other = user.upload(Form::of("a.png", samples::png_of(600_001))).await;
    assert_code(&other, 413, "storage_quota_exceeded", "another file");
    latch.open();
    assert_eq!(upload.join_next().await.unwrap().unwrap().status, 201);
    let again = user.upload_with_key(form(), "one").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (201, Some("true"))
    );
}

#[tokio::test]
async fn a_client_that_leaves_while_its_file_is_stored_finds_it_when_it_comes_back() {
    let cura = Cura::without_workers().await;
    let user = cura.user().await;
    for sql in [
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$",
        "CREATE TRIGGER wait BEFORE UPDATE ON files FOR EACH ROW EXECUTE FUNCTION wait()",
    ] {
        super::execute(&cura, sql).await;
    }
    let form = || Form::of("a.png", samples::png_of(100_000));
    let mut leaving = JoinSet::new();
    let request = user.upload_request(form()).header("Idempotency-Key", "one");
    leaving.spawn(request.send());
    until_storing(&cura).await;
    leaving.shutdown().await;
    eventually("it is kept all the same", async || {
        let kept = "SELECT count(*) FROM files WHERE status = 'scanning'";
        (cura.database.count(kept).await == 1).then_some(())
    })
    .await;
    let again = user.upload_with_key(form(), "one").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (201, Some("true"))
    );
    assert_eq!((rows(&cura).await, objects(&cura).len()), (1, 1));
}

/// `CURA_CHAOS_ROUNDS` (5 unless said otherwise) times a server is killed at some moment while files arrive, and a worker while it scans
/// them.
#[tokio::test]
async fn after_random_kills_every_object_has_its_row() {
    #[expect(clippy::disallowed_methods, reason = "`make chaos` says how many")]
    let rounds: u64 = std::env::var("CURA_CHAOS_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let mut cura = Cura::start().await;
    let user = cura.user().await;
    let mut confirmed = BTreeSet::new();
    let count = Arc::new(AtomicU64::new(0));
    for round in 0..rounds {
        let base = cura.servers.last().unwrap().base.clone();
        let mut uploads = JoinSet::new();
        for lane in 0..4_u32 {
            let (user, count) = (user.at(&base), Arc::clone(&count));
            uploads.spawn(async move {
                let mut kept = Vec::new();
                for n in 0.. {
                    let number = u32::try_from(round).unwrap() * 1_000_000 + lane * 10_000 + n;
                    let content = [samples::png_of(50_000), samples::png_number(number)].concat();
                    match user.try_send(user.upload_request(Form::of("a.png", content))).await {
                        Ok(reply) if reply.status == 201 => {
                            kept.push(reply.body["id"].as_i64().unwrap());
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        // A busy machine.
                        Ok(reply) => assert_eq!(reply.status, 503, "{}", reply.body),
                        Err(_) => break,
                    }
                }
                kept
            });
        }
        let before = count.load(Ordering::Relaxed);
        eventually("some files are kept", async || {
            (count.load(Ordering::Relaxed) > before + 4).then_some(())
        })
        .await;
        // Another moment of an upload each time, which takes some milliseconds.
        tokio::time::sleep(Duration::from_micros(7_919 * round % 20_000)).await;
        cura.servers.last_mut().unwrap().program.kill();
        confirmed.extend(uploads.join_all().await.into_iter().flatten());
        cura.add_server().await;
        // In the middle of some scan.
        cura.workers.last_mut().unwrap().kill();
        cura.add_worker().await;
    }
    eventually("all files are scanned", async || {
        let waiting = "SELECT count(*) FROM files WHERE status = 'scanning'";
        (cura.database.count(waiting).await == 0).then_some(())
    })
    .await;
    clean_up(&cura, 1).await;
    let unclean = "SELECT count(*) FROM files WHERE status <> 'clean'";
    assert_eq!(cura.database.count(unclean).await, 0);
    let kept: Vec<(i64, String)> = sqlx::query_as(
        "SELECT id, split_part(object_key, '/', 2) FROM files
         UNION ALL SELECT file_id, split_part(object_key, '/', 2) FROM file_pictures",
    )
    .fetch_all(cura.database.pool())
    .await
    .unwrap();
    let named: BTreeSet<&str> = kept.iter().map(|(_, name)| name.as_str()).collect();
    let there = objects(&cura);
    assert_eq!(there.iter().map(String::as_str).collect::<BTreeSet<_>>(), named);
    let ids: BTreeSet<i64> = kept.iter().map(|(id, _)| *id).collect();
    assert!(confirmed.is_subset(&ids), "what was confirmed is kept");
    assert!(confirmed.len() as u64 >= rounds, "{} uploads", confirmed.len());
    assert!(left_over(&cura).is_empty(), "{:?}", left_over(&cura));
}
