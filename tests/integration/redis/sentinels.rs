//! Cura on a master that sentinels watch.

use cura_tests::{TestRedisSentinels, interrupted_answer};

use super::{until_redis_is, until_the_outage_is_told_once};

#[tokio::test]
async fn a_killed_master_is_replaced_and_no_word_is_lost() {
    let mut redis = TestRedisSentinels::start();
    let mut answer = interrupted_answer()
        .servers(2)
        .with("REDIS_URL", redis.url())
        .start()
        .await;
    until_redis_is(&answer.cura, "up").await;
    redis.servers[0].kill();
    until_redis_is(&answer.cura, "down").await;
    // The sentinels promote the replica.
    until_redis_is(&answer.cura, "up").await;
    let other = answer.cura.servers[1].base.clone();
    answer.let_finish();
    answer.read_rest_at(&other).await;
    assert_eq!(answer.text_seen(), answer.text());
    until_the_outage_is_told_once(&answer.cura).await;
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_stale_sentinel_does_not_hide_the_others() {
    let redis = TestRedisSentinels::start();
    let stale = TestRedisSentinels::start_stale_sentinel();
    let good = &redis.sentinels[0];
    for (first, second) in [(&stale, good), (good, &stale)] {
        let (first, second) = (first.port(), second.port());
        let url = format!("redis-sentinel://127.0.0.1:{first},127.0.0.1:{second}/mymaster");
        let mut answer = interrupted_answer().with("REDIS_URL", url).start().await;
        until_redis_is(&answer.cura, "up").await;
        answer.finish().await;
        assert_eq!(answer.text_seen(), answer.text());
        let logs = answer.cura.logs();
        assert!(!logs.contains("REDIS_URL names a Redis"), "{logs}");
        answer.cura.check_invariants().await;
    }
}

#[tokio::test]
async fn a_frozen_master_that_wakes_as_a_replica_is_left() {
    let mut redis = TestRedisSentinels::start();
    // One sentinel less is still a majority.
    redis.sentinels[0].kill();
    let mut answer = interrupted_answer().with("REDIS_URL", redis.url()).start().await;
    until_redis_is(&answer.cura, "up").await;
    redis.servers[0].signal("STOP");
    until_redis_is(&answer.cura, "down").await;
    until_redis_is(&answer.cura, "up").await;
    redis.servers[0].signal("CONT");
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    let again = answer.user.stream("And now?").await.rest().await;
    assert_eq!(again.last().unwrap().name, "complete");
    answer.cura.check_invariants().await;
}
