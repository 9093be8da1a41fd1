//! Reading a request body within its limits.

use poem::Body;
use poem::http::StatusCode;
use tokio::io::AsyncReadExt;

use crate::http::policy::BodyLimit;
use crate::http::problem::Problem;

/// How much of a body that is too large is read before the connection is closed, in bytes.
const MAX_DISCARDED_BYTES: u64 = 16 * 1024 * 1024;

/// The body.
///
/// # Errors
/// 413 if it is too large, 408 if it arrives too slowly, 400 if it breaks off.
pub(crate) async fn read(body: Body, limit: &BodyLimit) -> Result<Vec<u8>, Problem> {
    let too_slow = || {
        let detail = "The body took too long to arrive.";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
    };
    tokio::time::timeout(limit.timeout, read_up_to(body, limit.max_bytes))
        .await
        .map_err(|_| too_slow())?
}

/// Reads a body that is not needed, within the same limits.
pub(crate) async fn discard(body: Body, limit: &BodyLimit) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    read(body, limit).await.map(drop)
}

async fn read_up_to(body: Body, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    let broken = |_| Problem::malformed("malformed_body", "The body is incomplete.");
    let mut reader = body.into_async_read();
    let mut bytes = Vec::new();
    (&mut reader)
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(broken)?;
    if bytes.len() <= max_bytes {
        return Ok(bytes);
    }
    // A client that is still sending would see a broken connection instead of the response.
    let mut rest = reader.take(MAX_DISCARDED_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink())
        .await
        .map_err(broken)?;
    Err(Problem::too_large())
}
