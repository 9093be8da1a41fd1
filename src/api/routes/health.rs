//! `/health`: the health of the service, for people, load balancers and orchestrators.

use std::time::Duration;

use cura_app::App;
use cura_app::health::{HealthReport, Probe, ServiceStatus};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::http::problem::Problem;
use crate::http::shutdown::Shutdown;
use crate::routes::tag::Tag;

/// When a client should try again if the service is unhealthy.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct HealthApi;

/// The health of the service.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename = "ServiceStatus", rename_all = "lowercase")]
enum ServiceStatusView {
    /// Everything works.
    Healthy,
    /// Requests are served, but a dependency other than the database is down, or a queue is paused.
    Degraded,
    /// Requests cannot be served.
    Unhealthy,
}

/// The status of a dependency.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "snake_case")]
enum DependencyStatus {
    Up,
    Down,
    /// This installation does not use it.
    NotUsed,
}

/// One dependency.
#[derive(Object)]
struct DependencyHealth {
    /// Whether it responds.
    status: DependencyStatus,
}

/// The AI service.
#[derive(Object)]
struct AiHealth {
    /// `down` while the AI service fails; `reason` says why.
    status: DependencyStatus,
    /// The provider. `demo` is not an AI: its answers are fixed.
    provider: String,
    /// Why it is `down`: a code as in a failed answer's `metadata.error`.
    reason: Option<String>,
}

/// The job queues.
#[derive(Object)]
struct QueueHealth {
    /// `down` if there is no worker, or a job that could run has waited for 30 seconds.
    status: DependencyStatus,
    /// Worker processes that sent a heartbeat in the last seconds.
    workers: Option<i64>,
    /// How long the oldest job that could run has waited.
    oldest_ready_seconds: Option<f64>,
    /// The queues that operators have paused: what they are for waits. While there is one, the service is `degraded`.
    paused: Option<Vec<String>>,
}

/// The disk.
#[derive(Object)]
struct DiskHealth {
    /// `down` if too little space is free.
    status: DependencyStatus,
    /// The free space, in bytes; null if it is unknown.
    free_bytes: Option<i64>,
}

/// Pushes to phones and browsers.
#[derive(Object)]
struct PushHealth {
    /// Both together; `not_used` if push is off.
    status: DependencyStatus,
    /// Firebase Cloud Messaging.
    fcm: DependencyStatus,
    /// The push services of browsers.
    web_push: DependencyStatus,
}

/// Where files are kept.
#[derive(Object)]
struct StorageHealth {
    /// Whether files can be stored and read.
    status: DependencyStatus,
    /// `disk`, `supabase` or `s3`.
    provider: String,
}

/// What scans files before they are given out.
#[derive(Object)]
struct ScannerHealth {
    /// Both together.
    status: DependencyStatus,
    /// The scanner for malware; without one, files go through our own checks only.
    clamd: DependencyStatus,
    /// Whether the processes that look into files can be confined; otherwise none is looked into.
    sandbox: DependencyStatus,
}

/// The health of the service and its dependencies.
#[derive(Object)]
#[oai(rename = "Health")]
struct HealthView {
    /// The whole service.
    status: ServiceStatusView,
    /// Postgres. While it is `down`, the service is `unhealthy`.
    database: DependencyHealth,
    /// Redis; `not_used` where the server runs without.
    redis: DependencyHealth,
    /// What writes the answers.
    ai_service: AiHealth,
    /// The jobs that wait, and the workers that do them.
    queue: QueueHealth,
    /// The disk where files arrive.
    disk: DiskHealth,
    /// Where files are kept.
    storage: StorageHealth,
    /// What scans files.
    scanner: ScannerHealth,
    /// The push services.
    push: PushHealth,
    /// The version of the server.
    version: String,
    /// The commit that this server was built from, or `unknown`.
    commit: String,
}

/// The check passed.
#[derive(Object)]
#[oai(rename = "Ok")]
struct OkView {
    /// Always `ok`.
    status: String,
}

#[derive(ApiResponse)]
enum HealthResponse {
    /// Requests are served.
    #[oai(status = 200)]
    Serving(Json<HealthView>),
    /// Requests cannot be served.
    #[oai(status = 503)]
    Unhealthy(
        Json<HealthView>,
        /// In seconds.
        #[oai(header = "Retry-After")]
        i32,
    ),
}

