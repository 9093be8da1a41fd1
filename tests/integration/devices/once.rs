//! No device gets a push twice, whoever dies and whenever.

use cura_tests::eventually;
use cura_tests::fcm_server::fcm_error;
use cura_tests::http_server::HttpAnswer;
use cura_tests::provider::Latch;
use serde_json::json;

use super::{Pushing, register};

fn taken() -> HttpAnswer {
    HttpAnswer::json(200, &json!({ "name": "projects/x/messages/1" }))
}

#[tokio::test]
async fn a_worker_that_dies_while_it_sends_is_not_followed_by_a_second_send() {
    let mut pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    for n in 0..20 {
        register(&user, &format!("device-{n}")).await;
    }
    let never = Latch::default();
    for n in 10..20 {
        pushing.fcm.answer_always(&format!("device-{n}"), taken().after(&never));
    }
    pushing.ask(&user).await;
    eventually("all sends are under way", async || {
        (pushing.fcm.sends().len() == 20).then_some(())
    })
    .await;
    pushing.cura.workers[0].kill();
    pushing.cura.add_worker().await;
    pushing.until_done().await;
    assert_eq!(pushing.fcm.sends().len(), 20);
    let silent = "SELECT count(*) FROM push_sends WHERE outcome IS NULL";
    assert!(
        pushing.cura.database.count(silent).await >= 10,
        "claimed, and nobody knows what came of it"
    );
}

#[tokio::test]
async fn one_push_as_two_jobs_on_two_workers_is_sent_once() {
    let mut pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    pushing.cura.add_worker().await;
    for n in 0..20 {
        register(&user, &format!("device-{n}")).await;
    }
    pushing.ask(&user).await;
    pushing
        .sql(
            "INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
             SELECT 'copy' || n, job, job_type, 'Pending', 0, 3, run_at, 0, 'copy' || n, metadata
             FROM apalis.jobs, generate_series(1, 5) n WHERE job_type = 'send-push'",
        )
        .await;
    pushing.until_done().await;
    let jobs = "SELECT count(*) FROM apalis.jobs WHERE job_type = 'send-push' AND status = 'Done'";
    assert_eq!(pushing.cura.database.count(jobs).await, 6);
    assert_eq!(pushing.fcm.sends().len(), 20);
}

/// Firebase answers 503 for pushes that it delivered: the second takes the place of the first.
#[tokio::test]
async fn what_is_sent_again_takes_the_place_of_what_was_sent() {
    let pushing = Pushing::answering().await;
    let user = pushing.cura.user().await;
    register(&user, "phone").await;
    register(&user, "tablet").await;
    pushing
        .fcm
        .answer_next("phone", [fcm_error(503, "UNAVAILABLE", "", &[])]);
    pushing.ask(&user).await;
    let sent = pushing.fcm.wait_for_sends_to("phone", 2).await;
    pushing.until_done().await;
    let (first, second) = (&sent[0].message, &sent[1].message);
    assert_eq!(first["data"]["push_id"], second["data"]["push_id"]);
    assert_eq!(first["android"]["collapse_key"], second["android"]["collapse_key"]);
    assert_eq!(pushing.fcm.sends_to("tablet").len(), 1, "it has it already");
    let twice = "SELECT count(*) FROM push_sends WHERE attempts = 2 AND outcome = 'sent'";
    assert_eq!(pushing.cura.database.count(twice).await, 1);
}
