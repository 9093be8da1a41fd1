//! The text of one running answer, and what each write may do to it.
//!
//! A write of an older attempt, or after the end, changes nothing. Within an attempt the text only grows; a newer attempt
//! replaces it, also after the end, which is that of the attempts before it: an operator has had the answer retried. Repeating a write whose reply was lost changes nothing and succeeds.

use cura_domain::answer::{AttemptOffsets, Fence};

use crate::error::AppendError;

/// The text of an answer as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveText {
    /// The attempt that wrote last.
    pub fence: Fence,
    /// The text.
    pub text: String,
}

/// Everything `live` holds of one answer. Fence 0: no attempt has begun.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextState {
    pub(crate) fence: Fence,
    pub(crate) attempt_offsets: AttemptOffsets,
    pub(crate) text: String,
    /// The last attempt that has ended with the text, if it has ended.
    pub(crate) ended: Option<Fence>,
}

/// What a published change did to a copy of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MirrorUpdate {
    /// The copy has it now.
    Applied,
    /// The copy already had it.
    Known,
    /// The copy lacks something before it: read the whole text.
    Gap,
}

impl TextState {
    /// Begins an attempt with `text`, or writes back what was lost of it. Gives whether anything changed.
    pub(crate) fn replace(&mut self, fence: Fence, offsets: &AttemptOffsets, text: &str) -> Result<bool, AppendError> {
        if self.fence > fence || self.ended.is_some_and(|last| fence <= last.max(self.fence)) {
            return Err(AppendError::Stale);
        }
        // Readers may have seen everything this attempt has appended.
        if self.fence == fence && self.text.len() >= text.len() {
            return Ok(false);
        }
        self.fence = fence;
        self.attempt_offsets.clone_from(offsets);
        self.ended = None;
        self.text.clear();
        self.text.push_str(text);
        Ok(true)
    }

    /// Adds `text` at `offset`. Gives whether anything changed.
    pub(crate) fn append(&mut self, fence: Fence, offset: u64, text: &str) -> Result<bool, AppendError> {
        let have = self.text.len() as u64;
        if self.fence > fence || self.ended.is_some() {
            return Err(AppendError::Stale);
        }
        if self.fence < fence {
            return Err(AppendError::Missing);
        }
        if offset == have {
            self.text.push_str(text);
            return Ok(true);
        }
        if self.has_at(offset, text) {
            return Ok(false);
        }
        Err(AppendError::Offset { have })
    }

    /// What is left of a text that was forgotten: no attempt may write it again.
    pub(crate) fn tombstone() -> Self {
        Self {
            fence: Fence::MAX,
            ended: Some(Fence::MAX),
            ..Self::default()
        }
    }

    /// Whether the text was forgotten.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.ended.is_some() && self.fence == Fence::MAX && self.text.is_empty()
    }

    /// Ends the text for every attempt up to `fence`. Gives whether anything changed.
    pub(crate) fn end(&mut self, fence: Fence) -> bool {
        let ends = self.fence <= fence && self.ended < Some(fence);
        if ends {
            self.ended = Some(fence);
        }
        ends
    }

    /// Adds what was appended elsewhere.
    pub(crate) fn mirror_append(&mut self, fence: Fence, offset: u64, text: &str) -> MirrorUpdate {
        let have = self.text.len() as u64;
        if self.fence > fence || (self.fence == fence && offset + text.len() as u64 <= have) {
            return MirrorUpdate::Known;
        }
        if self.fence < fence || offset != have {
            return MirrorUpdate::Gap;
        }
        self.text.push_str(text);
        MirrorUpdate::Applied
    }

    /// Takes over the whole text as it is elsewhere, unless this copy is ahead. Gives whether anything changed.
    pub(crate) fn mirror_whole(&mut self, whole: Self) -> bool {
        let newer = whole.fence > self.fence
            || (whole.fence == self.fence
                && (whole.text.len() > self.text.len() || (whole.ended.is_some() && self.ended.is_none())));
        if newer {
            *self = whole;
        }
        newer
    }

    fn has_at(&self, offset: u64, text: &str) -> bool {
        let repeated = || {
            let start = usize::try_from(offset).ok()?;
            self.text.as_bytes().get(start..start.checked_add(text.len())?)
        };
        repeated() == Some(text.as_bytes())
    }
}

impl From<TextState> for Option<LiveText> {
    /// `None` before the first attempt, and when the text was forgotten.
    fn from(state: TextState) -> Self {
        (state.fence > Fence(0) && !state.is_tombstone()).then_some(LiveText {
            fence: state.fence,
            text: state.text,
        })
    }
}
