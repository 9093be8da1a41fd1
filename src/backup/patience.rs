//! A file store that is busy for a moment does not end the work of hours.

use std::ops::Range;
use std::time::Duration;

use cura_domain::object_key::ObjectKey;
use cura_providers::files::{FileStore, FileStoreError, OpenedFile};

/// The pauses after which a file store is asked again.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// Opens an object, or a part of it, and tries again unless it is missing.
///
/// # Errors
/// The last error.
pub async fn open_patiently(
    files: &FileStore,
    key: &ObjectKey,
    range: Option<Range<u64>>,
) -> Result<OpenedFile, FileStoreError> {
    for pause in PAUSES {
        match files.open(key, range.clone()).await {
            Err(error) if error != FileStoreError::Missing => tokio::time::sleep(pause).await,
            known => return known,
        }
    }
    files.open(key, range).await
}
