//! The scanner of files, as the settings say.

use cura_domain::file::MAX_FILE_BYTES;
use cura_providers::scan::{Clamd, ClamdTimeouts, Inspector, ScanError, ScanHealth, Scanner, Verdict};
use tokio::io::AsyncReadExt;

use crate::settings::Settings;

/// The configured scanner. Asks nothing yet.
pub fn scanner(settings: &Settings) -> Scanner {
    match &settings.files.clamd {
        Some(address) => Scanner::clamd(Clamd::new(address.clone(), ClamdTimeouts::default())),
        None => Scanner::OWN_CHECKS_ONLY,
    }
}

/// Says at the start what files are scanned with, and goes on to know whether they can be.
pub async fn watch_scanner(scanner: Scanner, known: ScanHealth) {
    tokio::join!(report(&scanner), known.watch(&scanner, Inspector::new(1)));
}

/// Says what files are scanned with, and whether it takes the largest of them: a scanner that is away may come back.
async fn report(scanner: &Scanner) {
    let Some(clamd) = scanner.as_clamd() else {
        tracing::info!("files go through our own checks only: CLAMD_ADDRESS is not set");
        return;
    };
    let checked = async {
        let version = scanner.check().await?;
        let largest = tokio::io::repeat(0).take(MAX_FILE_BYTES);
        let verdict = clamd.scan(largest, MAX_FILE_BYTES).await?;
        Ok::<_, ScanError>((version, verdict))
    };
    match checked.await {
        Ok((version, Verdict::Clean)) => {
            tracing::info!(
                version = version.as_deref().unwrap_or("unknown"),
                "the scanner is ready"
            );
        }
        Ok((_, verdict)) => {
            tracing::error!(
                ?verdict,
                "the scanner refuses a file without content: check its limits and signatures"
            );
        }
        Err(error @ ScanError::TooLarge) => {
            tracing::error!(%error, "large files cannot be scanned: raise StreamMaxLength of the scanner");
        }
        Err(error) => tracing::warn!(%error, "no files can be scanned at the moment"),
    }
}
