//! The policy table of the API, held against the committed OpenAPI document.

use std::collections::BTreeMap;

use cura_api::{Authentication, policies};
use serde_json::{Value, json};

/// Every operation of the document, by its id.
fn operations() -> BTreeMap<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|item| item.as_object().unwrap().values());
    operations
        .map(|operation| (operation["operationId"].as_str().unwrap().to_owned(), operation.clone()))
        .collect()
}

#[test]
fn every_operation_has_exactly_one_row() {
    let mut rows: Vec<&str> = policies().iter().map(|(id, _)| *id).collect();
    rows.sort_unstable();
    // The socket, of which generators would make a GET that cannot work, is served and not in this document.
    rows.retain(|id| *id != "openSocket");
    let documented: Vec<String> = operations().into_keys().collect();
    assert_eq!(rows, documented);
}

#[test]
fn every_row_documents_its_authentication() {
    let documented = operations();
    for (id, policy) in policies() {
        let schemes = match policy.authentication {
            Authentication::SocketHandshake => {
                assert_eq!(*id, "openSocket");
                continue;
            }
            Authentication::Public => json!([]),
            Authentication::AccessToken => json!([{ "access_token": [] }]),
            Authentication::StreamCredentials => {
                json!([{ "access_token": [] }, { "ticket": [] }, { "stream_token": [] }])
            }
        };
        assert_eq!(documented[*id]["security"], schemes, "{id}");
    }
}

#[test]
fn every_row_reads_the_body_that_is_documented() {
    let documented = operations();
    for (id, policy) in policies().iter().filter(|(id, _)| documented.contains_key(*id)) {
        let has_body = documented[*id].get("requestBody").is_some();
        assert_eq!(policy.body.is_read, has_body, "{id}");
    }
}

/// Whatever asks who calls can say that it is nobody, that they called too often, and that nobody can be asked.
#[test]
fn every_row_that_wants_credentials_documents_how_it_refuses() {
    let documented = operations();
    for (id, policy) in policies() {
        let is_public = policy.authentication == Authentication::Public;
        if is_public || policy.authentication == Authentication::SocketHandshake {
            continue;
        }
        for status in ["401", "429", "503"] {
            assert!(!documented[*id]["responses"][status].is_null(), "{id}: {status}");
        }
    }
}
