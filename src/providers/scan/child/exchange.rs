//! What goes to a child and comes from it, both at once: neither waits for the other for ever.

use std::io;

use cura_inspection::{MAX_ANSWER_BYTES, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::InspectError;

/// How much of the file is held at a time: what a pipe holds.
const PIECE_BYTES: usize = 64 * 1024;

/// Why an exchange ends before its end.
pub(super) enum Broken {
    /// The child says more than any answer has.
    TooLong,
    /// Nothing is known of the file.
    Failed(InspectError),
}

impl From<InspectError> for Broken {
    fn from(error: InspectError) -> Self {
        Self::Failed(error)
    }
}

/// The exchange with one child.
pub(super) struct Exchange<F> {
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    request: Request,
    file: F,
    size: u64,
}

impl<F: AsyncRead + Unpin> Exchange<F> {
    pub(super) fn new(child: &mut Child, request: Request, file: F, size: u64) -> Self {
        Self {
            input: child.stdin.take(),
            output: child.stdout.take(),
            request,
            file,
            size,
        }
    }

    /// Whether the child still waits for a part of the file.
    pub(super) fn is_unfinished(&self) -> bool {
        self.input.is_some()
    }

    /// Sends the request and the file, and gives what the child says until it closes its output.
    pub(super) async fn run(&mut self) -> Result<Vec<u8>, Broken> {
        let output = self.output.take().ok_or_else(no_pipe)?;
        let Self {
            input,
            request,
            file,
            size,
            ..
        } = self;
        let send = async {
            let sent = send(input.as_mut().ok_or_else(no_pipe)?, *request, file, *size).await;
            // Closes it: the child has everything now.
            *input = None;
            sent.map_err(Broken::Failed)
        };
        let ((), answer) = tokio::try_join!(send, receive(output))?;
        Ok(answer)
    }
}

async fn send(
    input: &mut ChildStdin,
    request: Request,
    file: &mut (impl AsyncRead + Unpin),
    size: u64,
) -> Result<(), InspectError> {
    if input.write_all(&request.line()).await.is_err() {
        return Ok(());
    }
    let mut left = size;
    let mut piece = vec![0; PIECE_BYTES];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let read = file.read(&mut piece[..most]).await.map_err(InspectError::File)?;
        if read == 0 {
            return Err(InspectError::File(io::ErrorKind::UnexpectedEof.into()));
        }
        // A child that does not listen has died or has answered: its end says which.
        if input.write_all(&piece[..read]).await.is_err() {
            return Ok(());
        }
        left -= read as u64;
    }
    Ok(())
}

async fn receive(output: ChildStdout) -> Result<Vec<u8>, Broken> {
    let most = MAX_ANSWER_BYTES as u64;
    let mut answer = Vec::new();
    output
        .take(most + 1)
        .read_to_end(&mut answer)
        .await
        .map_err(InspectError::Lost)?;
    if answer.len() as u64 > most {
        return Err(Broken::TooLong);
    }
    Ok(answer)
}

fn no_pipe() -> InspectError {
    InspectError::Lost(io::ErrorKind::BrokenPipe.into())
}
