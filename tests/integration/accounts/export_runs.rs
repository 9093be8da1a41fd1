//! The runs of an export: how they fetch files, and what becomes of them when the file store is away or refuses, when their worker dies, and
//! when there are two at once.

use cura_tests::provider::Latch;
use cura_tests::supabase_server::{BUCKET, KEY};
use cura_tests::{Client, Cura, CuraBuilder, SupabaseServer, eventually};
use reqwest::Method;

use super::export::{export, file};
use super::exported_files::{clean, names, sql};
use crate::files::samples;

/// The attempts that are spent, most of them.
const ATTEMPTS: &str = "SELECT max(attempts)::bigint FROM apalis.jobs WHERE job_type = 'export-account'";
/// The jobs that are done, or dead.
const ENDED: &str =
    "SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account' AND status IN ('Done', 'Killed')";
/// The jobs that wait for something.
const SNOOZED: &str =
    "SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account' AND status = 'Pending' AND run_at > now()";

fn on_supabase(supabase: &SupabaseServer) -> CuraBuilder {
    Cura::builder()
        .with("STORAGE_PROVIDER", "supabase")
        .with("SUPABASE_URL", supabase.url())
        .with("SUPABASE_KEY", KEY)
        .with("SUPABASE_STORAGE_BUCKET", BUCKET)
}

/// Clean files of the first person, which the store has, each with its number in it.
async fn keep(cura: &Cura, supabase: &SupabaseServer, sizes: &[usize]) {
    for (number, size) in sizes.iter().enumerate() {
        let key = format!("1/00000000-0000-4000-8000-{number:012}.pdf");
        sql(
            cura,
            &format!(
                "INSERT INTO files (user_id, object_key, filename, file_type, size, sha256, status, created_at, updated_at)
                 VALUES (1, '{key}', 'n{number}.pdf', 'pdf', {size}, 'x', 'clean', now(), now())"
            ),
        )
        .await;
        supabase.put(key, vec![number as u8; *size]);
    }
}

/// Has the runs of exports wait where they begin to read.
async fn hold(cura: &Cura) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut holder = cura.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE devices IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    holder
}

async fn ask(user: &Client) -> u16 {
    user.get("/users/me/export").await.status.as_u16()
}

/// How many archives the store has.
fn archives(supabase: &SupabaseServer) -> usize {
    supabase.objects().keys().filter(|key| key.ends_with(".zip")).count()
}

