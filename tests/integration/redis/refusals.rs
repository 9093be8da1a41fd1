//! A Redis that answers and refuses: it is noticed, told once, and used again when it takes writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use cura_live::{Live, LiveConfig};
use cura_tests::{Proxy, TestRedis, eventually, interrupted_answer};

use super::{until_redis_is, until_the_outage_is_told_once};

/// How a Redis is made to refuse, how that is ended, and a part of what is said of it.
const REFUSALS: [(&str, &str, &str); 5] = [
    ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "replica"),
    ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "out of memory"),
    (
        "CONFIG SET min-replicas-to-write 1",
        "CONFIG SET min-replicas-to-write 0",
        "replicas are missing",
    ),
    (
        "ACL SETUSER default -append",
        "ACL SETUSER default +append",
        "lacks rights",
    ),
    (
        "ACL SETUSER default resetchannels",
        "ACL SETUSER default allchannels",
        "&cura:*",
    ),
];

#[tokio::test]
async fn every_refusal_is_noticed_named_and_ends_by_itself() {
    let redis = TestRedis::start();
    let live = Live::redis(&redis.url(), LiveConfig::default()).unwrap();
    for (refuse, accept, said) in REFUSALS {
        eventually("all is well", async || live.check().await.ok()).await;
        redis.must(refuse);
        eventually(&format!("{refuse} is noticed"), async || {
            live.check().await.err()?.to_string().contains(said).then_some(())
        })
        .await;
        redis.must(accept);
    }
    eventually("all is well", async || live.check().await.ok()).await;
}

#[tokio::test]
async fn a_name_that_leads_to_another_master_is_followed() {
    let (old, new) = (TestRedis::start(), TestRedis::start());
    let port = Arc::new(AtomicU16::new(old.port()));
    let name = Proxy::to_changing_port(Arc::clone(&port)).await;
    let url = format!("redis://127.0.0.1:{}", name.port());
    let mut answer = interrupted_answer().with("REDIS_URL", url).start().await;
    until_redis_is(&answer.cura, "up").await;
    // The old master takes no writes any more, and closes no connection.
    old.must("REPLICAOF 127.0.0.1 1");
    until_redis_is(&answer.cura, "down").await;
    port.store(new.port(), Ordering::Relaxed);
    until_redis_is(&answer.cura, "up").await;
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    until_the_outage_is_told_once(&answer.cura).await;
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_stream_goes_on_word_by_word_when_redis_takes_writes_again() {
    for (refuse, accept, _) in [REFUSALS[0], REFUSALS[1], REFUSALS[4]] {
        let mut answer = interrupted_answer().with("RATE_LIMIT_DEFAULT", "1000000").start().await;
        until_redis_is(&answer.cura, "up").await;
        answer.cura.redis.must(refuse);
        until_redis_is(&answer.cura, "down").await;
        answer.cura.redis.must(accept);
        until_redis_is(&answer.cura, "up").await;
        // Only the last word is missing, and it comes only when it may: what is read now came through Redis or a checkpoint.
        answer.finish().await;
        assert_eq!(answer.text_seen(), answer.text(), "{refuse}");
        until_the_outage_is_told_once(&answer.cura).await;
        let again = answer.user.stream("And now?").await.rest().await;
        let chunks = again.iter().filter(|event| event.name == "chunk").count();
        assert!(chunks > 1, "{refuse}: {chunks} chunks");
        answer.cura.check_invariants().await;
    }
}

#[tokio::test]
async fn the_limiter_says_that_it_counts_alone() {
    let answer = interrupted_answer().with("RATE_LIMIT_DEFAULT", "1000000").start().await;
    answer.cura.redis.must("CONFIG SET maxmemory 1");
    until_redis_is(&answer.cura, "down").await;
    assert_eq!(answer.user.get("/conversations").await.status, 200);
    let server = &answer.cura.servers[0].program;
    server.wait_for_log("each server counts rate limits by itself").await;
    answer.cura.redis.must("CONFIG SET maxmemory 0");
    eventually("it counts with the others", async || {
        answer.user.get("/conversations").await;
        server.logs().contains("servers share rate limits").then_some(())
    })
    .await;
    until_the_outage_is_told_once(&answer.cura).await;
}
