//! A Redis that cannot be used is refused at the start, by name and with the cure.

use cura_live::{Live, LiveConfig};
use cura_tests::{Program, TestDatabase, TestRedis, TestRedisCluster, TestRedisSentinels, eventually};

/// What is wrong with the Redis at `url`.
async fn trouble_with(url: &str) -> String {
    let live = Live::redis(url, LiveConfig::default()).unwrap();
    eventually("the trouble is found", async || {
        let trouble = live.check().await.err()?.to_string();
        // Until it is found, there is no answer yet.
        (!trouble.starts_with("that does not answer")).then_some(trouble)
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_cure() {
    let open = TestRedis::start();
    let closed = TestRedis::start();
    closed.must("CONFIG SET requirepass right");
    let deaf = TestRedis::start();
    deaf.must("ACL SETUSER default resetchannels");
    let poor = TestRedis::start();
    poor.must("ACL SETUSER default -zadd");
    let (port, closed_port) = (open.port(), closed.port());
    for (url, cure) in [
        (closed.url(), "user:password@"),
        (format!("redis://:wrong@127.0.0.1:{closed_port}"), "user:password@"),
        (format!("redis://127.0.0.1:{port}/99"), "correct the number"),
        (deaf.url(), "&cura:*"),
        (poor.url(), "+@write"),
        (format!("rediss://127.0.0.1:{port}"), "write redis://"),
        (format!("redis-cluster://127.0.0.1:{port}"), "write redis://"),
        (
            format!("redis-sentinel://127.0.0.1:{port}/mymaster"),
            "name the sentinels",
        ),
        ("redis://127.0.0.1:1".to_owned(), "start it"),
        ("redis-cluster://127.0.0.1:1,127.0.0.1:2".to_owned(), "start it"),
        ("redis-sentinel://127.0.0.1:1/mymaster".to_owned(), "start them"),
    ] {
        let trouble = trouble_with(&url).await;
        assert!(trouble.contains(cure), "{url}: {trouble}");
        assert!(!trouble.contains("wrong"), "{trouble}");
    }
}

#[tokio::test]
async fn these_rights_are_enough() {
    let redis = TestRedis::start();
    redis.must(
        "ACL SETUSER cura on >secret ~cura:* &cura:* +@read +@write +@scripting +@pubsub +@connection +time +cluster|slots",
    );
    redis.must("ACL SETUSER default off");
    let live = Live::redis(
        &format!("redis://cura:secret@127.0.0.1:{}", redis.port()),
        LiveConfig::default(),
    );
    let live = live.unwrap();
    eventually("all is well", async || live.check().await.ok()).await;
}

#[tokio::test]
async fn a_node_of_a_cluster_is_named_as_one() {
    let cluster = TestRedisCluster::start();
    for node in &cluster.nodes {
        let trouble = trouble_with(&node.url()).await;
        assert!(trouble.contains("redis-cluster://"), "{trouble}");
    }
}

#[tokio::test]
async fn a_master_that_sentinels_do_not_know_is_named() {
    let sentinels = TestRedisSentinels::start();
    let trouble = trouble_with(&sentinels.url().replace("mymaster", "yourmaster")).await;
    assert!(trouble.contains("do not know this master"), "{trouble}");
}

#[tokio::test]
async fn a_program_says_it_in_one_line_and_ends() {
    let (database, redis) = (TestDatabase::create().await, TestRedis::start());
    redis.must("ACL SETUSER default resetchannels");
    let at = |redis_url: String| {
        [
            ("DATABASE_URL", database.url()),
            ("REDIS_URL", redis_url),
            ("PORT", "0".to_owned()),
        ]
    };
    for (url, said) in [
        (redis.url(), "error: REDIS_URL names a Redis whose user lacks rights"),
        (
            "redis://a:6379,b:6379".to_owned(),
            "error: REDIS_URL is not a Redis URL",
        ),
    ] {
        for program in ["cura-server", "cura-worker"] {
            let mut program = Program::start(program, &[], &at(url.clone()));
            assert_eq!(program.ended().await, Some(1));
            let logs = program.logs();
            let lines: Vec<&str> = logs.lines().filter(|line| !line.contains("slow threshold")).collect();
            assert!(lines.len() == 1 && lines[0].starts_with(said), "{logs}");
        }
    }
}
