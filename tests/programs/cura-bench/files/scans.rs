//! From an upload to its clean end, with a real clamd.

use std::time::{Duration, Instant};

use cura_providers::scan::{Inspector, SandboxState};
use cura_tests::photo::taken;
use cura_tests::{Clamd, Client, Event, Form, program};

use super::{builder, watching_children};
use crate::measure::{at, ms, row};

/// One after the other, on a server, a worker and a clamd that do nothing else.
pub async fn upload_to_clean() {
    let clamd = Clamd::start(&[]).await;
    let cura = builder().with("CLAMD_ADDRESS", clamd.address()).start().await;
    let person = cura.user().await;
    let worker = cura.workers[0].pid();
    for (what, pixels, grain, times, target) in [
        ("200 kB photo", (1_200, 900), 22, 100, "p50 ≤ 300 ms"),
        ("photo of 12 megapixels", (4_000, 3_000), 24, 20, "p50 ≤ 1,000 ms"),
        (
            "photo of 48 megapixels",
            (8_000, 6_000),
            20,
            10,
            "p50 ≤ 2,000 ms, child ≤ 300 MiB",
        ),
    ] {
        let photo = taken(pixels.0, pixels.1, grain);
        // The first ones open connections.
        for _ in 0..2 {
            until_clean(&person, &photo).await;
        }
        let mut all = Vec::with_capacity(times);
        let measuring = async {
            for _ in 0..times {
                all.push(until_clean(&person, &photo).await);
            }
        };
        let ((), child) = watching_children(worker, measuring).await;
        all.sort();
        let measured = format!(
            "p50 {}, p95 {}, most {}; child {} MiB at most",
            ms(at(&all, 50)),
            ms(at(&all, 95)),
            ms(at(&all, 100)),
            child / 1024
        );
        let what = format!("upload → clean, a {what} of {} kB, {times} times", photo.len() / 1000);
        row(&what, target, &measured);
    }
}

/// From the request to the event that says that the file is clean.
async fn until_clean(person: &Client, photo: &[u8]) -> Duration {
    let mut events = person.watch(None).await;
    let form = person.upload_request(Form::of("photo.jpg", photo));
    let begun = Instant::now();
    let kept = person.send(form).await;
    assert_eq!(kept.status, 201, "{}", kept.body);
    loop {
        let Some(Event { name, data, .. }) = events.next().await else {
            panic!("the stream has ended")
        };
        if name == "upload" && data["upload"]["id"] == kept.body["id"] && data["upload"]["status"] != "scanning" {
            assert_eq!(data["upload"]["status"], "clean", "{data}");
            return begun.elapsed();
        }
    }
}

/// A child that starts, confines itself, says so and ends.
pub async fn child_start() {
    let inspector = Inspector::with_program(&program::path("cura-worker"), 1);
    let mut all = Vec::with_capacity(500);
    for n in 0..520 {
        let begun = Instant::now();
        let state = inspector.probe().await;
        assert!(matches!(state, SandboxState::Works(_)), "{state:?}");
        if n >= 20 {
            all.push(begun.elapsed());
        }
    }
    all.sort();
    let measured = format!(
        "p50 {}, p95 {}, p99 {}",
        ms(at(&all, 50)),
        ms(at(&all, 95)),
        ms(at(&all, 99))
    );
    row(
        "start of a child until it has confined itself, answered and ended",
        "p50 ≤ 5 ms",
        &measured,
    );
}
