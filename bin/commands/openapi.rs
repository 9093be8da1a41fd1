//! `cura-admin openapi`: the document clients are built from.

/// The OpenAPI document as indented JSON.
pub fn document() -> String {
    format!("{:#}", cura_api::openapi())
}
