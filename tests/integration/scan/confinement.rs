//! What a child cannot do, whoever has taken it over.

use cura_domain::file::FileReason;
use cura_domain::file_type::FileType;
use cura_providers::scan::{Death, Inspection, SandboxState};

use super::{assert_the_next_one_is_inspected, fixture, inspector, misbehaving, scan, started_by_shell};

async fn outcome(behaviour: &str) -> Inspection {
    let (inspector, _folder) = misbehaving(behaviour);
    scan(&inspector, FileType::Png, &fixture("alpha.png")).await.unwrap()
}

#[tokio::test]
async fn a_child_that_opens_connects_or_starts_anything_is_ended_by_the_kernel() {
    for behaviour in [
        "open", "create", "list", "connect", "listen", "exec", "spawn", "thread", "kill",
    ] {
        assert_eq!(
            outcome(behaviour).await,
            Inspection::Died(Death::Forbidden),
            "{behaviour}"
        );
    }
}

#[tokio::test]
async fn a_child_that_takes_two_gibibytes_or_all_of_the_stack_ends() {
    for behaviour in ["memory", "stack"] {
        assert_eq!(outcome(behaviour).await, Inspection::Died(Death::Memory), "{behaviour}");
    }
    assert_eq!(Death::Memory.reason(), FileReason::LimitsExceeded);
}

#[tokio::test]
async fn a_child_in_an_endless_loop_ends() {
    // By the kernel after ten seconds on a processor; on a busy machine, by its parent before that.
    let outcome = outcome("loop").await;
    assert!(
        matches!(outcome, Inspection::Died(Death::Processor | Death::Time)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_child_that_says_nothing_ends_when_its_time_is_over() {
    assert_eq!(outcome("sleep").await, Inspection::Died(Death::Time));
}

#[tokio::test]
async fn a_child_that_answers_nonsense_or_too_much_is_not_believed() {
    for behaviour in ["panic", "read", "flood", "lie", "deaf", "nothing"] {
        assert_eq!(
            outcome(behaviour).await,
            Inspection::Died(Death::Crashed),
            "{behaviour}"
        );
    }
    assert_eq!(Death::Crashed.reason(), FileReason::Unreadable);
}

#[tokio::test]
async fn without_a_filter_of_system_calls_nothing_is_parsed() {
    let Inspection::NoSandbox(why) = outcome("without-seccomp").await else {
        panic!("it was parsed")
    };
    assert!(why.contains("system calls cannot be filtered"), "{why}");
    let (without, _folder) = misbehaving("without-seccomp");
    assert_eq!(without.probe().await, SandboxState::Missing(why));
    assert!(matches!(inspector().probe().await, SandboxState::Works(_)));
}

#[tokio::test]
async fn a_child_that_only_says_it_is_not_confined_is_not_believed() {
    let (denying, _folder) = misbehaving("deny");
    assert!(matches!(denying.probe().await, SandboxState::Works(_)));
    let outcome = scan(&denying, FileType::Png, &fixture("alpha.png")).await.unwrap();
    assert_eq!(outcome, Inspection::Died(Death::Crashed));
}

#[tokio::test]
async fn what_was_left_open_for_everybody_does_not_keep_a_child_from_working() {
    let (inspector, _folder) =
        started_by_shell("exec 3</etc/passwd 4</etc/passwd 5</etc/passwd 9</etc/passwd; exec \"$worker\" \"$@\"");
    let state = inspector.probe().await;
    assert!(matches!(state, SandboxState::Works(_)), "{state:?}");
    assert_the_next_one_is_inspected(&inspector).await;
}
