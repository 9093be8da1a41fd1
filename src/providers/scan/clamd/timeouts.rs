//! How long a clamd may take.

use std::time::Duration;

/// Opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Neither a byte moves nor does it answer a ping beside.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Everything about one file. clamd itself gives up after 120 s (`MaxScanTime`): its answer ends the matter, while running out of our
/// time means that the same file is scanned again.
const SCAN_TIMEOUT: Duration = Duration::from_secs(180);
/// A ping, or asking for the version.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest waits. Tests take shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct ClamdTimeouts {
    /// Opening a connection.
    pub connect: Duration,
    /// Sending or reading a piece of a file. After it has been sent: how long the answer is awaited before a ping asks whether clamd
    /// still runs.
    pub idle: Duration,
    /// Everything about one file.
    pub scan: Duration,
    /// A call that moves no file, its answer included.
    pub call: Duration,
}

impl Default for ClamdTimeouts {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            idle: IDLE_TIMEOUT,
            scan: SCAN_TIMEOUT,
            call: CALL_TIMEOUT,
        }
    }
}
