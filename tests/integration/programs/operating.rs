//! What operators ask a program that runs, or change in it: version, health, log level.

use std::process::Command;

use cura_tests::{Cura, Program};

/// Runs a program to its end; gives its exit code and its output.
async fn run(program: &str, arguments: &[&str], variables: &[(&str, String)]) -> (Option<i32>, String) {
    let mut program = Program::start(program, arguments, variables);
    let code = program.ended().await;
    (code, program.logs())
}

#[tokio::test]
async fn every_program_and_the_health_name_the_commit() {
    let cura = Cura::without_workers().await;
    let health = cura.client().get("/health").await.body;
    let commit = health["commit"].as_str().unwrap();
    let version = health["version"].as_str().unwrap();
    assert!(!commit.is_empty());
    for program in ["cura-server", "cura-worker", "cura-admin"] {
        let said = run(program, &["--version"], &[]).await;
        assert_eq!(said, (Some(0), format!("{program} {version} ({commit})")));
    }
}

#[tokio::test]
async fn a_server_says_whether_it_is_ready_and_one_that_is_not_there_is_not() {
    let mut cura = Cura::without_workers().await;
    let port = cura.servers[0].base.rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "0.0.0.0", "localhost"] {
        // Another setting that is wrong by now says nothing about the server.
        let other = ("SECRET_KEY_FILE", "/nowhere".to_owned());
        let asked = [("HOST", host.to_owned()), ("PORT", port.clone()), other];
        let said = run("cura-server", &["--check-health"], &asked).await;
        assert_eq!(said, (Some(0), String::new()), "{host}");
    }
    cura.servers[0].program.kill();
    let (code, said) = run("cura-server", &["--check-health"], &[("PORT", port)]).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error: the server does not answer: "), "{said}");
    let (code, said) = run("cura-server", &["--check-health"], &[("PORT", "eighty".to_owned())]).await;
    assert_eq!((code, said.starts_with("error: PORT ")), (Some(1), true), "{said}");
}

#[tokio::test]
async fn something_silent_or_something_else_at_the_port_is_no_healthy_server() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let (code, said) = run("cura-server", &["--check-health"], &[("PORT", port)]).await;
    assert_eq!((code, &*said), (Some(1), "error: the server does not answer in time"));
}

#[tokio::test]
async fn a_hangup_reads_the_log_level_again_and_a_wrong_one_changes_nothing() {
    let cura = Cura::builder().servers(0).workers(0).start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |level: &str| std::fs::write(folder.path().join(".env"), format!("LOG_LEVEL={level}\n")).unwrap();
    write("info");
    let worker = cura_tests::program::path("cura-worker");
    let script = format!("cd {} && exec {} --wait 20", folder.path().display(), worker.display());
    let worker = Program::start_command(Command::new("bash").args(["-c", &script]), &cura.variables_with(&[]));
    worker.wait_for_log("the worker has started").await;
    assert!(!worker.logs().contains("DEBUG"), "{}", worker.logs());

    write("debug");
    worker.signal("HUP");
    worker.wait_for_log("LOG_LEVEL was read again").await;
    worker.wait_for_log("DEBUG").await;

    write("hunter2=hunter2=hunter2");
    worker.signal("HUP");
    let why = worker.wait_for_log("the one before stays").await;
    assert!(
        why.contains("LOG_LEVEL must be") && !worker.logs().contains("hunter2"),
        "{why}"
    );
    let mut worker = worker;
    worker.signal("TERM");
    assert_eq!(worker.ended().await, Some(0));
}
