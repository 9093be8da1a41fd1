//! Health: all dependencies are probed at once, each with its own short timeout.

mod fresh;
mod report;

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cura_live::Live;
use cura_providers::ai::Ai;
use cura_providers::files::FileStore;
use cura_providers::push::{FCM, WEB_PUSH};
use cura_providers::scan::{CLAMD, Inspector, SANDBOX, SandboxState};
use cura_store::{Database, StoreError};
use tokio::time::Instant;

use crate::devices::PushServices;
use fresh::Fresh;
pub use report::{Disk, HealthReport, Probe, PushReport, ScannerReport, ServiceStatus};

/// How long one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer counts: however often the service is asked, it asks what it depends on once in this time.
const FRESH: Duration = Duration::from_secs(1);
/// How long a probe of the AI provider counts: probing it costs money.
const AI_FRESH: Duration = Duration::from_secs(30);
/// How long a probe of the file store counts: some are paid by the request.
const STORAGE_FRESH: Duration = Duration::from_secs(5);
/// The last probe of the AI provider, and the code of its failure if it failed.
#[derive(Debug, Default)]
struct AiProbe(Mutex<Option<(Instant, Option<&'static str>)>>);

/// Probes what Cura depends on. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    database: Database,
    live: Live,
    ai: Ai,
    ai_probe: Arc<AiProbe>,
    push: PushServices,
    files: FileStore,
    stored: Arc<Fresh<Probe>>,
    has_clamd: bool,
    /// Starts the children that are probed, and no others: so no probe waits.
    inspector: Arc<Inspector>,
    /// Set once a child could be confined here.
    is_confined: Arc<AtomicBool>,
    data_dir: Arc<PathBuf>,
    commit: &'static str,
    reported: Arc<Fresh<Arc<HealthReport>>>,
    is_ready: Arc<Fresh<bool>>,
}

impl Health {
    /// Puts the parts together. `has_clamd` says whether workers ask a clamd about files, `data_dir` is where files arrive, `commit` what
    /// this server was built from.
    pub fn new(
        database: Database,
        live: Live,
        ai: Ai,
        push: PushServices,
        files: FileStore,
        has_clamd: bool,
        data_dir: PathBuf,
        commit: &'static str,
    ) -> Self {
        Self {
            database,
            live,
            ai,
            ai_probe: Arc::default(),
            push,
            files,
            stored: Arc::new(Fresh::new(STORAGE_FRESH)),
            has_clamd,
            inspector: Arc::new(Inspector::new(1)),
            is_confined: Arc::default(),
            data_dir: Arc::new(data_dir),
            commit,
            reported: Arc::new(Fresh::new(FRESH)),
            is_ready: Arc::new(Fresh::new(FRESH)),
        }
    }

    /// The commit that this server was built from, or `unknown`.
    pub fn commit(&self) -> &'static str {
        self.commit
    }

    /// What probes of everything found, at most a second ago.
    pub async fn report(&self) -> Arc<HealthReport> {
        self.reported.get(async || Arc::new(self.probe_all().await)).await
    }

    /// Probes everything at once.
    async fn probe_all(&self) -> HealthReport {
        let (is_ready, live, queue, ai, storage, is_confined) = tokio::join!(
            self.is_ready(),
            probe(self.live.check()),
            tokio::time::timeout(PROBE_TIMEOUT, async {
                let asked = self
                    .database
                    .connection(async |connection| Ok::<_, StoreError>(cura_queue::health(connection).await?));
                asked.await.ok()
            }),
            self.probe_ai(),
            self.stored.get(async || probe(self.files.check()).await),
            self.probe_sandbox(),
        );
        let queue = queue.ok().flatten();
        // Workers know more than a probe finds out: whether requests are answered.
        let said_by_worker = queue.as_ref().and_then(|queue| queue.fault.clone());
        let failing = queue.as_ref().map(|queue| queue.failing_services.clone());
        HealthReport {
            database: if is_ready { Probe::Up } else { Probe::Down },
            live,
            live_kind: self.live.kind(),
            queue,
            ai_fault: said_by_worker.or(ai.map(str::to_owned)),
            ai_provider: self.ai.primary_model().provider.clone(),
            disk: self.disk(),
            push: self.push(failing.as_deref()),
            storage,
            storage_provider: self.files.name(),
            scanner: self.scanner(failing.as_deref(), is_confined),
        }
    }

    /// Push services: whether they are used, and fail for no worker.
    fn push(&self, failing: Option<&[String]>) -> PushReport {
        let state = |is_used: bool, name: &str| {
            let is_failing = failing.is_some_and(|failing| failing.iter().any(|service| service == name));
            is_used.then_some(if is_failing { Probe::Down } else { Probe::Up })
        };
        PushReport {
            fcm: state(self.push.firebase_project.is_some(), FCM),
            web_push: state(self.push.web_push_key.is_some(), WEB_PUSH),
        }
    }

    /// What scans files: workers know of clamd, and of their sandbox; this server of its own.
    fn scanner(&self, failing: Option<&[String]>, is_confined: bool) -> ScannerReport {
        let fails = |name: &str| failing.is_some_and(|failing| failing.iter().any(|service| service == name));
        let up_unless = |is_failing: bool| if is_failing { Probe::Down } else { Probe::Up };
        ScannerReport {
            clamd: self.has_clamd.then(|| up_unless(fails(CLAMD))),
            sandbox: up_unless(fails(SANDBOX) || !is_confined),
        }
    }

    /// Whether the children of this server can be confined. It is the kernel's, so it is asked until it was so once.
    async fn probe_sandbox(&self) -> bool {
        if self.is_confined.load(Ordering::Relaxed) {
            return true;
        }
        let probed = tokio::time::timeout(PROBE_TIMEOUT, self.inspector.probe()).await;
        let is_confined = matches!(probed, Ok(SandboxState::Works(_)));
        self.is_confined.store(is_confined, Ordering::Relaxed);
        is_confined
    }

    /// Whether requests can be served: Postgres answered and accepts writes, at most a second ago.
    pub async fn is_ready(&self) -> bool {
        let ask = async || probe(self.database.ping()).await == Probe::Up;
        self.is_ready.get(ask).await
    }

    /// The code of the provider's failure, if it fails.
    async fn probe_ai(&self) -> Option<&'static str> {
        let known = || self.ai_probe.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, found)) = &mut *known()
            && at.elapsed() < AI_FRESH
        {
            return *found;
        }
        if let Some((at, _)) = &mut *known() {
            // Callers that come while the probe runs get the previous result.
            *at = Instant::now();
        }
        let found = match tokio::time::timeout(PROBE_TIMEOUT, self.ai.probe()).await {
            Ok(probed) => probed.err().map(|error| error.code()),
            Err(_) => Some("provider_timeout"),
        };
        *known() = Some((Instant::now(), found));
        found
    }

    fn disk(&self) -> Option<Disk> {
        let stat = rustix::fs::statvfs(self.data_dir.as_path()).ok()?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        Some(Disk { free_bytes })
    }
}

async fn probe<E>(asked: impl Future<Output = Result<(), E>>) -> Probe {
    match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
        Ok(Ok(())) => Probe::Up,
        Ok(Err(_)) | Err(_) => Probe::Down,
    }
}
