//! What people read of files.

use std::fmt::Write;

use cura_app::operate::files::{KnownFile, ObjectState, Rescanned, ShownFile};
use cura_domain::file::{FileStatus, Finding, KnownReason};

use crate::commands::text::{fields, or_dash, table, time};

pub(super) fn list(files: &[KnownFile]) -> String {
    let rows: Vec<[String; 7]> = files
        .iter()
        .map(|file| {
            [
                file.id.to_string(),
                file.user_id.to_string(),
                file.content_type.to_owned(),
                file.size.to_string(),
                status(file),
                findings(&file.findings),
                time(file.created_at),
            ]
        })
        .collect();
    table(["ID", "USER", "TYPE", "BYTES", "STATUS", "FINDINGS", "CREATED"], &rows)
}

pub(super) fn details(shown: &ShownFile) -> String {
    let (details, file) = (&shown.details, &shown.details.file);
    let pictures: Vec<String> = details
        .pictures
        .iter()
        .map(|picture| {
            let stored = if picture.is_stored { "" } else { ", not stored yet" };
            let (variant, width, height) = (picture.variant.as_str(), picture.width, picture.height);
            format!(
                "{variant} {width}×{height} ({}, {} bytes{stored})",
                picture.content_type, picture.size
            )
        })
        .collect();
    let text = details.text.map(|text| {
        let of = text.page_count.map(|count| format!(" of {count}"));
        let cut = if text.is_cut { ", cut" } else { "" };
        format!(
            "{}{} pages, {} bytes{cut}",
            text.pages,
            of.unwrap_or_default(),
            text.size
        )
    });
    let messages: Vec<String> = details.message_ids.iter().map(ToString::to_string).collect();
    let scan = match (file.status, shown.scan_is_queued) {
        (FileStatus::Scanning, true) => "queued".to_owned(),
        (FileStatus::Scanning, false) => "has no job: `cura-admin files rescan` enqueues one".to_owned(),
        _ => "–".to_owned(),
    };
    let postponed = details.postponed_since.map(|since| format!("since {}", time(since)));
    fields(&[
        ("file", file.id.to_string()),
        ("user", file.user_id.to_string()),
        ("type", file.content_type.to_owned()),
        ("bytes", file.size.to_string()),
        ("sha256", details.sha256.clone()),
        ("status", status(file)),
        ("scan", scan),
        ("put off", or_dash(postponed)),
        ("findings", findings(&file.findings)),
        ("pictures", or_none(pictures.join("; "))),
        ("text", or_dash(text)),
        ("messages", or_none(messages.join(", "))),
        ("object", object(shown.object).to_owned()),
        ("created", time(file.created_at)),
        ("changed", time(file.updated_at)),
    ])
}

pub(super) fn rescanned(rescanned: &Rescanned) -> String {
    let Rescanned {
        enqueued,
        already_scanning,
        without_bytes,
    } = rescanned;
    let mut text =
        format!("{enqueued} files are scanned again\n{already_scanning} files were waiting for their scans already");
    if *without_bytes > 0 {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{without_bytes} files are not in the file store, and are left as they are"
        );
    }
    text
}

/// What is known of it, and why.
fn status(file: &KnownFile) -> String {
    let word = file.status.as_str();
    match &file.reason {
        None => word.to_owned(),
        Some(KnownReason { code, signature: None }) => format!("{word}: {}", code.as_str()),
        Some(KnownReason {
            code,
            signature: Some(signature),
        }) => format!("{word}: {} ({signature})", code.as_str()),
    }
}

fn findings(findings: &[Finding]) -> String {
    let words: Vec<&str> = findings.iter().map(|finding| finding.as_str()).collect();
    or_none(words.join(", "))
}

const fn object(state: ObjectState) -> &'static str {
    match state {
        ObjectState::Present => "in the file store",
        ObjectState::Damaged => "in the file store, but not as long as it should be",
        ObjectState::Missing => "not in the file store",
        ObjectState::Unknown => "unknown: the file store could not be asked, or its folder is not on this machine",
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() { "–".to_owned() } else { text }
}
