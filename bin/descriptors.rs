//! File descriptors: each connection is one, and a process that has none left can neither accept a connection nor ask Postgres.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most connections of clients that one server holds.
const MAX_CONNECTIONS: usize = 10_000;
/// What is not a client's connection: Redis, the AI provider, logs, files. Connections to Postgres come on top.
const RESERVED: usize = 256;
/// What a server tries to hold, however few descriptors there are.
const MIN_CONNECTIONS: usize = 16;

/// Raises the soft limit to the hard one: its default of 1,024 is made for programs that use `select`.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of file descriptors cannot be raised");
    }
}

/// How many connections of clients this process can hold, when `others` descriptors are needed for something else.
pub fn max_connections(others: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let connections = connections_within(limit, others);
    if connections < MAX_CONNECTIONS {
        tracing::warn!(
            connections,
            descriptors = limit,
            "fewer connections than usual: the hard limit of file descriptors is low"
        );
    }
    connections
}

fn connections_within(limit: usize, others: usize) -> usize {
    let left = limit.saturating_sub(RESERVED).saturating_sub(others);
    left.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_of_whatever_descriptors_there_are() {
        for (limit, others, connections) in [
            (usize::MAX, 80, 10_000),
            (20_000, 80, 10_000),
            (4_096, 80, 3_760),
            (1_024, 80, 688),
            (300, 80, 16),
        ] {
            assert_eq!(connections_within(limit, others), connections, "{limit}");
        }
    }
}
