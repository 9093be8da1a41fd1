//! The OpenAPI document and the pages that show it.

use std::sync::Arc;

use poem::http::{StatusCode, header};
use poem::web::Data;
use poem::{EndpointExt, IntoResponse, Response, Route, get, handler};
use poem_openapi::OpenApiService;
use serde_json::{Value, json};
use utoipa_swagger_ui::Config;

use crate::http::problem::Problem;
use crate::routes::service;

/// Swagger UI and ReDoc need their own scripts, styles and, for ReDoc, a worker; nothing from elsewhere.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; worker-src blob:; frame-ancestors 'none'";

/// The OpenAPI document, as it is served and committed.
pub fn openapi() -> Value {
    let text = OpenApiService::spec(&service());
    let mut document: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(schemas) = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
    {
        schemas.values_mut().for_each(mark_nullable);
    }
    document
}

/// What is optional may be null, in both directions; poem-openapi does not say so.
fn mark_nullable(schema: &mut Value) {
    let required: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, property) in properties {
        if required.iter().any(|required| required == name) {
            continue;
        }
        if let Some(reference) = property.get("$ref").cloned() {
            // Beside a $ref, OpenAPI 3.0 ignores everything; beside no type, `nullable` means nothing to some validators.
            *property = json!({ "anyOf": [{ "$ref": reference }, { "enum": [null] }], "nullable": true });
        } else if let Some(property) = property.as_object_mut() {
            property.insert("nullable".to_owned(), Value::Bool(true));
        }
    }
}

/// The routes that are about the API instead of in it.
pub(crate) fn routes(document: &Value) -> Route {
    let text: Arc<str> = document.to_string().into();
    let swagger = Config::new(["/openapi.json"])
        .validator_url("none")
        .persist_authorization(true);
    Route::new()
        .at("/openapi.json", get(openapi_json.data(text)))
        .at("/docs", get(to_docs))
        .at("/docs/", get(swagger_page.data(Arc::new(swagger.clone()))))
        .at("/docs/*file", get(swagger_page.data(Arc::new(swagger))))
        .at("/redoc", get(redoc_page.data(redoc())))
}

fn redoc() -> Arc<str> {
    // The page asks a font service for its fonts; nobody but us should know who reads our documents.
    let html = service().redoc_html();
    html.lines()
        .filter(|line| !line.contains("fonts.googleapis.com"))
        .collect::<Vec<_>>()
        .join("\n")
        .into()
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
    let not_found = || Problem::not_found("not_found", "There is nothing at this address.");
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
