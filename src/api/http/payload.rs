//! JSON request bodies, validated against the schema of their type before they are parsed: every error at once, each with its
//! JSON pointer, and never with what the client sent.

mod explain;
mod schema;

use std::time::Duration;

use poem::{Body, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::ParseFromJSON;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde_json::Value;
use tokio::time::Instant;

use crate::http::body;
use crate::http::caller;
use crate::http::problem::{FieldError, MAX_ERRORS, Problem};

/// If a body takes longer to arrive, the session may have ended meanwhile.
const REVALIDATE_AFTER: Duration = Duration::from_secs(1);

/// A JSON body of type `T`.
#[derive(Debug, Clone)]
pub(crate) struct JsonBody<T>(pub(crate) T);

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
        Ok(Self(parse(&read_body(request, body.take()?).await?)?))
    }
}

/// As [`JsonBody`], for an operation that needs no body.
pub(crate) struct OptionalJsonBody<T>(pub(crate) Option<T>);

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
        let bytes = read_body(request, body.take()?).await?;
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

/// The body. If it arrived slowly, the caller's session is checked again.
async fn read_body(request: &Request, body: Body) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let bytes = body::read(request, body).await?;
    if begun.elapsed() > REVALIDATE_AFTER {
        caller::revalidate_session(request).await?;
    }
    Ok(bytes)
}

fn parse<T: ParseFromJSON + 'static>(bytes: &[u8]) -> Result<T, Problem> {
    // serde_json limits the depth to 128 and refuses lone surrogates.
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|_| Problem::malformed("malformed_json", "The body is not valid JSON."))?;
    let schema = schema::of::<T>();
    let privileged = schema.privileged_fields(&value);
    let nulls = schema.take_optional_nulls(&mut value);
    // The items of a list that is too long are not looked at.
    let mut errors = schema.take_long_lists(&mut value);
    let invalid = schema.validator.iter_errors(&value);
    errors.extend(invalid.flat_map(|error| explain::field_errors(&error)).take(MAX_ERRORS));
    errors.extend(privileged);
    if schema::contains_nul(&value) {
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
    // The schema accepts it, the type does not. Without detail, because poem-openapi quotes the value.
    T::parse_from_json(Some(value)).map_err(|_| Problem::invalid(vec![FieldError::new("", "invalid", "is not valid")]))
}
