//! `/openapi.json`, `/docs` and `/redoc`: the OpenAPI document, and the pages that show it.

mod page;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{EndpointExt, Request, Response, Route, get, handler};
use serde_json::Value;
use utoipa_swagger_ui::Config;

use crate::http::problem::Problem;
use page::Page;

/// Swagger UI and ReDoc need their own scripts, styles and, for ReDoc, a worker; nothing from other servers.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; worker-src blob:; frame-ancestors 'none'";

/// `/openapi.json`, `/docs` and `/redoc`.
pub(crate) fn routes(document: &Value, redoc_html: String) -> Route {
    let document = Page::new("application/json", Cow::Owned(document.to_string().into_bytes()), None);
    let redoc = Page::new(
        "text/html; charset=utf-8",
        Cow::Owned(redoc_html.into_bytes()),
        Some(PAGE_POLICY),
    );
    let swagger = Arc::new(SwaggerPages::new());
    Route::new()
        .at("/openapi.json", get(whole_page.data(Arc::new(document))))
        .at("/docs", get(to_docs))
        .at("/docs/", get(swagger_page.data(Arc::clone(&swagger))))
        .at("/docs/*file", get(swagger_page.data(swagger)))
        .at("/redoc", get(whole_page.data(Arc::new(redoc))))
}

#[handler]
async fn whole_page(request: &Request, page: Data<&Arc<Page>>) -> Response {
    page.respond(request).await
}

#[handler]
fn to_docs() -> Response {
    Response::builder()
        .status(StatusCode::PERMANENT_REDIRECT)
        .header(header::LOCATION, "/docs/")
        .finish()
}

#[handler]
async fn swagger_page(request: &Request, pages: Data<&Arc<SwaggerPages>>) -> Result<Response, Problem> {
    let file = request.path_params::<String>().unwrap_or_default();
    let not_found = || Problem::not_found("not_found", "There is no resource at this path.");
    let page = pages.find(&file).ok_or_else(not_found)?;
    Ok(page.respond(request).await)
}

/// The files of Swagger UI. Each becomes a page when it is first asked for; there are thirteen.
struct SwaggerPages {
    config: Arc<Config<'static>>,
    known: Mutex<HashMap<String, Arc<Page>>>,
}

impl SwaggerPages {
    fn new() -> Self {
        let config = Config::new(["/openapi.json"])
            .validator_url("none")
            .persist_authorization(true);
        Self {
            config: Arc::new(config),
            known: Mutex::default(),
        }
    }

    fn find(&self, file: &str) -> Option<Arc<Page>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = known().get(file) {
            return Some(Arc::clone(page));
        }
        let found = utoipa_swagger_ui::serve(file, Arc::clone(&self.config))
            .ok()
            .flatten()?;
        let page = Page::new(&found.content_type, found.bytes, Some(PAGE_POLICY));
        Some(Arc::clone(
            known().entry(file.to_owned()).or_insert_with(|| Arc::new(page)),
        ))
    }
}
