//! Servers and workers that are asked to stop: streams end, answers are released, and both go on elsewhere.

use std::time::Duration;

use cura_tests::client::{names, text_after};
use cura_tests::provider::{Latch, words};
use cura_tests::{Cura, ScriptedProvider};

#[tokio::test]
async fn a_server_that_is_asked_to_stop_ends_its_streams_and_the_other_one_goes_on() {
    let words = words(100);
    let text = words.concat();
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&words, Duration::from_millis(10), &latch).await;
    let mut cura = Cura::builder().servers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = vec![stream.next().await.unwrap(), stream.next().await.unwrap()];
    cura.servers[0].program.signal("TERM");
    seen.extend(stream.rest().await);
    assert_ne!(seen.last().unwrap().name, "complete");
    assert_eq!(cura.servers[0].program.ended().await, Some(0));
    latch.open();
    let answer = seen[0].data["message_id"].as_i64().unwrap();
    let cursor = seen.last().unwrap().id.clone();
    seen.extend(
        user.at(&cura.servers[1].base)
            .resume(answer, Some(&cursor))
            .await
            .rest()
            .await,
    );
    assert_eq!(text_after("", &seen), text);
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_hands_its_answers_over() {
    let words = words(100);
    let text = words.concat();
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&words, Duration::from_millis(20), &latch).await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("SHUTDOWN_GRACE_SECONDS", "0")
        .start()
        .await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = stream.until_word(&words[18]).await;
    cura.add_worker().await;
    cura.workers[0].signal("TERM");
    assert_eq!(cura.workers[0].ended().await, Some(0));
    latch.open();
    seen.extend(stream.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(seen.last().unwrap().name, "complete");
    cura.check_invariants().await;
}

#[tokio::test]
async fn a_shutdown_hands_over_at_a_chunk_and_spends_no_attempt() {
    let words = words(150);
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&words, Duration::from_millis(40), &latch).await;
    let mut cura = Cura::builder()
        .with_provider(&provider)
        .with("SHUTDOWN_GRACE_SECONDS", "2")
        .start()
        .await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = stream.until_word(&words[8]).await;
    cura.add_worker().await;
    cura.workers[0].signal("TERM");
    assert_eq!(cura.workers[0].ended().await, Some(0));
    latch.open();
    seen.extend(stream.rest().await);
    assert!(!names(&seen).contains(&"reset"), "{:?}", names(&seen));
    assert_eq!(text_after("", &seen), words.concat());
    let spent = cura
        .database
        .count("SELECT attempts::bigint FROM apalis.jobs WHERE job_type = 'generate-answer'")
        .await;
    assert_eq!(spent, 1);
    let handed = "SELECT count(*) FROM answer_attempts WHERE outcome = 'handed_over'";
    assert_eq!(
        cura.database.count(handed).await,
        1,
        "what it cost until then is written down"
    );
    cura.check_invariants().await;
}
