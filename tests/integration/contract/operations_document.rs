//! `docs/OPERATIONS.md` says of every alert of pushes and files what to do: its text is a heading there, and no heading is of an
//! alert that is gone.

use std::collections::BTreeSet;
use std::path::Path;

use super::security_document::{ROOT, sources};

const DOCUMENT: &str = include_str!("../../../docs/OPERATIONS.md");
/// Where the alerts are that the document explains, all of them.
const EXPLAINED: [&str; 7] = [
    "jobs/accounts/",
    "jobs/devices/",
    "jobs/files/",
    "src/app/files",
    "src/api/http/multipart",
    "src/providers/push",
    "src/providers/scan",
];

/// The texts of the alerts in the files that are `meant`, by their paths.
fn alerts_of_the_code(meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut alerts = BTreeSet::new();
    for folder in ["src", "jobs", "bin"] {
        for file in sources(&Path::new(ROOT).join(folder)) {
            let path = file.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
            if !meant(&path) {
                continue;
            }
            let source = std::fs::read_to_string(&file).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            for arguments in code.split("tracing::error!(").skip(1) {
                let text = last_text(arguments).unwrap_or_else(|| panic!("an alert without a text in {path}"));
                alerts.insert(text.to_owned());
            }
        }
    }
    alerts
}

/// The last text among the arguments of a macro, up to its closing parenthesis. Texts inside of calls are none of its
/// arguments, and texts of alerts hold no quotes.
fn last_text(arguments: &str) -> Option<&str> {
    let (mut rest, mut depth, mut text) = (arguments, 0_u32, None);
    loop {
        let (before, behind) = rest.split_at(rest.find(['(', ')', '"'])? + 1);
        rest = behind;
        if before.ends_with('(') {
            depth += 1;
        } else if before.ends_with(')') {
            match depth.checked_sub(1) {
                Some(outer) => depth = outer,
                None => return text,
            }
        } else {
            let (quoted, after) = rest.split_once('"')?;
            rest = after;
            if depth == 0 {
                text = Some(quoted);
            }
        }
    }
}

/// The headings of the sections about alerts.
fn alerts_of_the_document() -> BTreeSet<&'static str> {
    let mut headings = BTreeSet::new();
    for section in DOCUMENT.split("\n## ").filter(|section| section.starts_with("Alerts")) {
        headings.extend(section.lines().filter_map(|line| line.strip_prefix("### ")));
    }
    headings
}

#[test]
fn every_alert_of_pushes_and_files_is_a_heading_of_the_document() {
    let alerts = alerts_of_the_code(|path| EXPLAINED.iter().any(|place| path.starts_with(place)));
    assert!(alerts.len() >= 4, "{alerts:?}");
    let headings = alerts_of_the_document();
    let missing: Vec<&String> = alerts
        .iter()
        .filter(|alert| !headings.contains(alert.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/OPERATIONS.md: {missing:#?}");
}

#[test]
fn every_alert_of_the_document_is_in_the_code() {
    let alerts = alerts_of_the_code(|_| true);
    let mut stale = alerts_of_the_document();
    stale.retain(|heading| !alerts.contains(*heading));
    assert!(stale.is_empty(), "not in the code: {stale:#?}");
}

#[test]
fn the_text_of_an_alert_is_its_last_argument_that_is_a_text() {
    for (arguments, text) in [
        (r#""plain"); more("other")"#, Some("plain")),
        (r#"code, "kept (see below)")"#, Some("kept (see below)")),
        (
            r#"host = name("x"), kind = "fcm", "it is {}", why("y"))"#,
            Some("it is {}"),
        ),
        (r#"host = name("x"))"#, None),
    ] {
        assert_eq!(last_text(arguments), text, "{arguments}");
    }
}
