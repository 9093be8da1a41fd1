//! The OpenAPI document: what poem-openapi writes of the routes, and one pass over it for the people and the generators that read it.
//!
//! It stays OpenAPI 3.0, which poem-openapi writes and every generator reads. `openapi/tools/check-document` holds it to what generators
//! and linters ask of a document.

mod events;
mod examples;
mod names;
mod operations;
mod references;
mod texts;
mod values;

use poem_openapi::OpenApiService;
use serde_json::{Value, json};

use crate::routes::service;

/// The version of OpenAPI: the newest of 3.0.
const VERSION: &str = "3.0.3";
/// Cargo.toml says UNLICENSED; this page says what that means.
const UNLICENSED: &str = "https://docs.npmjs.com/cli/v11/configuring-npm/package-json#license";

/// What poem-openapi writes of the routes: every path that is served, the socket's, too, with which the server checks requests.
pub(crate) fn of_routes() -> Value {
    serde_json::from_str(&OpenApiService::spec(&service())).unwrap_or_default()
}

/// The OpenAPI document, as it is served and committed. The socket is not in it: generators would make a GET of it that cannot work.
pub fn openapi() -> Value {
    let mut document = of_routes();
    describe(&mut document);
    operations::take_out(&mut document, "openSocket");
    references::mend(&mut document);
    events::write_once(&mut document);
    names::mend(&mut document);
    operations::mend(&mut document);
    texts::add(&mut document);
    examples::add(&mut document);
    document
}

/// What the document says of itself.
fn describe(document: &mut Value) {
    document["openapi"] = json!(VERSION);
    document["servers"] = json!([{ "url": "/", "description": "The server that this document comes from." }]);
    document["info"]["contact"] = json!({ "name": "Cura" });
    document["info"]["license"] = json!({ "name": "UNLICENSED", "url": UNLICENSED });
}

/// The HTML page of ReDoc, without the fonts that it loads from another server, which would learn who reads the document.
pub(crate) fn redoc_html() -> String {
    let html = service().redoc_html();
    let lines = html.lines().filter(|line| !line.contains("fonts.googleapis.com"));
    lines.collect::<Vec<_>>().join("\n")
}
