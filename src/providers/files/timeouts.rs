//! How long a file store may take.

use std::time::Duration;

/// Opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No byte moves, or the disk does not finish a piece of work.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A call that moves no file.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// A check of the store.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Putting a file: as long as an upload may take.
const PUT_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The longest waits. Tests take shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct FileStoreTimeouts {
    /// Opening a connection.
    pub connect: Duration,
    /// No byte moves in either direction, or the disk does not finish one piece of work.
    pub idle: Duration,
    /// A call that moves no file, its answer included.
    pub call: Duration,
    /// A check of the store.
    pub check: Duration,
    /// Putting a file. Reading one has no such limit: whoever reads it may be slow.
    pub put: Duration,
}

impl Default for FileStoreTimeouts {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            idle: IDLE_TIMEOUT,
            call: CALL_TIMEOUT,
            check: CHECK_TIMEOUT,
            put: PUT_TIMEOUT,
        }
    }
}
