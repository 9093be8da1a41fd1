//! Files that are made to kill what reads them, through the public door.

use cura_tests::bombs;
use cura_tests::photo::taken;

use super::{builder, scanned, watching_children};
use crate::measure::{forget_peak, memory, row};

/// What each costs the worker in memory, and what its child takes.
pub async fn growth_over_bombs() {
    let cura = builder().start().await;
    let person = cura.user().await;
    let pid = cura.workers[0].pid();
    // What the first file costs, it costs once.
    let photo = taken(1_200, 900, 22);
    for _ in 0..3 {
        scanned(&person, "photo.jpg", &photo).await;
    }
    let first = memory(pid, "VmRSS");
    let (mut most, mut ends, mut largest) = (0, Vec::new(), 0);
    for (what, name, bytes) in [
        ("440 MB Flate PDF", "a.pdf", bombs::packed_page()),
        ("440 MB of objects", "b.pdf", bombs::packed_objects()),
        ("12,000 brackets", "c.pdf", bombs::brackets(12_000)),
        ("form that draws itself", "d.pdf", bombs::form_that_draws_itself()),
        ("pages in a circle", "e.pdf", bombs::pages_in_a_circle()),
        ("200 MiB DOCX", "f.docx", bombs::packed_document()),
        ("30,000² PNG", "g.png", bombs::one_colour_png(30_000, 30_000)),
        ("3,000 frames", "h.gif", bombs::frames(3_000)),
    ] {
        forget_peak(pid);
        let (file, child) = watching_children(pid, scanned(&person, name, &bytes)).await;
        most = most.max(memory(pid, "VmHWM"));
        largest = largest.max(child);
        let reason = file["reason"]["code"].as_str().unwrap_or_default();
        ends.push(
            format!("{what}: {} {reason}", file["status"].as_str().unwrap())
                .trim_end()
                .to_owned(),
        );
    }
    assert_eq!(scanned(&person, "photo.jpg", &photo).await["status"], "clean");
    let measured = format!(
        "{} MiB before, {} MiB at most: + {} MiB; a child {} MiB at most; {}; a photo after them is clean",
        first / 1024,
        most / 1024,
        most.saturating_sub(first) / 1024,
        largest / 1024,
        ends.join(", "),
    );
    row(
        "bombs one after the other, memory of the worker",
        "< 64 MiB more",
        &measured,
    );
}
