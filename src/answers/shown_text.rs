//! The text of a running answer that readers were shown: the saved text, and whatever `live` has beyond it.

use cura_domain::MessageId;
use cura_domain::answer::Fence;
use cura_live::Live;

/// The text that readers were shown by attempt `fence`, of which `saved` is in Postgres. Takes half a second at most; while
/// `live` is away, it is the saved text.
pub async fn shown_text(live: &Live, answer: MessageId, fence: Fence, saved: String) -> String {
    longer(live, answer, &saved, |shown| shown == fence)
        .await
        .unwrap_or(saved)
}

/// The text that readers were shown by attempts before `fence`.
pub(crate) async fn shown_before(live: &Live, answer: MessageId, fence: Fence, saved: &str) -> String {
    let shown = longer(live, answer, saved, |shown| shown < fence).await;
    shown.unwrap_or_else(|| saved.to_owned())
}

async fn longer(live: &Live, answer: MessageId, saved: &str, is_wanted: impl Fn(Fence) -> bool) -> Option<String> {
    let shown = live.read(answer).await.ok().flatten()?;
    (is_wanted(shown.fence) && shown.text.starts_with(saved)).then_some(shown.text)
}
