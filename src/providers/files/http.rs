//! HTTP as file stores are spoken to: every wait is bounded, no file is in memory, and a part of a file never passes as the whole.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, Response, StatusCode, header};
use tokio::sync::Notify;

use super::error::{FileStoreError, InvalidFileStore};
use super::opened::OpenedFile;
use super::pieces::{PIECE, read};
use super::timeouts::FileStoreTimeouts;
use crate::short_answer::beginning;

/// How long an unused connection is kept: less than the time after which stores close it, so that none is closed just as a request
/// goes out.
const KEPT_FOR: Duration = Duration::from_secs(4);

/// A client of one store.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    timeouts: FileStoreTimeouts,
    judge: fn(u16, &[u8]) -> Fault,
}

/// What an answer means that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No byte of the range is in the file.
    OutOfRange,
    /// Anything else.
    Error(FileStoreError),
}

impl From<FileStoreError> for Fault {
    fn from(error: FileStoreError) -> Self {
        Self::Error(error)
    }
}

impl From<Fault> for FileStoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::OutOfRange => Self::refused("out_of_range"),
            Fault::Error(error) => error,
        }
    }
}

impl Http {
    /// A client whose answers are judged by their status and the beginning of their body.
    pub(super) fn new(timeouts: FileStoreTimeouts, judge: fn(u16, &[u8]) -> Fault) -> Result<Self, InvalidFileStore> {
        let client = Client::builder()
            .connect_timeout(timeouts.connect)
            // Credentials must not follow a redirect or a proxy that happens to be in the environment.
            .redirect(Policy::none())
            .no_proxy()
            // A file is given as it was put.
            .no_gzip()
            .retry(reqwest::retry::never())
            // A connection for each transfer: one that stalls holds up no other.
            .http1_only()
            .pool_idle_timeout(KEPT_FOR)
            .build()
            .map_err(|_| InvalidFileStore::NotSendable)?;
        Ok(Self {
            client,
            timeouts,
            judge,
        })
    }

    /// To build requests with.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn timeouts(&self) -> &FileStoreTimeouts {
        &self.timeouts
    }

    /// Makes a call that moves no file, and gives the beginning of its answer.
    pub(super) async fn call(&self, request: RequestBuilder, limit: Duration) -> Result<Vec<u8>, FileStoreError> {
        let calling = async {
            let response = request.send().await.map_err(|error| FileStoreError::of_http(&error))?;
            Ok(self.success(response).await?.1)
        };
        tokio::time::timeout(limit, calling)
            .await
            .unwrap_or_else(|_| Err(FileStoreError::timed_out()))
    }

    /// Sends the beginning of a file as the body of a request.
    pub(super) async fn upload(&self, request: RequestBuilder, source: File, size: u64) -> Result<(), FileStoreError> {
        let moved = Arc::new(Notify::new());
        let tell = Arc::clone(&moved);
        // A piece is asked for when the one before has left.
        let pieces = read(source, 0..size, self.timeouts.idle).inspect(move |_| tell.notify_one());
        let request = request
            .header(header::CONTENT_LENGTH, size)
            .body(Body::wrap_stream(pieces));
        let uploading = async {
            let response = self.send_while_moving(request, &moved).await?;
            self.success(response).await.map(|_| ()).map_err(FileStoreError::from)
        };
        tokio::time::timeout(self.timeouts.put, uploading)
            .await
            .unwrap_or_else(|_| Err(FileStoreError::timed_out()))
    }

    /// Sends a request; gives up when nothing has moved for as long as is allowed.
    async fn send_while_moving(&self, request: RequestBuilder, moved: &Notify) -> Result<Response, FileStoreError> {
        let mut sending = std::pin::pin!(request.send());
        loop {
            tokio::select! {
                biased;
                sent = &mut sending => return sent.map_err(|error| FileStoreError::of_http(&error)),
                moved = tokio::time::timeout(self.timeouts.idle, moved.notified()) => {
                    moved.map_err(|_| FileStoreError::timed_out())?;
                }
            }
        }
    }

    /// Opens what a GET answers.
    pub(super) async fn open(
        &self,
        request: RequestBuilder,
        range: Option<Range<u64>>,
    ) -> Result<OpenedFile, FileStoreError> {
        let Some(range) = range else {
            return Ok(self.open_part(request, None).await?);
        };
        let whole = request.try_clone();
        if !range.is_empty() {
            match self.open_part(request, Some(range)).await {
                Err(Fault::OutOfRange) => {}
                opened => return Ok(opened?),
            }
        }
        // HTTP cannot ask for nothing: the file is asked for, and its bytes are not taken.
        let whole = whole.ok_or(FileStoreError::refused("not_repeatable"))?;
        let size = self.open_part(whole, None).await?.size;
        Ok(OpenedFile::nothing_of(size))
    }

    async fn open_part(&self, request: RequestBuilder, range: Option<Range<u64>>) -> Result<OpenedFile, Fault> {
        let request = match &range {
            Some(range) => request.header(header::RANGE, asked(range)),
            None => request,
        };
        let response = tokio::time::timeout(self.timeouts.idle, request.send())
            .await
            .map_err(|_| FileStoreError::timed_out())?
            .map_err(|error| FileStoreError::of_http(&error))?;
        if !response.status().is_success() {
            return Err(self.fault(response).await);
        }
        let part = Part::of(&response, range).ok_or(FileStoreError::unavailable("length_unknown"))?;
        let bytes = receive(response, part.skipped, part.length, self.timeouts.idle);
        Ok(OpenedFile::new(part.size, bytes))
    }

    /// The beginning of an answer that is a success.
    async fn success(&self, response: Response) -> Result<(StatusCode, Vec<u8>), Fault> {
        let status = response.status();
        if !status.is_success() {
            return Err(self.fault(response).await);
        }
        match tokio::time::timeout(self.timeouts.call, beginning(response)).await {
            Ok(Ok(body)) => Ok((status, body)),
            Ok(Err(error)) => Err(FileStoreError::of_http(&error).into()),
            Err(_) => Err(FileStoreError::timed_out().into()),
        }
    }

    async fn fault(&self, response: Response) -> Fault {
        let status = response.status().as_u16();
        // Without its words the status still says enough.
        let body = tokio::time::timeout(self.timeouts.call, beginning(response)).await;
        (self.judge)(status, &body.ok().and_then(Result::ok).unwrap_or_default())
    }
}

