//! Files that people upload: what is taken, what is refused, and that nothing is left of what is not kept.

mod attachments;
mod avatars;
mod bodies;
mod deletion;
mod given;
mod idempotency;
mod interrupted;
mod lifetimes;
mod limits;
mod links;
mod lists;
mod messages;
mod refusals;
mod resumable;
pub(crate) mod samples;
mod scans;
mod store;
mod types;
mod waiting_for_scans;

use std::ffi::OsStr;

use cura_queue::{DeleteObjects, Job, PruneExpired, PruneKind};
use cura_tests::problem::assert_problem;
use cura_tests::{Cura, Reply, eventually};
use sqlx::AssertSqlSafe;

/// The files in the store of this Cura, which is a folder; none of them is on its way into it.
fn objects(cura: &Cura) -> Vec<String> {
    let Ok(users) = std::fs::read_dir(cura.data.path().join("files")) else {
        return Vec::new();
    };
    let users = users.map(|user| user.unwrap().path());
    // Nor the list of erasures, which is nobody's.
    let is_of_somebody = |name: &OsStr| name != "incoming" && name != "9223372036854775806";
    let kept = users.filter(|user| user.file_name().is_some_and(is_of_somebody));
    let objects = kept.filter_map(|user| std::fs::read_dir(user).ok()).flatten();
    objects
        .map(|object| object.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// What has a name in the folder where files arrive, and on their way into the store.
fn left_over(cura: &Cura) -> Vec<String> {
    let folders = [cura.data.path().to_owned(), cura.data.path().join("files/incoming")];
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "files")
        .collect()
}

/// How many rows of files there are, whoever may see them.
async fn rows(cura: &Cura) -> i64 {
    cura.database.count("SELECT count(*) FROM files").await
}

/// Nothing is kept, nor on its way.
async fn assert_nothing_is_kept(cura: &Cura, what: &str) {
    assert_eq!(rows(cura).await, 0, "{what}");
    assert!(objects(cura).is_empty(), "{what}: {:?}", objects(cura));
    assert!(left_over(cura).is_empty(), "{what}: {:?}", left_over(cura));
}

fn assert_code(reply: &Reply, status: u16, code: &str, what: &str) {
    assert_problem(reply, status, what);
    assert_eq!(reply.code(), code, "{what}: {}", reply.body);
}

/// The codes of the fields that are wrong.
fn faults(reply: &Reply) -> Vec<(String, String)> {
    let errors = reply.body["errors"].as_array().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    errors
        .map(|error| (text(&error["pointer"]), text(&error["code"])))
        .collect()
}

async fn execute(cura: &Cura, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .execute(cura.database.pool())
        .await
        .unwrap();
}

async fn run_job<J: Job>(cura: &Cura, job: &J) {
    let mut connection = cura.database.pool().acquire().await.unwrap();
    cura_queue::enqueue(&mut connection, job).await.unwrap();
}

/// Does what a worker does in the next hour: forgets uploads that nobody is at any more, and deletes what is listed.
async fn clean_up(cura: &Cura, round: i64) {
    execute(
        cura,
        "UPDATE files SET updated_at = updated_at - interval '16 minutes' WHERE status = 'storing'",
    )
    .await;
    let reap = PruneExpired {
        kind: PruneKind::AbandonedUploads,
        period: -round,
        round: 0,
    };
    run_job(cura, &reap).await;
    eventually("no upload is being stored", async || {
        let storing = "SELECT (SELECT count(*) FROM files WHERE status = 'storing')
                           + (SELECT count(*) FROM avatar_pictures WHERE NOT is_shown)";
        (cura.database.count(storing).await == 0).then_some(())
    })
    .await;
    execute(cura, "UPDATE object_deletions SET due_at = now()").await;
    let delete = DeleteObjects {
        period: -round,
        file_id: None,
    };
    run_job(cura, &delete).await;
    eventually("nothing is listed for deletion", async || {
        let listed = "SELECT count(*) FROM object_deletions";
        (cura.database.count(listed).await == 0).then_some(())
    })
    .await;
}
