//! What the page lists: apalis-board's own routes over the queue's tables. Only what a listing is asked for reaches them: no body, no
//! header, and no method but GET.

use apalis_board::axum::framework::{ApiBuilder, RegisterRoute};
use apalis_postgres::{Config, PostgresStorage};
use axum::Router;
use axum::body::{Body, to_bytes};
use cura_app::operate::jobs::KNOWN_KINDS;
use poem::Response;
use poem::http::{Method, StatusCode, Uri, request, response};
use serde_json::Value;
use tower::ServiceExt;

use super::{LISTINGS, not_now};
use crate::http::problem::Problem;

pub use apalis_postgres::PgPool;

/// The most jobs of one page.
const MAX_PAGE_SIZE: u32 = 100;
/// The last page: what comes before it is read, too.
const MAX_PAGE: u32 = 10_000;
/// The largest listing, in bytes: a hundred jobs, which hold ids.
const MAX_LISTING_BYTES: usize = 8 * 1024 * 1024;

/// The routes of apalis-board.
pub(super) struct Listing {
    router: Router,
}

impl Listing {
    /// Lists every queue that a program of ours knows.
    pub(super) fn new(pool: &PgPool) -> Self {
        let register = |api: ApiBuilder<Router>, queue: &str| {
            let storage = PostgresStorage::<Value>::new(pool).with_config(Config::default().queue(queue));
            api.register(queue, storage)
        };
        let api = KNOWN_KINDS
            .iter()
            .fold(ApiBuilder::new(Router::new()), |api, kind| register(api, kind.queue));
        Self {
            router: Router::new().nest(LISTINGS, api.build()),
        }
    }

    /// The listing at this address.
    ///
    /// # Errors
    /// 404 if there is none, 400 for a page that there is not, and 503 whenever Postgres does not give it in time.
    pub(super) async fn answer(&self, uri: &Uri) -> Result<Response, Problem> {
        check_page(uri.query().unwrap_or_default())?;
        let request = request::Builder::new().method(Method::GET).uri(uri.clone());
        let request = request.body(Body::empty()).map_err(|_| Problem::internal())?;
        let answered = match self.router.clone().oneshot(request).await {
            Ok(answered) => answered,
            Err(never) => match never {},
        };
        let (response::Parts { status, .. }, body) = answered.into_parts();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Problem::not_found("not_found", "There is no such listing.")),
            StatusCode::BAD_REQUEST => return Err(malformed()),
            // What it says may be Postgres' own words.
            status => {
                tracing::warn!(%status, "a listing of the queue could not be made");
                return Err(not_now());
            }
        }
        let listed = to_bytes(body, MAX_LISTING_BYTES).await.map_err(|_| not_now())?;
        Ok(Response::builder().content_type("application/json").body(listed))
    }
}

/// Refuses pages that would be computed wrongly, or be endless.
fn check_page(query: &str) -> Result<(), Problem> {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let most = match &*name {
            "page" => MAX_PAGE,
            "page_size" => MAX_PAGE_SIZE,
            _ => continue,
        };
        if !value.parse().is_ok_and(|number: u32| (1..=most).contains(&number)) {
            return Err(malformed());
        }
    }
    Ok(())
}

fn malformed() -> Problem {
    let detail = "A page has a number from 1 to 10000, at most 100 jobs, and a status that jobs can have.";
    Problem::malformed("malformed_query", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_small_and_begin_at_one() {
        for good in ["", "page=1&page_size=10&status=Done", "page=10000&page_size=100", "x=0"] {
            assert!(check_page(good).is_ok(), "{good}");
        }
        for bad in [
            "page=0",
            "page=1&page=0",
            "page=-1",
            "page=10001",
            "page_size=101",
            "page_size=x",
            "p%61ge=0",
        ] {
            assert!(check_page(bad).is_err(), "{bad}");
        }
    }
}
