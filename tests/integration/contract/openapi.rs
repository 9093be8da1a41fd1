//! The OpenAPI document: served with its pages, and true of the events that are sent.

use std::time::Duration;

use cura_tests::problem::assert_problem;
use cura_tests::{Cura, ScriptedProvider};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn the_document_and_its_pages_are_served_and_load_nothing_from_elsewhere() {
    let cura = Cura::without_workers().await;
    let document = cura.client().get("/openapi.json").await;
    assert_eq!(document.status, 200);
    assert_eq!(document.body["openapi"], "3.0.3");
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(30));
    let http = http.build().unwrap();
    let base = &cura.servers[0].base;
    let docs = http.get(format!("{base}/docs")).send().await.unwrap();
    assert_eq!(
        (docs.status().as_u16(), docs.headers()["location"].to_str().unwrap()),
        (308, "/docs/")
    );
    for path in ["/docs/", "/docs/swagger-initializer.js", "/redoc"] {
        let page = http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(page.status(), 200, "{path}");
        assert!(
            page.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("'self'")
        );
        let text = page.text().await.unwrap();
        assert!(
            !text.contains("fonts.googleapis.com") && !text.contains("validator.swagger.io"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_pages_of_the_document_say_which_methods_they_have() {
    let cura = Cura::without_workers().await;
    for path in ["/openapi.json", "/docs/", "/redoc"] {
        let reply = cura.client().post(path, &json!({})).await;
        assert_problem(&reply, 405, path);
        assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{path}");
    }
}

#[tokio::test]
async fn every_event_is_as_the_document_says() {
    let provider = ScriptedProvider::answering(&["One ", "two ", "three ", "four"], Duration::ZERO).await;
    let cura = Cura::with_provider(&provider).await;
    let user = cura.user().await;
    let mut document = user.get("/openapi.json").await.body;
    as_json_schema(&mut document);
    let schema = json!({ "$ref": "#/components/schemas/Event", "components": document["components"] });
    let event = jsonschema::validator_for(&schema).unwrap();
    let mut stream = user.watch(None).await;
    let sent = user
        .post("/chat/send", &json!({ "content": "I want to kill myself" }))
        .await;
    let mut seen = stream.until("complete").await;
    let delete = user.request(
        Method::DELETE,
        &format!("/conversations/{}", sent.body["conversation_id"]),
    );
    user.send(delete).await;
    seen.extend(stream.until("conversation").await);
    let mut lost = user.watch(Some("99")).await;
    seen.push(lost.next().await.unwrap());
    user.post("/auth/logout-all", &Value::Null).await;
    seen.extend(lost.rest().await);
    for received in seen {
        let wrong: Vec<String> = event
            .iter_errors(&received.data)
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:?}", received.data);
    }
}

/// The committed document.
fn committed() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../openapi/openapi.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The operations of a document, by their ids.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    operations
        .map(|operation| (operation["operationId"].as_str().unwrap().to_owned(), operation.clone()))
        .collect()
}

/// The bodies of a request or an answer that have a schema and are not bytes.
fn described_media(of: &Value) -> Vec<(String, Value)> {
    let content = of["content"].as_object().into_iter().flatten();
    let described = content.filter(|(kind, _)| kind.ends_with("json") || *kind == "text/event-stream");
    described.map(|(kind, media)| (kind.clone(), media.clone())).collect()
}

#[test]
fn every_request_and_every_success_has_an_example_that_fits_its_schema() {
    let document = committed();
    let mut as_schema = document.clone();
    as_json_schema(&mut as_schema);
    let mut checked = 0;
    for ((id, operation), (_, schemas)) in operations(&document).into_iter().zip(operations(&as_schema)) {
        let mut bodies = vec![("request".to_owned(), &operation["requestBody"], &schemas["requestBody"])];
        for (status, response) in operation["responses"].as_object().unwrap() {
            if status.starts_with('2') {
                bodies.push((status.clone(), response, &schemas["responses"][status]));
            }
        }
        for (which, body, with_schema) in bodies {
            for (kind, media) in described_media(body) {
                let examples: Vec<Value> = match media["examples"].as_object() {
                    Some(named) => named.values().map(|example| example["value"].clone()).collect(),
                    None => vec![media["example"].clone()],
                };
                let mut schema = with_schema["content"][&kind]["schema"].clone();
                // A stream is a list of events.
                if kind == "text/event-stream" && schema["type"] == "array" {
                    schema = schema["items"].clone();
                }
                schema["components"] = as_schema["components"].clone();
                let validator = jsonschema::validator_for(&schema).unwrap();
                for example in examples {
                    assert!(!example.is_null(), "{id} {which} {kind} has no example");
                    let wrong: Vec<String> = validator.iter_errors(&example).map(|error| error.to_string()).collect();
                    assert!(wrong.is_empty(), "{id} {which}: {wrong:?}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 80, "{checked}");
}

#[test]
fn everything_is_described_and_no_schema_is_named_like_a_type_of_a_language() {
    let document = committed();
    let mut missing = Vec::new();
    let mut needs = |what: String, described: &Value| {
        if described["description"].as_str().is_none_or(str::is_empty) {
            missing.push(what);
        }
    };
    for (id, operation) in operations(&document) {
        needs(id.clone(), &operation);
        assert!(operation["security"].is_array(), "{id}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            needs(format!("{id} {}", parameter["name"]), parameter);
        }
        if operation.get("requestBody").is_some() {
            needs(format!("{id} request"), &operation["requestBody"]);
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            needs(format!("{id} {status}"), response);
            for (name, header) in response["headers"].as_object().into_iter().flatten() {
                needs(format!("{id} {status} {name}"), header);
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        needs(name.clone(), schema);
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            needs(format!("{name}.{field}"), property);
        }
        let types = [
            "Any",
            "Array",
            "Boolean",
            "Data",
            "Date",
            "Double",
            "Enum",
            "Error",
            "Exception",
            "File",
            "Float",
            "Function",
            "Int",
            "List",
            "Map",
            "Number",
            "Object",
            "Ok",
            "Option",
            "Optional",
            "Promise",
            "Record",
            "Request",
            "Response",
            "Result",
            "Set",
            "String",
            "Type",
            "URL",
            "Unit",
            "Void",
        ];
        assert!(!types.contains(&name.as_str()), "{name}");
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// OpenAPI 3.0 says `nullable` where JSON Schema has another type.
fn as_json_schema(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.remove("nullable").is_some()
                && let Some(kind) = fields.get("type").cloned()
            {
                fields.insert("type".to_owned(), json!([kind, "null"]));
            }
            fields.values_mut().for_each(as_json_schema);
        }
        Value::Array(items) => items.iter_mut().for_each(as_json_schema),
        _ => {}
    }
}