async fn until_count(cura: &Cura, what: &'static str, query: &'static str, expected: i64) {
    eventually(what, async || {
        (cura.database.count(query).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_next_small_files_are_fetched_at_once_and_packed_in_their_order() {
    let supabase = SupabaseServer::start().await;
    let cura = on_supabase(&supabase).start().await;
    let user = cura.user().await;
    let mut sizes = vec![1000; 70];
    // They are fetched in their turn.
    (sizes[3], sizes[66]) = (600 * 1024, 256 * 1024 + 1);
    keep(&cura, &supabase, &sizes).await;
    let latch = Latch::default();
    supabase.give_after(&latch);
    assert_eq!(ask(&user).await, 202);
    supabase.wait_for_under_way(15).await;
    latch.open();
    let archive = export(&user).await;
    let packed: Vec<String> = names(&archive).0;
    let packed: Vec<&String> = packed.iter().filter(|name| name.starts_with("files/")).collect();
    assert_eq!(packed.len(), sizes.len());
    for (number, (name, size)) in packed.into_iter().zip(sizes).enumerate() {
        assert!(name.ends_with(&format!("-n{number}.pdf")), "{name}");
        assert!(file(&archive, name) == vec![number as u8; size], "{name}");
    }
    // A probe of the server or the worker may be among them.
    assert!(supabase.most_under_way() <= 18, "{}", supabase.most_under_way());
}

#[tokio::test]
async fn a_store_that_goes_away_amid_an_archive_spends_no_attempt() {
    let supabase = SupabaseServer::start().await;
    let cura = on_supabase(&supabase).start().await;
    let user = cura.user().await;
    keep(&cura, &supabase, &[1000, 600 * 1024]).await;
    supabase.give_nothing(true);
    assert_eq!(ask(&user).await, 202);
    // Oftener than a job has attempts.
    for _ in 0..7 {
        until_count(&cura, "it waits", SNOOZED, 1).await;
        sql(
            &cura,
            "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'export-account' AND status = 'Pending'",
        )
        .await;
    }
    until_count(&cura, "it waits", SNOOZED, 1).await;
    assert_eq!(cura.database.count(ATTEMPTS).await, 0);
    assert_eq!(ask(&user).await, 202);
    supabase.give_nothing(false);
    sql(
        &cura,
        "UPDATE apalis.jobs SET run_at = now() WHERE job_type = 'export-account'",
    )
    .await;
    assert_eq!(names(&export(&user).await).1.len(), 2);
}

#[tokio::test]
async fn an_archive_that_the_store_refuses_is_not_made_again_and_again_and_its_person_is_told() {
    let supabase = SupabaseServer::start().await;
    let cura = on_supabase(&supabase).start().await;
    let user = cura.user().await;
    keep(&cura, &supabase, &[200 * 1024]).await;
    supabase.take_up_to(Some(100 * 1024));
    assert_eq!(ask(&user).await, 202);
    let refused = eventually("it is refused", async || {
        let reply = user.get("/users/me/export").await;
        (reply.status != 202).then_some(reply)
    })
    .await;
    assert_eq!(
        (
            refused.status.as_u16(),
            refused.code(),
            refused.header("retry-after").is_some()
        ),
        (503, "storage_unavailable", true)
    );
    until_count(&cura, "its job ends", ENDED, 1).await;
    let failed = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'fail-export' AND status = 'Done'";
    until_count(&cura, "it is not forgotten", failed, 1).await;
    assert_eq!(ask(&user).await, 503);
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account'";
    assert_eq!(
        (cura.database.count(jobs).await, cura.database.count(ATTEMPTS).await),
        (1, 1)
    );
    let logs = cura.workers[0].logs();
    let line = logs
        .lines()
        .find(|line| line.contains("the file store refuses an archive"))
        .unwrap();
    assert!(line.contains("ERROR") && line.contains("EntityTooLarge"), "{line}");
    // Its place was named before, and is listed for deletion.
    assert_eq!(cura.database.count("SELECT count(*) FROM export_objects").await, 0);
    assert_eq!(cura.database.count("SELECT count(*) FROM object_deletions").await, 1);
    // An operator has the bucket take more.
    supabase.take_up_to(None);
    sql(&cura, "UPDATE exports SET expires_at = now()").await;
    export(&user).await;
    // Or the person does not wait.
    sql(&cura, "UPDATE exports SET is_refused = true").await;
    sql(&cura, "DELETE FROM export_objects").await;
    assert_eq!(ask(&user).await, 503);
    let deleted = user.send(user.request(Method::DELETE, "/users/me/export")).await;
    assert_eq!(deleted.status, 204);
    export(&user).await;
}

#[tokio::test]
async fn when_its_worker_has_died_each_time_the_next_request_begins_another_archive() {
    let mut cura = Cura::start().await;
    let user = cura.user().await;
    let holder = hold(&cura).await;
    assert_eq!(ask(&user).await, 202);
    cura.database.wait_for_lock_waiter().await;
    sql(
        &cura,
        "UPDATE apalis.jobs SET attempts = max_attempts WHERE job_type = 'export-account'",
    )
    .await;
    cura.workers.pop().unwrap().kill();
    cura.add_worker().await;
    until_count(&cura, "it is given up", ENDED, 1).await;
    until_count(&cura, "it is forgotten", "SELECT count(*) FROM exports", 0).await;
    holder.rollback().await.unwrap();
    export(&user).await;
    assert!(cura.workers[0].logs().contains("the next request begins another one"));
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_puts_an_archive_leaves_none_behind() {
    let supabase = SupabaseServer::start().await;
    let mut cura = on_supabase(&supabase).start().await;
    let user = cura.user().await;
    let kept = clean(&user, "a.png", samples::PNG).await;
    let never = Latch::default();
    supabase.say_taken_after(&never);
    assert_eq!(ask(&user).await, 202);
    eventually("it is there, and its worker does not know", async || {
        (archives(&supabase) == 1).then_some(())
    })
    .await;
    cura.workers.pop().unwrap().kill();
    supabase.say_taken_after(&{
        let now = Latch::default();
        now.open();
        now
    });
    cura.add_worker().await;
    let archive = export(&user).await;
    assert!(file(&archive, &format!("files/{}-a.png", kept["id"])) == samples::PNG);
    assert_eq!(archives(&supabase), 2);
    sql(&cura, "UPDATE object_deletions SET due_at = now()").await;
    let job = cura_queue::DeleteObjects::of_export(7);
    let mut connection = cura.database.pool().acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, &job).await.unwrap();
    eventually("only the one that is given out is left", async || {
        (archives(&supabase) == 1).then_some(())
    })
    .await;
    assert_eq!(export(&user).await, archive);
}

#[tokio::test]
async fn of_two_runs_at_once_one_finishes_the_export() {
    let supabase = SupabaseServer::start().await;
    let cura = on_supabase(&supabase).start().await;
    let user = cura.user().await;
    clean(&user, "a.png", samples::PNG).await;
    let mut events = user.watch(None).await;
    assert!(events.wait_for_cursor().await);
    let holder = hold(&cura).await;
    assert_eq!(ask(&user).await, 202);
    // As if the first one was taken for dead.
    sql(
        &cura,
        "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
         SELECT apalis.generate_ulid(), job, job_type, 'Pending', 0, max_attempts, now(), priority, 'second', metadata
         FROM apalis.jobs WHERE job_type = 'export-account'",
    )
    .await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until_count(&cura, "both have begun", waiting, 2).await;
    let latch = Latch::default();
    supabase.say_taken_after(&latch);
    holder.commit().await.unwrap();
    eventually("both have put an archive", async || {
        (archives(&supabase) == 2).then_some(())
    })
    .await;
    latch.open();
    until_count(&cura, "both end", ENDED, 2).await;
    let dead = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'export-account' AND status = 'Killed'";
    assert_eq!(cura.database.count(dead).await, 0);
    let stored = "SELECT count(*) FROM export_objects WHERE is_stored";
    assert_eq!(cura.database.count(stored).await, 1);
    assert_eq!(
        cura.database
            .count("SELECT count(*) FROM events WHERE kind = 'export'")
            .await,
        1
    );
    let archive = export(&user).await;
    sql(&cura, "UPDATE object_deletions SET due_at = now()").await;
    let job = cura_queue::DeleteObjects::of_export(7);
    let mut connection = cura.database.pool().acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, &job).await.unwrap();
    eventually("the other one is deleted", async || {
        (archives(&supabase) == 1).then_some(())
    })
    .await;
    assert_eq!(export(&user).await, archive);
}
