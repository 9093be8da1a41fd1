//! `/openapi.json`, `/docs` and `/redoc`: the OpenAPI document, and the pages that show it.

use std::sync::Arc;

use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{EndpointExt, IntoResponse, Response, Route, get, handler};
use serde_json::Value;
use utoipa_swagger_ui::Config;

use crate::http::problem::Problem;

/// Swagger UI and ReDoc need their own scripts, styles and, for ReDoc, a worker; nothing from other servers.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; worker-src blob:; frame-ancestors 'none'";

/// `/openapi.json`, `/docs` and `/redoc`.
pub(crate) fn routes(document: &Value, redoc_html: String) -> Route {
    let text: Arc<str> = document.to_string().into();
    let swagger = Config::new(["/openapi.json"])
        .validator_url("none")
        .persist_authorization(true);
    Route::new()
        .at("/openapi.json", get(openapi_json.data(text)))
        .at("/docs", get(to_docs))
        .at("/docs/", get(swagger_page.data(Arc::new(swagger.clone()))))
        .at("/docs/*file", get(swagger_page.data(Arc::new(swagger))))
        .at("/redoc", get(redoc_page.data(Arc::<str>::from(redoc_html))))
}

#[handler]
fn openapi_json(document: Data<&Arc<str>>) -> Response {
    Response::builder()
        .content_type("application/json")
        .body(document.0.to_string())
}

#[handler]
fn to_docs() -> Response {
    Response::builder()
        .status(StatusCode::PERMANENT_REDIRECT)
        .header(header::LOCATION, "/docs/")
        .finish()
}

#[handler]
fn swagger_page(request: &poem::Request, config: Data<&Arc<Config<'static>>>) -> Result<Response, Problem> {
    let file = request.path_params::<String>().unwrap_or_default();
    let not_found = || Problem::not_found("not_found", "There is no resource at this path.");
    let found = utoipa_swagger_ui::serve(&file, Arc::clone(&config)).map_err(|_| not_found())?;
    let file = found.ok_or_else(not_found)?;
    Ok(page(&file.content_type, file.bytes.into_owned()))
}

#[handler]
fn redoc_page(html: Data<&Arc<str>>) -> Response {
    page("text/html; charset=utf-8", html.0.to_string().into_bytes())
}

fn page(content_type: &str, bytes: Vec<u8>) -> Response {
    Response::builder()
        .content_type(content_type)
        .header(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)
        .body(bytes)
        .into_response()
}
