//! A private master with a replica, watched by three sentinels.

use super::{TestRedis, wait_until};

/// A master, its replica and three sentinels; stopped when dropped.
pub struct TestRedisSentinels {
    /// The master and the replica, as they were at the start.
    pub servers: Vec<TestRedis>,
    /// The sentinels.
    pub sentinels: Vec<TestRedis>,
}

impl TestRedisSentinels {
    /// Starts them all.
    pub fn start() -> Self {
        let master = TestRedis::start_with(&["--repl-diskless-sync-delay", "0"]);
        let of = ["--replicaof", &format!("127.0.0.1 {}", master.port())];
        let replica = TestRedis::start_with(&of);
        wait_until("the replica has its master's data", || {
            replica.command("INFO replication").contains("master_link_status:up")
        });
        let sentinels: Vec<TestRedis> = (0..3).map(|_| start_sentinel(master.port())).collect();
        let knows_all = |sentinel: &TestRedis| {
            let info = sentinel.command("INFO sentinel");
            info.contains("slaves=1,sentinels=3")
        };
        wait_until("all sentinels know each other and the replica", || {
            sentinels.iter().all(knows_all)
        });
        Self {
            servers: vec![master, replica],
            sentinels,
        }
    }

    /// Starts a sentinel that the others do not know, and that names a master of the past, as one does that is cut off.
    pub fn start_stale_sentinel() -> TestRedis {
        start_sentinel(super::free_port())
    }

    /// The URL that names the sentinels.
    pub fn url(&self) -> String {
        let hosts = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()));
        format!("redis-sentinel://{}/mymaster", hosts.collect::<Vec<_>>().join(","))
    }
}

fn start_sentinel(master: u16) -> TestRedis {
    TestRedis::start_as(|_, folder| {
        let file = folder.join("sentinel.conf");
        let settings = format!(
            "sentinel monitor mymaster 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds mymaster 1000\n\
             sentinel failover-timeout mymaster 5000\n"
        );
        std::fs::write(&file, settings).expect("a file for the sentinel");
        vec![file.display().to_string(), "--sentinel".to_owned()]
    })
}
