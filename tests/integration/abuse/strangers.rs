//! What anybody may do without an account: ask for the health of the server, and send what is not HTTP.

use std::time::Duration;

use cura_tests::{Attacker, Cura, eventually};
use futures_util::future::join_all;

#[tokio::test]
async fn however_often_health_is_asked_for_the_database_is_asked_once_a_second() {
    let cura = Cura::without_workers().await;
    let client = cura.client();
    let transactions = async || {
        cura.database
            .count("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
            .await
    };
    let before = transactions().await;
    for _ in 0..20 {
        let paths = ["/health", "/health/ready"].repeat(25);
        let replies = join_all(paths.into_iter().map(|path| client.get(path))).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
    }
    // Postgres counts a connection's transactions at most once a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = transactions().await - before;
    assert!(asked < 300, "{asked} transactions for 1,000 requests");
}

#[tokio::test]
async fn what_is_not_http_is_logged_with_who_sent_it_and_without_the_address() {
    let cura = Cura::without_workers().await;
    let said = async |source, bytes| {
        let attacker = Attacker::new(&cura.servers[0].base, source);
        attacker.say(bytes, Duration::from_secs(20), |_| false).await
    };
    for source in [[127, 0, 0, 2], [127, 0, 0, 2], [127, 0, 0, 3]] {
        assert_eq!(said(source, "GARBAGE\r\n\r\n").await.status, Some(400));
    }
    let lines = eventually("all are logged", async || {
        let logs = cura.logs();
        let refused = logs.lines().filter(|line| line.contains("not a valid HTTP request"));
        let refused: Vec<String> = refused.map(str::to_owned).collect();
        (refused.len() == 3).then_some(refused)
    })
    .await;
    let who = |line: &String| {
        line.split_once("address=")
            .map(|(_, rest)| rest.chars().take(18).collect::<String>())
    };
    assert!(
        who(&lines[0]).is_some() && who(&lines[0]) == who(&lines[1]) && who(&lines[0]) != who(&lines[2]),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .all(|line| line.contains("malformed_request") && !line.contains("127.0.0.")),
        "{lines:?}"
    );
}
