//! Cura on a Redis Cluster of three masters.

use std::num::NonZeroU32;
use std::time::Duration;

use cura_domain::{MessageId, UserId};
use cura_live::{Live, LiveConfig, Liveness, RateLimiter, Signal};
use cura_tests::{TestRedisCluster, eventually, interrupted_answer};

use super::{until_redis_is, until_the_outage_is_told_once};

/// Two processes on one cluster.
async fn pair(cluster: &TestRedisCluster) -> (Live, Live) {
    let config = LiveConfig {
        timeout: Duration::from_secs(5),
        ..LiveConfig::default()
    };
    let [one, other] = [(); 2].map(|()| Live::redis(&cluster.url(), config).unwrap());
    for live in [&one, &other] {
        eventually("the cluster is there", async || live.check().await.ok()).await;
    }
    (one, other)
}

#[tokio::test]
async fn signals_watchers_limits_and_failures_are_shared_on_every_node() {
    let cluster = TestRedisCluster::start();
    let (one, other) = pair(&cluster).await;
    let five = NonZeroU32::new(5).unwrap();
    let limiters = [(); 2].map(|()| RateLimiter::redis(&cluster.url(), *one.config()).unwrap());
    let [here, there] = limiters.map(|limiter| limiter.limit("chat", five));
    let (waits_here, waits_there) = (one.failure_waits("sign_in", five), other.failure_waits("sign_in", five));
    // Their keys are spread over all nodes.
    for n in 0..12 {
        let user = UserId(n);
        let mut watch = one.watch_user(user);
        let watcher = one.watcher(user, Liveness::Assumed);
        eventually("somebody watches", async || other.is_watched(user).await.then_some(())).await;
        let answer = MessageId(n);
        assert!(other.look_at_end(user, answer).await);
        watcher.leave_in_order();
        eventually("nobody watches", async || (!other.is_watched(user).await).then_some(())).await;
        assert!(other.last_look(user, answer).await.closed_in_order);
        let arrived = async { while watch.next().await != Signal::Logged(7) {} };
        // The user may not be subscribed to yet.
        let publishing = async {
            loop {
                let _ = other.publish_to_user(user, Signal::Logged(7)).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let received = tokio::time::timeout(Duration::from_secs(60), arrived);
        tokio::select! {
            received = received => received.unwrap(),
            () = publishing => {}
        }
        let key = format!("user-{n}");
        for limit in [&here, &there, &here, &there, &here] {
            assert!(limit.spend(&key).await.allowed);
        }
        assert!(!there.spend(&key).await.allowed, "five of both are spent");
        for waits in [&waits_here, &waits_there, &waits_here, &waits_there, &waits_here] {
            waits.begin(&key).await.unwrap();
        }
        assert!(waits_there.look(&key).await.is_err(), "five of both have failed");
    }
}

#[tokio::test]
async fn an_answer_streams_and_resumes_at_another_server() {
    let cluster = TestRedisCluster::start();
    let mut answer = interrupted_answer()
        .servers(2)
        .with("REDIS_URL", cluster.url())
        .start()
        .await;
    until_redis_is(&answer.cura, "up").await;
    let other = answer.cura.servers[1].base.clone();
    answer.let_finish();
    answer.read_rest_at(&other).await;
    assert_eq!(answer.text_seen(), answer.text());
    assert!(
        !answer.cura.logs().contains("REDIS_URL names a Redis"),
        "{}",
        answer.cura.logs()
    );
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_lost_node_costs_no_word_and_is_used_again() {
    let mut cluster = TestRedisCluster::start();
    let mut answer = interrupted_answer()
        .servers(2)
        .with("REDIS_URL", cluster.url())
        .start()
        .await;
    until_redis_is(&answer.cura, "up").await;
    let its_node = cluster.master_of(&format!("cura:answer:{{{}}}:text", answer.id()));
    cluster.nodes[its_node].kill();
    until_redis_is(&answer.cura, "down").await;
    cluster.nodes[its_node].restart();
    cluster.wait_until_whole();
    until_redis_is(&answer.cura, "up").await;
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    until_the_outage_is_told_once(&answer.cura).await;
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn the_other_nodes_go_on_while_one_is_lost() {
    let mut cluster = TestRedisCluster::start();
    let (one, other) = pair(&cluster).await;
    let master_of = |n: &i64| cluster.master_of(&format!("cura:user:{{{n}}}:present"));
    let elsewhere: Vec<i64> = (0..30).filter(|n| master_of(n) != 0).collect();
    cluster.nodes[0].kill();
    let watchers: Vec<_> = (0..30).map(|n| one.watcher(UserId(n), Liveness::Assumed)).collect();
    for n in elsewhere {
        eventually("those on other nodes watch", async || {
            other.is_watched(UserId(n)).await.then_some(())
        })
        .await;
    }
    assert!(other.check().await.is_err());
    drop(watchers);
}

#[tokio::test]
async fn a_replica_takes_over_from_its_master() {
    let mut cluster = TestRedisCluster::start_with_replica();
    let mut answer = interrupted_answer().with("REDIS_URL", cluster.url()).start().await;
    until_redis_is(&answer.cura, "up").await;
    cluster.nodes[0].kill();
    until_redis_is(&answer.cura, "down").await;
    // Nobody restarts it.
    until_redis_is(&answer.cura, "up").await;
    answer.finish().await;
    assert_eq!(answer.text_seen(), answer.text());
    until_the_outage_is_told_once(&answer.cura).await;
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_slot_that_is_being_moved_is_followed() {
    let cluster = TestRedisCluster::start();
    let (one, other) = pair(&cluster).await;
    let slot = cluster.nodes[0].command("CLUSTER KEYSLOT cura:user:{5}:present");
    let slot = slot.trim_start_matches(':').trim().to_owned();
    let from = cluster.master_of("cura:user:{5}:present");
    let to = (from + 1) % 3;
    let ids = [from, to].map(|n| {
        let id = cluster.nodes[n].command("CLUSTER MYID");
        id.lines().nth(1).unwrap().to_owned()
    });
    let is_watched = async || other.is_watched(UserId(5)).await;
    let _watcher = one.watcher(UserId(5), Liveness::Assumed);
    eventually("watched", async || is_watched().await.then_some(())).await;
    cluster.nodes[to].must(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", ids[0]));
    cluster.nodes[from].must(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", ids[1]));
    // The key is still where it was; then it is where it goes.
    assert!(is_watched().await);
    let port = cluster.nodes[to].port();
    // On a busy machine a node may answer too late, having taken the key: then it is there twice, and the next try replaces it.
    let migrate = format!("MIGRATE 127.0.0.1 {port} cura:user:{{5}}:present 0 5000 REPLACE");
    eventually("the key is where it goes", async || {
        (!cluster.nodes[from].command(&migrate).starts_with('-')).then_some(())
    })
    .await;
    assert!(is_watched().await, "asked for where it goes");
    for node in &cluster.nodes {
        node.must(&format!("CLUSTER SETSLOT {slot} NODE {}", ids[1]));
    }
    assert!(is_watched().await, "the redirection is followed");
    eventually("the new map is known", async || other.check().await.ok()).await;
}
