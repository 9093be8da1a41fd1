//! clamd, the daemon of ClamAV, over its own protocol (`man clamd`, *COMMANDS*). A file goes to it as a stream: the two share no disk.
//!
//! A file is clean only if all of it was sent and the answer, to its last byte, is the one that says so.

mod address;
mod answer;
mod connection;
mod timeouts;

use std::io;
use std::pin::pin;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::error::ScanError;
use super::verdict::Verdict;

pub use address::{ClamdAddress, InvalidClamdAddress};
pub use timeouts::ClamdTimeouts;

/// The most bytes that are sent at once. clamd reads no more at once, and a scan takes no more memory.
const PIECE: usize = 64 * 1024;

/// A clamd. Cheap to clone; each scan has a connection of its own.
#[derive(Debug, Clone)]
pub struct Clamd {
    address: ClamdAddress,
    timeouts: ClamdTimeouts,
}

impl Clamd {
    /// The clamd at an address. Asks nothing yet.
    pub const fn new(address: ClamdAddress, timeouts: ClamdTimeouts) -> Self {
        Self { address, timeouts }
    }

    /// Has a file scanned that has `size` bytes. Holds 64 KiB of it at most.
    ///
    /// # Errors
    /// [`ScanError`]. Then nothing is known of the file.
    pub async fn scan(&self, source: impl AsyncRead + Unpin + Send, size: u64) -> Result<Verdict, ScanError> {
        let scanning = timeout(self.timeouts.scan, self.exchange(source, size));
        scanning.await.unwrap_or(Err(ScanError::TIMED_OUT))
    }

    /// Whether it answers. It does so while it scans, too.
    ///
    /// # Errors
    /// [`ScanError::Unavailable`]
    pub async fn ping(&self) -> Result<(), ScanError> {
        match self.ask(b"zPING\0").await?.as_slice() {
            b"PONG" => Ok(()),
            _ => Err(ScanError::Unavailable("unexpected_answer")),
        }
    }

    /// What it calls itself, with the number and the time of its signatures if it has any from the network: from 1 to 128 printable
    /// characters of ASCII. `None` if it does not tell: that can be turned off.
    ///
    /// # Errors
    /// [`ScanError::Unavailable`]
    pub async fn version(&self) -> Result<Option<String>, ScanError> {
        Ok(answer::version(&self.ask(b"zVERSION\0").await?))
    }

    /// The answer to a command without a file.
    async fn ask(&self, command: &[u8]) -> Result<Vec<u8>, ScanError> {
        let asking = timeout(self.timeouts.call, async {
            let mut connection = connection::open(&self.address, self.timeouts.connect).await?;
            let sent = connection.write_all(command).await;
            sent.map_err(|_| ScanError::CONNECTION_LOST)?;
            answer::read(&mut connection).await
        });
        asking.await.unwrap_or(Err(ScanError::TIMED_OUT))
    }

    async fn exchange(&self, source: impl AsyncRead + Unpin, size: u64) -> Result<Verdict, ScanError> {
        let connection = connection::open(&self.address, self.timeouts.connect).await?;
        let (from, to) = tokio::io::split(connection);
        let mut answering = pin!(answer::read(from));
        // clamd may answer and close before it has read everything. Reading at the same time loses no answer, whatever then
        // becomes of the connection.
        let sent = tokio::select! {
            biased;
            sent = self.send(source, size, to) => sent,
            early = &mut answering => return answer::early_verdict(&early?),
        };
        match sent {
            Ok(()) => loop {
                match timeout(self.timeouts.idle, &mut answering).await {
                    Ok(answer) => return answer::verdict(&answer?),
                    // It may be busy with this file, or hang.
                    Err(_) => self.ping().await?,
                }
            },
            Err(SendError::Connection) => match timeout(self.timeouts.idle, &mut answering).await {
                Ok(Ok(answer)) => answer::early_verdict(&answer),
                Ok(Err(_)) | Err(_) => Err(ScanError::CONNECTION_LOST),
            },
            Err(SendError::TimedOut) => Err(ScanError::TIMED_OUT),
            Err(SendError::Source(error)) => Err(ScanError::Source(error)),
        }
    }

    /// Sends a file of `size` bytes, and that it ends there.
    async fn send(
        &self,
        mut source: impl AsyncRead + Unpin,
        size: u64,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), SendError> {
        let idle = self.timeouts.idle;
        let mut write = async |bytes: &[u8]| match timeout(idle, to.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(SendError::Connection),
            Err(_) => Err(SendError::TimedOut),
        };
        write(b"zINSTREAM\0").await?;
        // The length of a piece stands before it, so that both go out at once.
        let mut piece = vec![0; LENGTH_BYTES + PIECE];
        let mut left = size;
        loop {
            let reading = timeout(idle, source.read(&mut piece[LENGTH_BYTES..]));
            let length = reading
                .await
                .map_err(io::Error::from)
                .flatten()
                .map_err(SendError::Source)?;
            // One that ends too early would be judged by its beginning.
            left = match left.checked_sub(length as u64) {
                Some(left) if length > 0 || left == 0 => left,
                _ => return Err(SendError::Source(io::Error::other("it is not as long as it should be"))),
            };
            let prefix = u32::try_from(length).map_err(|_| SendError::Connection)?;
            piece[..LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());
            // An empty piece is the end.
            write(&piece[..LENGTH_BYTES + length]).await?;
            if length == 0 {
                return Ok(());
            }
        }
    }
}

/// The length of a piece is a number of 32 bits.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Why not all of a file was sent.
enum SendError {
    Source(io::Error),
    Connection,
    TimedOut,
}
