//! Many large uploads at once.

use std::time::Instant;

use cura_tests::Form;
use futures_util::future::join_all;

use super::builder;
use crate::measure::{forget_peak, memory, row};

/// Who uploads, and how much each of them at once: no more is allowed.
const PEOPLE: usize = 5;
const AT_ONCE: usize = 4;
const BYTES: usize = 9_900_000;

/// What they cost the server in memory.
pub async fn many_at_once() {
    let cura = builder().start().await;
    let pid = cura.servers[0].program.pid();
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        let person = cura.client().register(&format!("person{n}@example.com")).await;
        // The first one opens connections.
        super::scanned(&person, "first.png", &picture(1_000)).await;
        people.push(person);
    }
    let before = memory(pid, "VmRSS");
    forget_peak(pid);
    let requests = people.iter().flat_map(|person| {
        let form = || person.upload_request(Form::of("large.png", picture(BYTES)));
        (0..AT_ONCE).map(move |_| (person, form()))
    });
    let requests: Vec<_> = requests.collect();
    let begun = Instant::now();
    let replies = join_all(requests.into_iter().map(|(person, form)| person.send(form))).await;
    let took = begun.elapsed();
    for reply in replies {
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    let peak = memory(pid, "VmHWM");
    let measured = format!(
        "{} MiB before, {} MiB at most: + {} MiB; {:.1} s in all",
        before / 1024,
        peak / 1024,
        peak.saturating_sub(before) / 1024,
        took.as_secs_f64()
    );
    let what = format!(
        "{} uploads of 9.9 MB at once by {PEOPLE} people, memory of the server",
        PEOPLE * AT_ONCE
    );
    row(&what, "≤ 64 MiB more", &measured);
}

/// A picture of so many bytes: what follows its end is allowed.
fn picture(bytes: usize) -> Vec<u8> {
    let mut picture = include_bytes!("../../../fixtures/files/alpha.png").to_vec();
    picture.resize(bytes, b'x');
    picture
}
