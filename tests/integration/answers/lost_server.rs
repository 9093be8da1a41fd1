//! A server that is killed or has no file descriptors left: readers go on at another one.

use std::time::Duration;

use cura_tests::{Cura, eventually, interrupted_answer};
use reqwest::Method;

#[tokio::test]
async fn a_server_killed_in_the_middle_is_left_for_the_other_one() {
    let mut answer = interrupted_answer()
        .words(100, Duration::from_millis(10))
        .read(29)
        .servers(2)
        .start()
        .await;
    answer.cura.servers[0].program.kill();
    answer.finish().await;
    let other = answer.cura.servers[1].base.clone();
    answer.read_rest_at(&other).await;
    assert_eq!(answer.text_seen(), answer.text());
    assert_eq!(answer.provider.requests().len(), 1, "the worker went on writing");
    answer.cura.check_invariants().await;
}

#[tokio::test]
async fn a_server_without_descriptors_waits_for_better_times() {
    let cura = Cura::without_workers().await;
    let pid = rustix::process::Pid::from_raw(cura.servers[0].program.pid().cast_signed()).unwrap();
    let few = rustix::process::Rlimit {
        current: Some(40),
        maximum: Some(40),
    };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, few).unwrap();
    let address = cura.servers[0].base.trim_start_matches("http://").to_owned();
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    cura.servers[0]
        .program
        .wait_for_log("accepting a connection failed")
        .await;
    drop(sockets);
    eventually("it accepts again", async || {
        let client = cura.client();
        let asked = client.request(Method::GET, "/health/live").send().await;
        asked.is_ok_and(|response| response.status() == 200).then_some(())
    })
    .await;
    let complaints = cura.logs().matches("accepting a connection failed").count();
    assert!(complaints < 100, "it loops: {complaints}");
}
