//! JSON request bodies, checked against the type's own schema before they are parsed: every error at once, each with its
//! JSON pointer, and nothing the client sent in any of them.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use jsonschema::Validator;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use poem::http::StatusCode;
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::http::caller;
use crate::http::problem::{FieldError, Problem};

/// The largest JSON body, in bytes: a message of 10,000 characters of 4 bytes, escaped, fits.
pub const MAX_JSON_BYTES: usize = 256 * 1024;
/// How much of a body that is too large is read to the end, in bytes, before the connection is closed on it.
const MAX_DISCARDED_BYTES: u64 = 16 * 1024 * 1024;
/// A body that took longer is from somebody who may have been signed out meanwhile.
const PROMPT: Duration = Duration::from_secs(1);
/// How long a body may take to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Fields only Cura sets. A body that tries to is refused, so that nobody believes it worked.
const PRIVILEGED: [&str; 12] = [
    "id",
    "user_id",
    "role",
    "is_admin",
    "admin",
    "status",
    "password_hash",
    "email",
    "avatar_url",
    "last_seen",
    "updated_at",
    "created_at",
];

/// A JSON body of type `T`.
#[derive(Debug, Clone)]
pub struct JsonBody<T>(pub T);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn param_in() -> Option<MetaParamIn> {
        None
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        None
    }

    fn param_raw_type(&self) -> Option<&Self::ParamRawType> {
        None
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: T::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        check_type(request)?;
        Ok(Self(parse(&read_in_time(request, body.take()?).await?)?))
    }
}

/// As [`JsonBody`], of a route that needs no body.
pub struct OptionalJsonBody<T>(pub Option<T>);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for OptionalJsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn param_in() -> Option<MetaParamIn> {
        None
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        None
    }

    fn param_raw_type(&self) -> Option<&Self::ParamRawType> {
        None
    }

    fn request_meta() -> Option<MetaRequest> {
        let meta = <JsonBody<T> as ApiExtractor>::request_meta();
        meta.map(|meta| MetaRequest {
            required: false,
            ..meta
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let bytes = read_in_time(request, body.take()?).await?;
        if bytes.is_empty() {
            return Ok(Self(None));
        }
        check_type(request)?;
        Ok(Self(Some(parse(&bytes)?)))
    }
}

fn check_type(request: &Request) -> Result<()> {
    let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
    if <poem_openapi::payload::Json<Value> as Payload>::check_content_type(content_type) {
        return Ok(());
    }
    Err(ContentTypeError::NotSupported {
        content_type: String::new(),
    }
    .into())
}

/// The body; whoever took long to send it is looked at again.
async fn read_in_time(request: &Request, body: Body) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let bytes = tokio::time::timeout(READ_TIMEOUT, read(body))
        .await
        .map_err(|_| too_slow())??;
    if begun.elapsed() > PROMPT {
        caller::revalidate_session(request).await?;
    }
    Ok(bytes)
}

/// Reads a body nobody wants, if it is not too large.
pub(crate) async fn discard(body: Body) -> std::result::Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    tokio::time::timeout(READ_TIMEOUT, read(body))
        .await
        .map_err(|_| too_slow())?
        .map(drop)
}

/// The body, if it is not too large.
async fn read(body: Body) -> std::result::Result<Vec<u8>, Problem> {
    let broken = |_| Problem::malformed("malformed_body", "The body did not arrive whole.");
    let mut reader = body.into_async_read();
    let mut bytes = Vec::new();
    let limit = MAX_JSON_BYTES as u64;
    (&mut reader)
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .await
        .map_err(broken)?;
    if bytes.len() <= MAX_JSON_BYTES {
        return Ok(bytes);
    }
    // A client that is still sending would see a broken connection instead of the answer.
    let mut rest = reader.take(MAX_DISCARDED_BYTES);
    tokio::io::copy(&mut rest, &mut tokio::io::sink())
        .await
        .map_err(broken)?;
    Err(Problem::too_large())
}

fn too_slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "The body took too long to arrive.",
    )
}

fn parse<T: ParseFromJSON + 'static>(bytes: &[u8]) -> Result<T, Problem> {
    // serde_json limits the depth to 128 and refuses lone surrogates.
    let mut value: Value =
        serde_json::from_slice(bytes).map_err(|_| Problem::malformed("malformed_json", "The body is not JSON."))?;
    let schema = schema_of::<T>();
    let privileged = privileged(&value, &schema.declared);
    let nulls = take_optional_nulls(&mut value, &schema);
    let mut errors: Vec<FieldError> = schema
        .validator
        .iter_errors(&value)
        .flat_map(|error| explain(&error))
        .collect();
    errors.extend(privileged);
    if contains_nul(&value) {
        errors.push(FieldError::new(
            "",
            "invalid_character",
            "must not contain the NUL character",
        ));
    }
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    if let Value::Object(fields) = &mut value {
        fields.extend(nulls.into_iter().map(|name| (name, Value::Null)));
    }
    // What the schema lets through and the type does not: no detail, since poem-openapi quotes the value.
    T::parse_from_json(Some(value)).map_err(|_| Problem::invalid(vec![FieldError::new("", "invalid", "is not valid")]))
}

