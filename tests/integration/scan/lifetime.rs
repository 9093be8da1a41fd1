//! What happens to a file whose child is killed, and to a child whose parent is.

use std::process::{Command, Stdio};

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_providers::scan::{Death, Inspection, SandboxState};
use cura_tests::{eventually, program};
use rustix::process::{Pid, getpgid};

use super::{fixture, misbehaving, scan, started_by_shell};

/// A number in `/proc/…/status`, or the first word; `None` if there is no such process any more.
fn status_of(process: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// The process that this one has started; one has a single child at most here.
fn child_of(process: u32) -> Option<u32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    threads.map_while(Result::ok).find_map(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    })
}

#[tokio::test]
async fn a_file_whose_child_is_killed_twice_gets_a_third_one() {
    for signal in ["KILL", "TERM", "INT", "HUP", "QUIT"] {
        // Each is killed when it has read a part of the file, and leaves a mark.
        let (inspector, _folder) = started_by_shell(&format!(
            r#"for mark in 1 2; do
                if /bin/mkdir "$0.$mark" 2>/dev/null; then /usr/bin/head -c 100 >/dev/null; kill -{signal} $$; fi
            done
            exec "$worker" "$@""#
        ));
        let outcome = scan(&inspector, FileType::Png, &fixture("alpha.png")).await.unwrap();
        assert!(matches!(outcome, Inspection::Inspected(_)), "{signal}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_file_whose_children_are_always_killed_takes_too_much_memory() {
    let (inspector, folder) = started_by_shell(r#"echo >> "$0.starts"; kill -KILL $$"#);
    let outcome = scan(&inspector, FileType::Png, &fixture("alpha.png")).await.unwrap();
    assert_eq!(outcome, Inspection::Died(Death::Memory));
    assert_eq!(Death::Memory.reason(), FileReason::LimitsExceeded);
    let starts = std::fs::read_to_string(folder.path().join("start.starts")).unwrap();
    assert_eq!(starts.lines().count(), 3);
    assert_eq!(
        inspector.probe().await,
        SandboxState::Missing("the child was killed".into())
    );
}

#[tokio::test]
async fn a_signal_to_all_that_its_parent_has_started_does_not_reach_a_child() {
    let (inspector, _folder) = misbehaving("wait");
    let bytes = fixture("alpha.png");
    // Both while the child is there: it is killed as soon as one of the two below has come first.
    let seen = eventually("the child is confined", async || {
        let child = child_of(std::process::id())?;
        (status_of(child, "Seccomp")? == "2").then_some(())?;
        let child = Pid::from_raw(child.try_into().unwrap())?;
        Some((child, getpgid(Some(child)).ok()?))
    });
    tokio::select! {
        outcome = scan(&inspector, FileType::Png, &bytes) => panic!("{outcome:?}"),
        (child, group) = seen => assert_eq!(group, child),
    }
}

#[tokio::test]
async fn a_child_ends_when_its_parent_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let [parent, child] = ["parent", "wait"].map(|behaviour| folder.path().join(behaviour));
    for link in [&parent, &child] {
        std::os::unix::fs::symlink(program::path("sandbox-probe"), link).unwrap();
    }
    let mut parent = Command::new(&parent).arg(&child).spawn().unwrap();
    let child = eventually("the child is confined", async || {
        let child = child_of(parent.id())?;
        (status_of(child, "Seccomp")? == "2").then_some(child)
    })
    .await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("the child has ended", async || {
        // Whoever has inherited it may take its time to ask for its end.
        status_of(child, "State")
            .is_none_or(|state| ["Z", "X"].contains(&state.as_str()))
            .then_some(())
    })
    .await;
}

#[test]
fn a_child_whose_parent_has_ended_before_it_looks_at_nothing() {
    let run = |parent: &[String]| {
        let child = Command::new(program::path("cura-worker"))
            .arg("--inspect-file")
            .args(parent)
            .stdin(Stdio::null())
            .output();
        child.unwrap()
    };
    // Another process than the one that has started it.
    let other = run(&[(std::process::id() + 1).to_string()]);
    assert!(String::from_utf8_lossy(&other.stdout).contains("the parent is gone"));
    for arguments in [&[][..], &["".into()], &["-1".into()], &["x".into()]] {
        let none = run(arguments);
        assert_eq!((none.status.code(), none.stdout.as_slice()), (Some(1), &b""[..]));
    }
}
