//! A private Redis Cluster.

use super::{TestRedis, free_port, wait_until};

/// A cluster of masters on this machine, the first of them with a replica if the test wants it; stopped when dropped.
pub struct TestRedisCluster {
    /// The masters, each with its share of the slots, and then the replica.
    pub nodes: Vec<TestRedis>,
}

const SLOTS: usize = 16_384;
/// After this time without a sign from it, in milliseconds, a node is taken for lost: long, because a busy machine may leave every
/// node without processor time for a second or two.
const NODE_TIMEOUT: &str = "15000";
/// The same where a replica is to take over.
const FAILOVER_TIMEOUT: &str = "1500";

impl TestRedisCluster {
    /// Three masters. A part of the slots may be away while the others go on.
    pub fn start() -> Self {
        Self::of(3, 3)
    }

    /// Three masters and a replica of the first.
    pub fn start_with_replica() -> Self {
        Self::of(3, 4)
    }

    /// One master, which has all slots.
    pub fn start_of_one() -> Self {
        Self::of(1, 1)
    }

    fn of(masters: usize, nodes: usize) -> Self {
        let timeout = if nodes > masters {
            FAILOVER_TIMEOUT
        } else {
            NODE_TIMEOUT
        };
        let nodes: Vec<TestRedis> = (0..nodes).map(|_| start_node(timeout)).collect();
        for (n, node) in nodes.iter().enumerate() {
            node.must(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1));
            if n < masters {
                let (first, next) = (n * SLOTS / masters, (n + 1) * SLOTS / masters);
                node.must(&format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1));
            }
            if n > 0 {
                let first = &nodes[0];
                node.must(&format!("CLUSTER MEET 127.0.0.1 {} {}", first.port(), bus_port(first)));
            }
        }
        let known = format!("cluster_known_nodes:{}\r", nodes.len());
        // A node learns later which slots another one has than that there is one.
        let whole = format!("cluster_slots_ok:{SLOTS}\r");
        let agree = |node: &TestRedis| {
            let info = node.command("CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains(&known) && info.contains(&whole)
        };
        wait_until("all nodes know each other and every slot", || nodes.iter().all(agree));
        let first = nodes[0].command("CLUSTER MYID");
        let first = first.lines().nth(1).expect("an id").to_owned();
        for replica in nodes.iter().skip(masters) {
            wait_until("the replica may be one", || {
                !replica.command(&format!("CLUSTER REPLICATE {first}")).starts_with('-')
            });
            wait_until("the replica has its master's data", || {
                replica.command("INFO replication").contains("master_link_status:up")
            });
            wait_until("every node knows the replica", || {
                nodes
                    .iter()
                    .all(|node| node.command("CLUSTER SLOTS").matches("*4").count() > 3)
            });
        }
        Self { nodes }
    }

    /// The URL that names two of its nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis-cluster://{},{}", hosts[1], hosts[2])
    }

    /// The number of the master that has `key`.
    pub fn master_of(&self, key: &str) -> usize {
        let slot = self.nodes[0].command(&format!("CLUSTER KEYSLOT {key}"));
        let slot: usize = slot.trim_start_matches(':').trim().parse().expect("a number");
        slot * 3 / SLOTS
    }

    /// Waits until every node that runs finds the cluster whole.
    pub fn wait_until_whole(&self) {
        wait_until("the cluster is whole", || {
            let running = self.nodes.iter().filter(|node| node.server.is_some());
            running.into_iter().all(|node| {
                node.command("CLUSTER INFO")
                    .contains(&format!("cluster_slots_ok:{SLOTS}\r"))
            })
        });
    }
}

fn bus_port(node: &TestRedis) -> String {
    let at = node.arguments.iter().position(|argument| argument == "--cluster-port");
    node.arguments[at.expect("a node") + 1].clone()
}

fn start_node(timeout: &str) -> TestRedis {
    TestRedis::start_as(|_, _| {
        let bus = free_port().to_string();
        let options = [
            ["--cluster-enabled", "yes"],
            ["--cluster-config-file", "nodes.conf"],
            ["--cluster-node-timeout", timeout],
            ["--cluster-require-full-coverage", "no"],
            ["--cluster-port", &bus],
        ];
        options.concat().iter().map(|option| (*option).to_owned()).collect()
    })
}