struct Schema {
    validator: Validator,
    required: Vec<String>,
    declared: Vec<String>,
    /// Where null is something to say.
    nullable: Vec<String>,
}

/// The compiled schema of a type; compiled once.
fn schema_of<T: ParseFromJSON + 'static>() -> Arc<Schema> {
    static SCHEMAS: OnceLock<RwLock<HashMap<TypeId, Arc<Schema>>>> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(Default::default);
    if let Some(known) = schemas
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&TypeId::of::<T>())
    {
        return Arc::clone(known);
    }
    let compiled = Arc::new(compile::<T>());
    schemas
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(TypeId::of::<T>(), Arc::clone(&compiled));
    compiled
}

fn compile<T: ParseFromJSON>() -> Schema {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let schemas = serde_json::to_value(&registry.schemas).unwrap_or_default();
    let own = &schemas[T::name().as_ref()];
    let words = |value: &Value| {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let required = words(&own["required"]);
    let declared = own["properties"]
        .as_object()
        .map(|all| all.keys().cloned().collect())
        .unwrap_or_default();
    let properties = own["properties"].as_object().into_iter().flatten();
    let nullable = properties
        .filter(|(_, property)| property["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    let document = json!({ "allOf": [serde_json::to_value(T::schema_ref()).unwrap_or_default()], "components": { "schemas": schemas } });
    // A schema that does not compile is a bug of ours which every request of a test would show: let the parser decide.
    let validator = jsonschema::draft4::new(&document)
        .or_else(|_| jsonschema::draft4::new(&json!({})))
        .unwrap_or_else(|_| unreachable!("the empty schema compiles"));
    Schema {
        validator,
        required,
        declared,
        nullable,
    }
}

/// A client that says `null` for something optional means "nothing": it is taken out, and given back where "nothing" is
/// something to say.
fn take_optional_nulls(value: &mut Value, schema: &Schema) -> Vec<String> {
    let Value::Object(fields) = value else {
        return Vec::new();
    };
    let mut nulls = Vec::new();
    fields.retain(|name, value| {
        let taken = value.is_null() && !schema.required.contains(name);
        if taken && schema.nullable.contains(name) {
            nulls.push(name.clone());
        }
        !taken
    });
    nulls
}

fn privileged(value: &Value, declared: &[String]) -> Vec<FieldError> {
    let Value::Object(fields) = value else {
        return Vec::new();
    };
    PRIVILEGED
        .into_iter()
        .filter(|name| fields.contains_key(*name) && !declared.iter().any(|declared| declared == name))
        .map(|name| FieldError::new(format!("/{name}"), "not_allowed", "cannot be set"))
        .collect()
}

fn contains_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(contains_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.contains('\0') || contains_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn explain(error: &jsonschema::ValidationError<'_>) -> Vec<FieldError> {
    let at = error.instance_path().to_string();
    let (code, detail) = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            return vec![FieldError::new(format!("{at}/{name}"), "required", "is required")];
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let inner: Vec<FieldError> = context.iter().flatten().flat_map(explain).collect();
            if !inner.is_empty() {
                return inner;
            }
            ("invalid", "is not valid".to_owned())
        }
        ValidationErrorKind::Type { kind } => (
            "invalid_type",
            match kind {
                TypeKind::Single(wanted) => format!("must be of type {wanted}"),
                TypeKind::Multiple(_) => "is of the wrong type".to_owned(),
            },
        ),
        ValidationErrorKind::MaxLength { limit } => ("too_long", format!("must have at most {limit} characters")),
        ValidationErrorKind::MinLength { limit } => ("too_short", format!("must have at least {limit} characters")),
        ValidationErrorKind::MaxItems { limit } => ("too_many", format!("must have at most {limit} items")),
        ValidationErrorKind::MinItems { limit } => ("too_few", format!("must have at least {limit} items")),
        ValidationErrorKind::Maximum { limit } => ("too_large", format!("must be at most {limit}")),
        ValidationErrorKind::Minimum { limit } => ("too_small", format!("must be at least {limit}")),
        ValidationErrorKind::Enum { options } => ("invalid_choice", format!("must be one of {options}")),
        ValidationErrorKind::Format { .. } | ValidationErrorKind::Pattern { .. } => {
            ("invalid_format", "does not have the right format".to_owned())
        }
        _ => ("invalid", "is not valid".to_owned()),
    };
    vec![FieldError::new(at, code, detail)]
}
