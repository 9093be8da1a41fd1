//! How children come and go: none is left, and their parent stays small.

use std::os::fd::AsRawFd;
use std::time::Duration;

use cura_domain::file_type::FileType;
use cura_inspection::Wanted;
use cura_providers::scan::{Death, InspectError, Inspection};
use cura_tests::eventually;
use futures_util::future::join_all;

use super::{assert_the_next_one_is_inspected, file_of, fixture, inspector, misbehaving, scan};

/// The processes that this one has started and that are there, also those that have ended and were not waited for.
fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name in brackets: the state, then the parent.
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&own))
    })
    .collect()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Whether a descriptor of this process stays open in programs that it starts.
fn is_left_open(descriptor: &str) -> bool {
    const CLOSED_THERE: u32 = 0o2_000_000;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).unwrap() & CLOSED_THERE == 0)
}

/// A number of KiB in `/proc/self/status`.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_child_along() {
    let (inspector, _folder) = misbehaving("sleep");
    let before = descriptors();
    let (file, size) = file_of(&fixture("alpha.png"));
    let child = {
        let inspecting = inspector.inspect(FileType::Png, Wanted::Scan, file, size);
        let started = eventually("the child has started its program", async || {
            let child = children().first().copied()?;
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name == "sleep\n").then_some(child)
        });
        tokio::select! {
            outcome = inspecting => panic!("{outcome:?}"),
            child = started => child,
        }
    };
    eventually("the child is gone", async || {
        (!children().contains(&child)).then_some(())
    })
    .await;
    eventually("its pipes are closed", async || (descriptors() <= before).then_some(())).await;
}

#[tokio::test]
async fn a_child_inherits_nothing() {
    let (inspector, _folder) = misbehaving("sleep");
    // Something that it could inherit.
    let open = std::fs::File::open("/etc/passwd").unwrap();
    let (file, size) = file_of(&fixture("alpha.png"));
    let seen = eventually("the child has started its program", async || {
        let child = children().first().copied()?;
        let of = |what: &str| format!("/proc/{child}/{what}");
        (std::fs::read_to_string(of("comm")).ok()? == "sleep\n").then_some(())?;
        let variables = std::fs::read_to_string(of("environ")).ok()?;
        let names: Vec<String> = variables
            .split_terminator('\0')
            .map(|it| it.split('=').next().unwrap().to_owned())
            .collect();
        let mut descriptors: Vec<_> = std::fs::read_dir(of("fd"))
            .ok()?
            .map(|fd| fd.unwrap().file_name())
            .collect();
        descriptors.sort();
        Some((
            names,
            std::fs::read_link(of("cwd")).ok()?,
            descriptors,
            std::fs::read_link(of("fd/2")).ok()?,
        ))
    });
    let (variables, folder, descriptors, errors) = tokio::select! {
        outcome = inspector.inspect(FileType::Png, Wanted::Scan, file, size) => panic!("{outcome:?}"),
        seen = seen => seen,
    };
    assert_eq!(variables, ["_RJEM_MALLOC_CONF"]);
    assert_eq!(folder.to_str(), Some("/"));
    // What the test runner has left open for everybody cannot be used: only the first three may be read and written.
    let further = descriptors
        .iter()
        .filter(|descriptor| !["0", "1", "2"].contains(&descriptor.to_str().unwrap()));
    for descriptor in further {
        assert!(is_left_open(descriptor.to_str().unwrap()), "{descriptor:?}");
    }
    assert!(!is_left_open(&open.as_raw_fd().to_string()));
    assert_eq!(errors.to_str(), Some("/dev/null"));
}

#[tokio::test]
async fn many_files_leave_no_process_and_no_descriptor_and_little_memory() {
    let inspector = inspector();
    assert_the_next_one_is_inspected(&inspector).await;
    let (descriptors_before, children_before) = (descriptors(), children());
    // A picture with as much behind its end as a file may have.
    let mut bytes = fixture("alpha.png");
    bytes.resize(10 * 1024 * 1024, b'x');
    let mut files: Vec<_> = (0..8).map(|_| file_of(&bytes)).collect();
    drop(bytes);
    let before = memory("VmHWM").max(memory("VmRSS"));
    let outcomes = join_all(
        files
            .drain(..)
            .map(|(file, size)| inspector.inspect(FileType::Png, Wanted::Scan, file, size)),
    );
    for outcome in outcomes.await {
        assert!(matches!(outcome, Ok(Inspection::Inspected(_))), "{outcome:?}");
    }
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert_eq!(children(), children_before);
    eventually("the pipes are closed", async || {
        (descriptors() <= descriptors_before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_more_children_run_than_are_allowed() {
    let (inspector, _folder) = misbehaving("sleep");
    let inspecting = join_all((0..5).map(|_| {
        let (file, size) = file_of(&fixture("alpha.png"));
        inspector.inspect(FileType::Png, Wanted::Scan, file, size)
    }));
    let seen = eventually("two children run", async || (children().len() == 2).then_some(()));
    let watched = async {
        seen.await;
        // Nothing tells that a third one does not come but time in which it could.
        tokio::time::sleep(Duration::from_millis(200)).await;
        children().len()
    };
    tokio::select! {
        outcomes = inspecting => panic!("{outcomes:?}"),
        running = watched => assert_eq!(running, 2),
    }
}

#[tokio::test]
async fn what_a_child_says_takes_no_more_memory_than_it_has_bytes() {
    let (inspector, _folder) = misbehaving("empty-pages");
    let (file, size) = file_of(&fixture("scan.pdf"));
    let before = memory("VmHWM").max(memory("VmRSS"));
    let outcome = inspector
        .inspect(FileType::Pdf, Wanted::Scan, file, size)
        .await
        .unwrap();
    assert_eq!(outcome, Inspection::Died(Death::Crashed));
    let grown = memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn a_file_that_is_shorter_than_stated_is_not_inspected_and_more_is_not_read() {
    let inspector = inspector();
    let bytes = fixture("alpha.png");
    let (file, size) = file_of(&bytes);
    let outcome = inspector.inspect(FileType::Png, Wanted::Scan, file, size + 1).await;
    assert!(matches!(outcome, Err(InspectError::File(_))), "{outcome:?}");
    let (file, size) = file_of(&[&bytes[..], b"more"].concat());
    let outcome = inspector.inspect(FileType::Png, Wanted::Scan, file, size - 4).await;
    assert!(matches!(outcome, Ok(Inspection::Inspected(_))), "{outcome:?}");
    let missing = cura_providers::scan::Inspector::with_program("/nowhere/cura-worker".as_ref(), 1);
    assert!(matches!(
        scan(&missing, FileType::Png, &bytes).await,
        Err(InspectError::Start(_))
    ));
}
