//! A server that is killed or has no file descriptors left: readers go on at another one.

use std::time::Duration;

use cura_tests::client::text_after;
use cura_tests::provider::{Latch, words};
use cura_tests::{Cura, ScriptedProvider, eventually};
use reqwest::Method;

#[tokio::test]
async fn a_server_killed_in_the_middle_is_left_for_the_other_one() {
    let words = words(100);
    let text = words.concat();
    let latch = Latch::default();
    let provider = ScriptedProvider::answering_until(&words, Duration::from_millis(10), &latch).await;
    let mut cura = Cura::builder().servers(2).with_provider(&provider).start().await;
    let user = cura.user().await;
    let mut stream = user.stream("Hi").await;
    let mut seen = stream.until_word(&words[28]).await;
    cura.servers[0].program.kill();
    latch.open();
    seen.extend(stream.rest().await);
    let (answer, cursor) = (
        seen[0].data["message_id"].as_i64().unwrap(),
        seen.last().unwrap().id.clone(),
    );
    let mut there = user.at(&cura.servers[1].base).resume(answer, Some(&cursor)).await;
    seen.extend(there.rest().await);
    assert_eq!(text_after("", &seen), text);
    assert_eq!(provider.requests().len(), 1, "the generation went on by itself");
    cura.check_invariants().await;
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
        .wait_for_log("no connection can be accepted")
        .await;
    drop(sockets);
    eventually("it accepts again", async || {
        let client = cura.client();
        let asked = client.request(Method::GET, "/health/live").send().await;
        asked.is_ok_and(|response| response.status() == 200).then_some(())
    })
    .await;
    let complaints = cura.logs().matches("no connection can be accepted").count();
    assert!(complaints < 100, "it loops: {complaints}");
}
