//! The slots of a Redis Cluster: which node has a key.

use std::collections::BTreeSet;

use ::redis::Value;

/// The number of slots of every cluster.
const SLOTS: u16 = 16_384;
/// How many tags are tried until each master has one. A master with a thousandth of the slots has one among the first few thousand.
const MAX_TAGS: u32 = 20_000;

/// A node's host and port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeAddress {
    pub(super) host: String,
    pub(super) port: u16,
}

impl NodeAddress {
    /// Reads `host:port` as a redirection names it; without a host, that of the node that said so.
    pub(super) fn parse(text: &str, said_by: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::of(host, port.parse().ok()?, said_by)
    }

    fn of(host: &str, port: u16, said_by: &str) -> Option<Self> {
        let host = match host.trim_matches(['[', ']']) {
            "?" => return None,
            "" => said_by,
            named => named,
        };
        Some(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Which master has which slots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap(Vec<SlotRange>);

#[derive(Debug, PartialEq, Eq)]
struct SlotRange {
    first: u16,
    last: u16,
    master: NodeAddress,
    replicas: Vec<NodeAddress>,
}

impl SlotMap {
    /// What `CLUSTER SLOTS` answers. `said_by`: the host that was asked, which names itself by an empty text.
    pub(super) fn parse(answer: &Value, said_by: &str) -> Self {
        let mut ranges: Vec<SlotRange> = items(answer)
            .iter()
            .filter_map(|range| {
                let [Value::Int(first), Value::Int(last), nodes @ ..] = items(range) else {
                    return None;
                };
                let mut nodes = nodes.iter().map(|node| parse_node(node, said_by));
                Some(SlotRange {
                    first: u16::try_from(*first).ok()?,
                    last: u16::try_from(*last).ok().filter(|last| *last < SLOTS)?,
                    master: nodes.next()??,
                    replicas: nodes.flatten().collect(),
                })
            })
            .collect();
        ranges.sort_by_key(|range| range.first);
        Self(ranges)
    }

    /// The master that has `slot`.
    pub(super) fn master_of(&self, slot: u16) -> Option<&NodeAddress> {
        let before = self.0.partition_point(|range| range.first <= slot);
        let range = self.0.get(before.checked_sub(1)?)?;
        (slot <= range.last).then_some(&range.master)
    }

    /// Each master.
    pub(super) fn masters(&self) -> BTreeSet<&NodeAddress> {
        self.0.iter().map(|range| &range.master).collect()
    }

    /// A hash tag for each master: what it names is kept there.
    pub(super) fn tags(&self) -> Vec<String> {
        let mut missing = self.masters();
        let mut tags = Vec::new();
        for tag in (0..MAX_TAGS).map(|n| n.to_string()) {
            if missing.is_empty() {
                break;
            }
            if self
                .master_of(slot_of(&tag))
                .is_some_and(|master| missing.remove(master))
            {
                tags.push(tag);
            }
        }
        tags
    }

    /// Every node, masters first.
    pub(super) fn nodes(&self) -> Vec<&NodeAddress> {
        let replicas: BTreeSet<_> = self.0.iter().flat_map(|range| &range.replicas).collect();
        self.masters().into_iter().chain(replicas).collect()
    }

    /// Whether every slot has a master.
    pub(super) fn is_whole(&self) -> bool {
        let next = self
            .0
            .iter()
            .try_fold(0, |next, range| (range.first <= next).then(|| next.max(range.last + 1)));
        next == Some(SLOTS)
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn parse_node(node: &Value, said_by: &str) -> Option<NodeAddress> {
    let [host, Value::Int(port), ..] = items(node) else {
        return None;
    };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    NodeAddress::of(host, u16::try_from(*port).ok()?, said_by)
}

/// The slot of `key`: of the part in its first braces, if there is one.
pub(super) fn slot_of(key: &str) -> u16 {
    let in_braces = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = in_braces.map(|(part, _)| part).filter(|part| !part.is_empty());
    crc16(hashed.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16 as XMODEM has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, nodes: &[(&str, i64)]) -> Value {
        let node = |(host, port): &(&str, i64)| {
            Value::Array(vec![Value::BulkString(host.as_bytes().to_vec()), Value::Int(*port)])
        };
        let mut range = vec![Value::Int(first), Value::Int(last)];
        range.extend(nodes.iter().map(node));
        Value::Array(range)
    }

    #[test]
    fn a_slot_is_the_one_that_redis_computes() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{user}.a", 5474),
            ("user", 5474),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_eq!(slot_of("a{}b"), crc16(b"a{}b") % SLOTS);
        assert_eq!(slot_of("cura:answer:{7}:state"), slot_of("7"));
    }

    #[test]
    fn a_map_names_the_master_of_each_slot() {
        let answer = Value::Array(vec![
            range(8192, 16_383, &[("", 2)]),
            range(0, 8191, &[("10.0.0.1", 1), ("10.0.0.3", 3)]),
        ]);
        let map = SlotMap::parse(&answer, "asked");
        assert!(map.is_whole());
        assert_eq!(map.master_of(8191), NodeAddress::parse("10.0.0.1:1", "").as_ref());
        assert_eq!(map.master_of(8192), NodeAddress::parse("asked:2", "").as_ref());
        assert_eq!(map.masters().len(), 2);
        assert_eq!(map.nodes().len(), 3);
        let tags: BTreeSet<_> = map.tags().iter().map(|tag| map.master_of(slot_of(tag))).collect();
        assert_eq!(tags.len(), 2, "each master has a tag");
    }

    #[test]
    fn a_map_with_a_hole_or_of_nonsense_is_not_whole() {
        let hole = SlotMap::parse(&Value::Array(vec![range(1, 16_383, &[("a", 1)])]), "");
        assert!(!hole.is_whole() && hole.master_of(0).is_none());
        for odd in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![
                range(0, 99_999, &[("a", 1)]),
                range(-1, 3, &[("a", 1)]),
                range(0, 1, &[]),
            ]),
        ] {
            assert_eq!(SlotMap::parse(&odd, ""), SlotMap::default());
        }
    }

    #[test]
    fn a_redirection_names_a_node() {
        let node = |text| NodeAddress::parse(text, "asked").map(|node| (node.host, node.port));
        assert_eq!(node("10.0.0.1:7"), Some(("10.0.0.1".to_owned(), 7)));
        assert_eq!(node(":7"), Some(("asked".to_owned(), 7)));
        assert_eq!(node("::1:7"), Some(("::1".to_owned(), 7)));
        assert_eq!(node("nothing"), None);
        assert_eq!(node("?:7"), None);
    }
}
