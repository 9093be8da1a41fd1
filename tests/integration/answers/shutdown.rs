//! Servers and workers that are asked to stop: streams end, answers are released, and both go on elsewhere.

use std::time::Duration;

use cura_tests::client::names;
use cura_tests::interrupted_answer;

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_its_streams_and_the_other_one_goes_on() {
    let mut answer = interrupted_answer()
        .words(100, Duration::from_millis(10))
        .read(1)
        .servers(2)
        .start()
        .await;
    answer.cura.servers[0].program.signal("TERM");
    answer.read_rest().await;
    assert_ne!(answer.last().name, "complete");
    assert_eq!(answer.cura.servers[0].program.ended().await, Some(0));
    answer.let_finish();
    let other = answer.cura.servers[1].base.clone();
    answer.read_rest_at(&other).await;
    assert_eq!(answer.text_seen(), answer.text());
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_that_shuts_down_releases_its_answers() {
    let mut answer = interrupted_answer().with("SHUTDOWN_GRACE_SECONDS", "0").start().await;
    answer.cura.add_worker().await;
    answer.cura.workers[0].signal("TERM");
    assert_eq!(answer.cura.workers[0].ended().await, Some(0));
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    assert_eq!(answer.last().name, "complete");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_shutdown_releases_an_answer_at_a_chunk_and_spends_no_attempt() {
    let mut answer = interrupted_answer()
        .words(150, Duration::from_millis(40))
        .read(9)
        .with("SHUTDOWN_GRACE_SECONDS", "2")
        .start()
        .await;
    answer.cura.add_worker().await;
    answer.cura.workers[0].signal("TERM");
    assert_eq!(answer.cura.workers[0].ended().await, Some(0));
    answer.finish().await;
    let names = names(&answer.seen);
    assert!(!names.contains(&"reset"), "{names:?}");
    assert_eq!(answer.text_seen(), answer.text());
    let spent = "SELECT attempts::bigint FROM apalis.jobs WHERE job_type = 'generate-answer'";
    assert_eq!(answer.cura.database.count(spent).await, 1);
    let handed = "SELECT count(*) FROM answer_attempts WHERE outcome = 'released'";
    let recorded = answer.cura.database.count(handed).await;
    assert_eq!(recorded, 1, "what it cost until then is recorded");
    answer.cura.check_invariants().await;
}
