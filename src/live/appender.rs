//! Writes the text of one attempt as it comes, without waiting for `live`: what comes while the last write is under way leaves with
//! the next one. That a write failed is known by the next call, or at once to who waits for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use cura_domain::MessageId;
use cura_domain::answer::Fence;

use crate::error::AppendError;
use crate::memory::MemoryLive;
use crate::redis::{Appending, Appends};

/// How much text may wait until it is written, in bytes; beyond it, appending waits.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// Appends to the text of one attempt. Text that was appended is written even if this is dropped.
pub struct Appender {
    /// Where the next piece belongs, in bytes.
    offset: u64,
    max_text_bytes: usize,
    target: Target,
}

enum Target {
    Memory(MemoryLive, MessageId, Fence),
    Redis(Appends, Arc<Appending>),
}

impl Appender {
    pub(crate) fn memory(
        live: MemoryLive,
        (id, fence): (MessageId, Fence),
        offset: u64,
        max_text_bytes: usize,
    ) -> Self {
        Self {
            offset,
            max_text_bytes,
            target: Target::Memory(live, id, fence),
        }
    }

    pub(crate) fn redis(appends: Appends, (id, fence): (MessageId, Fence), offset: u64, max_text_bytes: usize) -> Self {
        let appending = Arc::new(Appending::new(id, fence, offset));
        Self {
            offset,
            max_text_bytes,
            target: Target::Redis(appends, appending),
        }
    }

    /// Adds `text` behind what was added before. Waits only while much is unwritten.
    ///
    /// # Errors
    /// See [`AppendError`]: of this piece, or of one before it. Then nothing more is written.
    pub async fn append(&mut self, text: &str) -> Result<(), AppendError> {
        let end = self.offset.saturating_add(text.len() as u64);
        if usize::try_from(end).unwrap_or(usize::MAX) > self.max_text_bytes {
            return Err(AppendError::TooLong);
        }
        match &self.target {
            Target::Memory(live, id, fence) => live.append(*id, *fence, self.offset, text)?,
            Target::Redis(appends, appending) => {
                if appending.waiting_bytes() > MAX_WAITING_BYTES {
                    self.flush().await?;
                }
                appends.add(appending, text)?;
            }
        }
        self.offset = end;
        Ok(())
    }

    /// Waits until everything that was appended is written.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub async fn flush(&self) -> Result<(), AppendError> {
        match &self.target {
            Target::Memory(..) => Ok(()),
            Target::Redis(_, appending) => poll_fn(|context| appending.poll_written(context)).await,
        }
    }

    /// Why not everything that was appended could be written, if that is known by now.
    pub fn failure(&self) -> Option<AppendError> {
        match &self.target {
            Target::Memory(..) => None,
            Target::Redis(_, appending) => appending.failure(),
        }
    }

    /// Waits until [`Self::failure`] is known. Cancel-safe.
    pub async fn failed(&self) {
        poll_fn(|context| match &self.target {
            Target::Memory(..) => Poll::Pending,
            Target::Redis(_, appending) => appending.poll_failed(context),
        })
        .await;
    }
}