/// What of a file an answer contains.
struct Part {
    /// The size of the file.
    size: u64,
    /// How many bytes come before what was asked for.
    skipped: u64,
    /// How many of them were asked for.
    length: u64,
}

impl Part {
    /// As the headers say; `None` if they do not.
    fn of(response: &Response, range: Option<Range<u64>>) -> Option<Self> {
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let asked = range?;
            let said = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
            let (first, last, size) = content_range(said)?;
            let is_asked = first == asked.start && last == asked.end.min(size).checked_sub(1)?;
            return is_asked.then_some(Self {
                size,
                skipped: 0,
                length: last - first + 1,
            });
        }
        let said = response.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?;
        let size = said.parse().ok()?;
        // A server need not know ranges.
        let part = super::opened::within(range, size);
        Some(Self {
            size,
            skipped: part.start,
            length: part.end - part.start,
        })
    }
}

/// A range that is not empty, as a request asks for it. Its last byte is part of it; servers read no number that is too large.
fn asked(range: &Range<u64>) -> String {
    let end = i64::try_from(range.end).map(|_| (range.end - 1).to_string());
    format!("bytes={}-{}", range.start, end.unwrap_or_default())
}

/// First byte, last byte and size of `bytes 0-9/10`.
fn content_range(said: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = said.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    (first <= last && last < size).then_some((first, last, size))
}

/// What is left to receive of a file.
struct Receiving {
    response: Response,
    /// Received and not given yet.
    received: Bytes,
    skip: u64,
    left: u64,
}

/// The bytes of an answer, of which the first `skip` were not asked for. Fewer than `length` are an error.
fn receive(
    response: Response,
    skip: u64,
    length: u64,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, FileStoreError>> + Send + 'static {
    let begun = Receiving {
        response,
        received: Bytes::new(),
        skip,
        left: length,
    };
    stream::try_unfold(begun, move |mut receiving| async move {
        if receiving.left == 0 {
            return Ok(None);
        }
        while receiving.received.is_empty() {
            receiving.receive(idle).await?;
        }
        let most = usize::try_from(receiving.left).unwrap_or(PIECE).min(PIECE);
        let piece = receiving.received.split_to(most.min(receiving.received.len()));
        receiving.left -= piece.len() as u64;
        Ok(Some((piece, receiving)))
    })
}

impl Receiving {
    async fn receive(&mut self, idle: Duration) -> Result<(), FileStoreError> {
        let received = tokio::time::timeout(idle, self.response.chunk()).await;
        let received = received.map_err(|_| FileStoreError::timed_out())?;
        let mut received = received
            .map_err(|error| FileStoreError::of_http(&error))?
            .ok_or(FileStoreError::unavailable("cut_short"))?;
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(received.len());
        self.skip -= skipped as u64;
        self.received = received.split_off(skipped);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_names_its_last_byte_unless_it_has_none() {
        for (range, expected) in [(0..1, "bytes=0-0"), (3..9, "bytes=3-8"), (7..u64::MAX, "bytes=7-")] {
            assert_eq!(asked(&range), expected);
        }
    }

    #[test]
    fn a_content_range_says_where_and_of_how_much() {
        assert_eq!(content_range("bytes 0-9/10"), Some((0, 9, 10)));
        assert_eq!(content_range("bytes 3-3/10"), Some((3, 3, 10)));
        for bad in [
            "",
            "bytes */10",
            "bytes 0-9/*",
            "bytes 9-0/10",
            "bytes 0-10/10",
            "items 0-9/10",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
