//! Whether files can be scanned here: asked now and then, so that it is known before somebody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use super::child::{Inspector, SandboxState};
use super::scanner::Scanner;

/// clamd, where services are named.
pub const CLAMD: &str = "clamd";
/// The confinement of the processes that look into files, where services are named.
pub const SANDBOX: &str = "sandbox";
/// How often both are asked.
const INTERVAL: Duration = Duration::from_secs(10);

/// What of scanning fails, as far as is known. Cheap to clone; clones know the same.
#[derive(Debug, Clone, Default)]
pub struct ScanHealth(Arc<Failing>);

#[derive(Debug, Default)]
struct Failing {
    clamd: AtomicBool,
    sandbox: AtomicBool,
}

impl ScanHealth {
    /// What fails: by the names that [`CLAMD`] and [`SANDBOX`] are.
    pub fn failing(&self) -> Vec<&'static str> {
        [(&self.0.clamd, CLAMD), (&self.0.sandbox, SANDBOX)]
            .into_iter()
            .filter(|(fails, _)| fails.load(Ordering::Relaxed))
            .map(|(_, name)| name)
            .collect()
    }

    /// Asks for ever, and says when something has changed. A sandbox that works once is not asked again: it is the kernel's.
    pub async fn watch(self, scanner: &Scanner, inspector: Inspector) {
        let mut is_confined = false;
        loop {
            if !is_confined {
                let state = inspector.probe().await;
                is_confined = matches!(state, SandboxState::Works(_));
                let failed_before = self.0.sandbox.swap(!is_confined, Ordering::Relaxed);
                match state {
                    SandboxState::Works(landlock) => {
                        tracing::info!(?landlock, "processes that look into files are confined")
                    }
                    SandboxState::Missing(why) if !failed_before => {
                        tracing::error!(%why, "no file can be looked into: this machine cannot confine the process that does");
                    }
                    SandboxState::Missing(_) => {}
                }
            }
            if scanner.as_clamd().is_some() {
                let checked = scanner.check().await;
                let failed_before = self.0.clamd.swap(checked.is_err(), Ordering::Relaxed);
                match checked {
                    Err(error) if !failed_before => tracing::warn!(%error, "the scanner does not answer; files wait"),
                    Ok(_) if failed_before => tracing::info!("the scanner answers again"),
                    Ok(_) | Err(_) => {}
                }
            }
            sleep(INTERVAL).await;
        }
    }
}