#[OpenApi(prefix_path = "/health", tag = "Tag::Health")]
impl HealthApi {
    /// Get the health of the service and its dependencies
    ///
    /// For people and monitoring. It is a 200 while requests are served, also when a part is away (`degraded`), and a 503 with the same
    /// body when the database is. Every part is probed at most once a second, with a short time limit of its own. Nobody signs in. Costs
    /// a wide limit by address, ten times the default one.
    #[oai(path = "/", method = "get", operation_id = "getHealth")]
    async fn health(&self, app: Data<&App>) -> HealthResponse {
        let view = HealthView::of(&*app.health.report().await, app.health.commit());
        match view.status {
            ServiceStatusView::Unhealthy => HealthResponse::Unhealthy(Json(view), 2),
            ServiceStatusView::Healthy | ServiceStatusView::Degraded => HealthResponse::Serving(Json(view)),
        }
    }

    /// Check that the process is alive
    ///
    /// For orchestrators. It asks no dependency: a 200 says that the process responds. Nobody signs in, and it costs nothing.
    #[oai(path = "/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Json<OkView> {
        ok()
    }

    /// Check that this server accepts requests
    ///
    /// For load balancers: the database responds and accepts writes, and the server is not shutting down. Else it is a 503
    /// `database_unavailable` or `closing`: send requests to another server. Nobody signs in, and it costs nothing.
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, app: Data<&App>, shutdown: Data<&Shutdown>) -> Result<Json<OkView>, Problem> {
        if shutdown.has_begun() {
            return Err(Problem::unavailable(
                "closing",
                "This server is shutting down.",
                RETRY_AFTER,
            ));
        }
        if !app.health.is_ready().await {
            return Err(Problem::unavailable(
                "database_unavailable",
                "The database is unavailable.",
                RETRY_AFTER,
            ));
        }
        Ok(ok())
    }
}

fn ok() -> Json<OkView> {
    Json(OkView {
        status: "ok".to_owned(),
    })
}

impl From<Probe> for DependencyStatus {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Up => Self::Up,
            Probe::Down => Self::Down,
        }
    }
}

/// Of something that may not be used.
impl From<Option<Probe>> for DependencyStatus {
    fn from(probe: Option<Probe>) -> Self {
        probe.map_or(Self::NotUsed, Into::into)
    }
}

impl From<ServiceStatus> for ServiceStatusView {
    fn from(status: ServiceStatus) -> Self {
        match status {
            ServiceStatus::Healthy => Self::Healthy,
            ServiceStatus::Degraded => Self::Degraded,
            ServiceStatus::Unhealthy => Self::Unhealthy,
        }
    }
}

impl HealthView {
    fn of(report: &HealthReport, commit: &str) -> Self {
        let redis = if report.live_kind == "redis" {
            report.live.into()
        } else {
            DependencyStatus::NotUsed
        };
        Self {
            status: report.status().into(),
            database: DependencyHealth {
                status: report.database.into(),
            },
            redis: DependencyHealth { status: redis },
            queue: QueueHealth {
                status: report.queue_status().into(),
                workers: report.queue.as_ref().map(|queue| queue.workers),
                oldest_ready_seconds: report.queue.as_ref().map(|queue| queue.oldest_ready.as_secs_f64()),
                paused: report.queue.as_ref().map(|queue| queue.paused.clone()),
            },
            push: PushHealth {
                status: report.push.status().into(),
                fcm: report.push.fcm.into(),
                web_push: report.push.web_push.into(),
            },
            storage: StorageHealth {
                status: report.storage.into(),
                provider: report.storage_provider.to_owned(),
            },
            scanner: ScannerHealth {
                status: report.scanner.status().into(),
                clamd: report.scanner.clamd.into(),
                sandbox: report.scanner.sandbox.into(),
            },
            disk: DiskHealth {
                status: report.disk_status().into(),
                free_bytes: report
                    .disk
                    .map(|disk| i64::try_from(disk.free_bytes).unwrap_or(i64::MAX)),
            },
            ai_service: AiHealth {
                status: report.ai_status().into(),
                provider: report.ai_provider.clone(),
                reason: report.ai_fault.clone(),
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: commit.to_owned(),
        }
    }
}
