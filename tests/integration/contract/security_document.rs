//! `docs/SECURITY.md` names every limit and cap with its value, and the values are those of the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../../docs/SECURITY.md");
const SETTINGS: &str = include_str!("../../../.env.example");
pub(super) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What only operators and developers touch: the private Postgres of `cura-server dev`, the rules file, and the jobs' own table.
const ELSEWHERE: [&str; 3] = ["src/devdb/", "src/care/", "src/queue/payloads.rs"];
/// How the names of limits and caps begin or end.
const BEGINNINGS: [&str; 1] = ["MAX_"];
const ENDS: [&str; 7] = [
    "_LIMIT",
    "_TIMEOUT",
    "_LIFETIME",
    "_PER_SECOND",
    "_PER_MINUTE",
    "_BUDGET",
    "_CAP",
];

/// The constants of the code, by their place: `src/app/sessions.rs: MAX_SESSIONS` → `100`.
fn constants_of_the_code() -> BTreeMap<String, String> {
    let mut constants = BTreeMap::new();
    for folder in ["src", "jobs", "bin"] {
        for file in sources(&Path::new(ROOT).join(folder)) {
            let path = file.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
            if ELSEWHERE.iter().any(|place| path.starts_with(place)) || path.contains("/tests") {
                continue;
            }
            let source = std::fs::read_to_string(&file).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            let found = code.lines().filter_map(constant);
            constants.extend(found.map(|(name, value)| (format!("{path}: {name}"), value.to_owned())));
        }
    }
    constants
}

/// Whether the constant at this place is a limit or a cap, by its name.
fn is_limit(place: &str) -> bool {
    let name = place.rsplit(' ').next().unwrap();
    BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) || ENDS.iter().any(|end| name.ends_with(end))
}

/// The files of Rust in a folder and those below it.
pub(super) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Name and value, if the line is a constant.
fn constant(line: &str) -> Option<(&str, &str)> {
    let (before, value) = line.strip_suffix(';')?.split_once(" = ")?;
    let (before, _type) = before.split_once(": ")?;
    let (visibility, name) = before.rsplit_once("const ")?;
    let visibility = visibility.trim();
    (visibility.is_empty() || visibility.starts_with("pub")).then_some((name, value))
}

/// What the last column of the tables names, in backticks: constants with their values, and settings with their defaults.
fn named_in_the_document() -> BTreeSet<&'static str> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    let last = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit(" | ").next());
    last.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_limit_of_the_code_is_in_the_document() {
    let named = named_in_the_document();
    let mut limits = constants_of_the_code();
    limits.retain(|place, _| is_limit(place));
    assert!(limits.len() > 50, "{limits:?}");
    let lines = limits.iter().map(|(place, value)| format!("{place} = {value}"));
    let missing: Vec<String> = lines.filter(|line| !named.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/SECURITY.md:\n{}", missing.join("\n"));
}

#[test]
fn every_limit_of_the_document_is_in_the_code() {
    let constants = constants_of_the_code().into_iter();
    let lines: BTreeSet<String> = constants.map(|(place, value)| format!("{place} = {value}")).collect();
    let settings: BTreeSet<&str> = SETTINGS.lines().collect();
    let stale: Vec<&str> = named_in_the_document()
        .into_iter()
        .filter(|named| !lines.contains(*named) && !settings.contains(named))
        .collect();
    assert!(
        stale.is_empty(),
        "not in the code, nor in .env.example:\n{}",
        stale.join("\n")
    );
}
