//! `docker-compose.yml`: a container that is taken over can do little, and nobody reaches one without TLS.

use std::collections::BTreeMap;

const FILE: &str = include_str!("../../../docker-compose.yml");

/// The lines of each service and of each template (`x-…`), by name.
fn blocks() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut blocks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let (mut name, mut in_services) = (None, false);
    for line in FILE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        if indent == 0 && !line.is_empty() {
            in_services = line == "services:";
            name = line.starts_with("x-").then(|| line.split(':').next().unwrap());
        } else if indent == 2 && in_services {
            name = Some(line.trim().trim_end_matches(':'));
        } else if let Some(name) = name {
            blocks.entry(name).or_default().push(line.trim());
        }
    }
    blocks
}

#[test]
fn every_container_is_read_only_and_without_privileges() {
    let blocks = blocks();
    let hardened = &blocks["x-hardened"];
    for setting in [
        "read_only: true",
        "cap_drop: [ALL]",
        "security_opt: [\"no-new-privileges:true\"]",
    ] {
        assert!(hardened.contains(&setting), "{setting}");
    }
    let services = blocks.iter().filter(|(name, _)| !name.starts_with("x-"));
    for (name, lines) in services {
        let template = if lines.contains(&"<<: *cura") {
            &blocks["x-cura"]
        } else {
            lines
        };
        assert!(template.contains(&"<<: *hardened"), "{name}");
        for limit in ["mem_limit: ", "pids_limit: "] {
            assert!(template.iter().any(|line| line.starts_with(limit)), "{name}: {limit}");
        }
        let loosened = ["privileged", "cap_add", "read_only: false", "network_mode"];
        assert!(
            !lines
                .iter()
                .any(|line| loosened.iter().any(|word| line.starts_with(word))),
            "{name}"
        );
    }
}

#[test]
fn a_port_without_tls_is_published_on_this_host_only() {
    let published: Vec<&str> = FILE
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("- \"") && line.ends_with(":8000\""))
        .collect();
    assert_eq!(published, ["- \"127.0.0.1:${PORT:-8000}:8000\""]);
    for name in ["postgres", "redis", "migrate"] {
        assert!(
            blocks()[name].contains(&"networks: [back]"),
            "{name} needs no way out and no way in"
        );
    }
}
