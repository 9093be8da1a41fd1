//! What is measured, and how it is said.

use std::sync::Once;
use std::time::Duration;

use cura_tests::TestDatabase;

/// Prints a row of the table; the first one begins it.
pub fn row(what: &str, target: &str, measured: &str) {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| println!("\n| what | target | measured |\n| --- | --- | --- |"));
    println!("| {what} | {target} | {measured} |");
}

pub fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

pub fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// The memory of a process, in KiB: `VmRSS` as it is now, `VmHWM` at its most.
pub fn memory(pid: u32, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// From now on `VmHWM` is the most of what comes.
pub fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// How many transactions the database has seen; what is no older than ten seconds may be missing.
pub async fn transactions(database: &TestDatabase) -> i64 {
    use sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect_with(&database.pool().connect_options())
        .await
        .unwrap();
    let count: i64 = sqlx::query_scalar(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    count
}
