//! `/health`: whether Cura is well, for people, load balancers and orchestrators.

use std::time::Duration;

use cura_app::App;
use cura_app::health::{HealthReport, Probe};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use crate::http::problem::Problem;
use crate::http::shutdown::Shutdown;
use crate::routes::tag::Tag;

/// A job that could run waits longer than this only when there are too few workers.
const QUEUE_BEHIND: Duration = Duration::from_secs(30);

pub(crate) struct HealthApi;

/// How Cura is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum Overall {
    /// All is well.
    Healthy,
    /// Requests are served, but something is missing.
    Degraded,
    /// Requests cannot be served.
    Unhealthy,
}

/// How one dependency is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "snake_case")]
enum Standing {
    Up,
    Down,
    /// This Cura does not use it.
    NotUsed,
}

/// One dependency.
#[derive(Object)]
struct DependencyHealth {
    status: Standing,
}

/// The AI service.
#[derive(Object)]
struct AiHealth {
    status: Standing,
    /// `demo` is no AI: it says the same to everybody.
    provider: String,
}

/// The queues.
#[derive(Object)]
struct QueueHealth {
    status: Standing,
    /// Worker processes seen in the last seconds.
    workers: Option<i64>,
    /// How long the longest waiting job that could run has been waiting.
    oldest_ready_seconds: Option<f64>,
}

/// The disk.
#[derive(Object)]
struct DiskHealth {
    /// `down` when there is too little room.
    status: Standing,
    free_bytes: Option<i64>,
}

/// How Cura and its dependencies are.
#[derive(Object)]
#[oai(rename = "Health")]
struct HealthView {
    status: Overall,
    database: DependencyHealth,
    redis: DependencyHealth,
    ai_service: AiHealth,
    queue: QueueHealth,
    disk: DiskHealth,
    version: String,
}

/// Yes.
#[derive(Object)]
#[oai(rename = "Yes")]
struct YesView {
    /// `ok`.
    status: String,
}

#[derive(ApiResponse)]
enum HealthAnswer {
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
    /// How Cura and its dependencies are
    #[oai(path = "/", method = "get", operation_id = "getHealth")]
    async fn health(&self, app: Data<&App>) -> HealthAnswer {
        let view = HealthView::from(app.health.report().await);
        match view.status {
            Overall::Unhealthy => HealthAnswer::Unhealthy(Json(view), 2),
            Overall::Healthy | Overall::Degraded => HealthAnswer::Serving(Json(view)),
        }
    }

    /// Whether the process is alive
    #[oai(path = "/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Json<YesView> {
        yes()
    }

    /// Whether this server wants requests: its database answers and it is not closing
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, app: Data<&App>, shutdown: Data<&Shutdown>) -> Result<Json<YesView>, Problem> {
        let after = Duration::from_secs(2);
        if shutdown.has_begun() {
            return Err(Problem::unavailable("closing", "This server is closing.", after));
        }
        if !app.health.is_ready().await {
            return Err(Problem::unavailable(
                "database_unavailable",
                "The database is away.",
                after,
            ));
        }
        Ok(yes())
    }
}

fn yes() -> Json<YesView> {
    Json(YesView {
        status: "ok".to_owned(),
    })
}

impl From<Probe> for Standing {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Up => Self::Up,
            Probe::Down => Self::Down,
        }
    }
}

impl From<HealthReport> for HealthView {
    fn from(health: HealthReport) -> Self {
        let queue_up = health
            .queue
            .as_ref()
            .is_some_and(|q| q.workers > 0 && q.oldest_ready < QUEUE_BEHIND);
        let disk_up = health.disk.is_none_or(|disk| !disk.low);
        let well = health.live == Probe::Up && health.ai == Probe::Up && queue_up && disk_up;
        let up = |up| if up { Standing::Up } else { Standing::Down };
        Self {
            status: match health.database {
                Probe::Down => Overall::Unhealthy,
                Probe::Up if well => Overall::Healthy,
                Probe::Up => Overall::Degraded,
            },
            database: DependencyHealth {
                status: health.database.into(),
            },
            redis: DependencyHealth {
                status: if health.live_kind == "redis" {
                    health.live.into()
                } else {
                    Standing::NotUsed
                },
            },
            ai_service: AiHealth {
                status: health.ai.into(),
                provider: health.ai_provider,
            },
            queue: QueueHealth {
                status: up(queue_up),
                workers: health.queue.as_ref().map(|queue| queue.workers),
                oldest_ready_seconds: health.queue.as_ref().map(|queue| queue.oldest_ready.as_secs_f64()),
            },
            disk: DiskHealth {
                status: up(disk_up),
                free_bytes: health
                    .disk
                    .map(|disk| i64::try_from(disk.free_bytes).unwrap_or(i64::MAX)),
            },
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}
