//! The scanner: what it says of files, and what is said when it does not.

mod clamd;
mod failures;
pub(crate) mod samples;

use std::time::Duration;

use cura_providers::scan::{Clamd, ClamdTimeouts, ScanError, Verdict};

/// Waits that a test can wait for.
const SHORT: ClamdTimeouts = ClamdTimeouts {
    connect: Duration::from_secs(2),
    idle: Duration::from_secs(2),
    scan: Duration::from_secs(20),
    call: Duration::from_secs(2),
};

fn at(address: &str, timeouts: ClamdTimeouts) -> Clamd {
    Clamd::new(address.parse().unwrap(), timeouts)
}

/// What is said of a file at this address.
async fn scan(clamd: &Clamd, file: &[u8]) -> Result<Verdict, ScanError> {
    clamd.scan(file, file.len() as u64).await
}

fn infected(signature: &str) -> Verdict {
    let signature = signature.to_owned();
    Verdict::Infected { signature }
}

/// That it was not judged, and why in one word.
fn is_unavailable(said: &Result<Verdict, ScanError>, why: &str) -> bool {
    matches!(said, Err(ScanError::Unavailable(code)) if *code == why)
}
