//! JSON request bodies, checked against the schema of their type and the rules of the domain before they are parsed: every error at
//! once, each with its JSON pointer, and never with what the client sent.

pub(crate) mod checked;
mod explain;
pub(crate) mod preferences;
mod schema;
pub(crate) mod written;

pub(crate) use schema::PRIVILEGED;
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
use crate::http::operation::Operation;
use crate::http::problem::{FieldError, MAX_ERRORS, Problem};

/// How many errors of the schema are looked at: several may be about one field.
const MAX_SCHEMA_ERRORS: usize = 5 * MAX_ERRORS;
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
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let judged = <JudgedBody<T> as ApiExtractor>::from_request(request, body, options).await?;
        Ok(Self(judged.0.map_err(Problem::from)?))
    }
}

/// As [`JsonBody`], for an operation that has more to say about a body that is refused.
pub(crate) struct JudgedBody<T>(pub(crate) Result<T, InvalidBody>);

/// A JSON body with invalid fields.
pub(crate) struct InvalidBody {
    value: Value,
    errors: Vec<FieldError>,
}

impl InvalidBody {
    /// The field at `pointer`, unless it is known to be invalid.
    pub(crate) fn valid_field(&self, pointer: &str) -> Option<&Value> {
        let is_wrong = self.errors.iter().any(|error| error.pointer.starts_with(pointer));
        self.value.pointer(pointer).filter(|_| !is_wrong)
    }

    /// Adds what else is wrong.
    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        self.errors.extend(errors);
    }
}

impl From<InvalidBody> for Problem {
    fn from(body: InvalidBody) -> Self {
        Self::invalid(body.errors)
    }
}

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for JudgedBody<T> {
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
        <JsonBody<T> as ApiExtractor>::request_meta()
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        check_type(request)?;
        let bytes = read_body(request, body.take()?).await?;
        Ok(Self(parse(request, &bytes)?))
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
        // Null is nothing, as it is for a field that is optional.
        if bytes.is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(Self(None));
        }
        check_type(request)?;
        Ok(Self(Some(parse(request, &bytes)?.map_err(Problem::from)?)))
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

/// The body, or what is wrong with it.
///
/// # Errors
/// 400 if it is not JSON.
fn parse<T: ParseFromJSON + 'static>(request: &Request, bytes: &[u8]) -> Result<Result<T, InvalidBody>, Problem> {
    // serde_json limits the depth to 128 and refuses lone surrogates.
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|_| Problem::malformed("malformed_json", "The body is not valid JSON."))?;
    let schema = schema::of::<T>();
    let mut errors = schema.privileged_fields(&value);
    let nulls = schema.take_optional_nulls(&mut value);
    // Before lists are emptied: a rule may ask whether there is anything in one.
    let rule_faults = schema.rule_faults(&value);
    // The items of a list that is too long are not looked at.
    errors.extend(schema.take_long_lists(&mut value));
    let invalid = schema.validator.iter_errors(&value);
    errors.extend(
        invalid
            .flat_map(|error| explain::field_errors(&error))
            .take(MAX_SCHEMA_ERRORS),
    );
    errors.extend(schema::nul_faults(&value));
    errors.extend(rule_faults);
    // poem-openapi gives the parameters of a path names of its own.
    let operation = Operation::of(request);
    let parameter = |name: &str| {
        operation
            .path_parameter(request.original_uri().path(), name)?
            .parse()
            .ok()
    };
    errors.extend(schema.mismatches(&value, parameter));
    if !errors.is_empty() {
        return Ok(Err(InvalidBody { value, errors }));
    }
    if let Value::Object(fields) = &mut value {
        fields.extend(nulls.into_iter().map(|name| (name, Value::Null)));
    }
    // The schema accepts it, the type does not. Without detail, because poem-openapi quotes the value.
    let invalid = |_| InvalidBody {
        value: Value::Null,
        errors: vec![FieldError::new("", "invalid", "is not valid")],
    };
    Ok(T::parse_from_json(Some(value)).map_err(invalid))
}
