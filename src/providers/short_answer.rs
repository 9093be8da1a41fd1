//! Answers of services that say little: as much is read of them as is needed to know what they mean.

use reqwest::Response;

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The beginning of an answer.
///
/// # Errors
/// When it breaks off.
pub(crate) async fn beginning(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await? {
        let room = MAX_ANSWER - answer.len();
        answer.extend_from_slice(&piece[..piece.len().min(room)]);
        if answer.len() == MAX_ANSWER {
            break;
        }
    }
    Ok(answer)
}
