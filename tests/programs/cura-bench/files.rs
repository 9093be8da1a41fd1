//! Files: how soon they are clean, what they cost in memory, and what messages with them cost.

mod bombs;
mod messages;
mod scans;
mod uploads;

use std::time::{Duration, Instant};

use cura_tests::{Client, Cura, CuraBuilder, Form};
use serde_json::Value;

pub use bombs::growth_over_bombs;
pub use messages::{pages_with_files_and_without, with_files_and_without};
pub use scans::{child_start, upload_to_clean};
pub use uploads::many_at_once;

/// Longer than any scan may take.
const TOO_LONG: Duration = Duration::from_secs(120);

fn builder() -> CuraBuilder {
    Cura::builder()
        .with("LOG_LEVEL", "warn,cura_bin=info")
        .with("DATABASE_POOL_SIZE", "10")
        .with("USER_STORAGE_MB", "0")
}

/// Uploads a file, and gives it once its scan has ended.
async fn scanned(person: &Client, name: &str, bytes: &[u8]) -> Value {
    let begun = Instant::now();
    let kept = person.upload(Form::of(name, bytes)).await;
    assert_eq!(kept.status, 201, "{name}: {}", kept.body);
    let path = format!("/uploads/{}", kept.body["id"]);
    loop {
        let file = person.get(&path).await.body;
        if file["status"] != "scanning" {
            return file;
        }
        assert!(begun.elapsed() < TOO_LONG, "{name} is still scanned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What `work` gives, and the most memory that a child of a process had meanwhile, in KiB: as often looked at as it goes.
async fn watching_children<T>(parent: u32, work: impl Future<Output = T>) -> (T, u64) {
    const LOOK_EVERY: Duration = Duration::from_millis(1);
    let mut most = 0;
    let look = async {
        loop {
            most = most.max(largest_child(parent));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let done = tokio::select! {
        done = work => done,
        never = look => never,
    };
    (done, most)
}

/// The most memory that any of a process' children has had so far, in KiB.
fn largest_child(parent: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let children = children.collect::<Vec<_>>().join(" ");
    let peaks = children.split_whitespace().filter_map(|child| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    });
    peaks.max().unwrap_or_default()
}
