//! The text of a running answer that readers were shown: the saved text, and whatever `live` has beyond it.

use cura_domain::MessageId;
use cura_domain::answer::{AttemptOffsets, Fence, Position};
use cura_live::{Live, LiveText};

/// The text that readers were shown by attempt `fence`, of which `saved` is in Postgres. Takes half a second at most; while
/// `live` is away, it is the saved text.
pub async fn shown_text(live: &Live, answer: MessageId, fence: Fence, saved: String) -> String {
    longer(live, answer, &saved, |shown| {
        (shown.fence == fence).then_some(shown.text)
    })
    .await
    .unwrap_or(saved)
}

/// The text that readers were shown by the attempts that began at `before`, as far as none of them has rewritten it.
pub(crate) async fn shown_before(live: &Live, answer: MessageId, before: &AttemptOffsets, saved: &str) -> String {
    let last = Fence(u32::try_from(before.0.len()).unwrap_or(u32::MAX));
    let shown = longer(live, answer, saved, |mut shown| {
        if shown.fence > last {
            return None;
        }
        // Of what an attempt wrote that did not learn of a later one, no more than the later one kept: the rest may have been
        // taken back.
        let position = Position {
            attempt: shown.fence,
            offset: shown.text.len() as u64,
        };
        let kept = usize::try_from(before.keep(position)).unwrap_or(usize::MAX);
        shown.text.truncate(shown.text.floor_char_boundary(kept));
        Some(shown.text)
    });
    shown.await.unwrap_or_else(|| saved.to_owned())
}

async fn longer(
    live: &Live,
    answer: MessageId,
    saved: &str,
    wanted: impl Fn(LiveText) -> Option<String>,
) -> Option<String> {
    let shown = live.read(answer).await.ok().flatten()?;
    wanted(shown).filter(|text| text.starts_with(saved))
}
