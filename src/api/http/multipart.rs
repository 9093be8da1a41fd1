//! Forms with a file (RFC 7578): read part by part within their limits, the file to a file without a name. Memory does not grow with what
//! is sent.

mod form;

use poem::http::{StatusCode, header};
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use cura_app::files::{Arrival, Arrived};

use crate::http::arriving_body::Pieces;
use crate::http::operation::Operation;
use crate::http::problem::Problem;
use crate::http::under_way::BodyBudget;

/// The longest boundary (RFC 2046, section 5.1.1), in bytes.
const MAX_BOUNDARY_BYTES: usize = 70;
/// What a form holds in memory while it arrives, at most, in bytes: what the connection has read, the parser's buffer, and what is not
/// written yet.
const HELD_BYTES: usize = 160 * 1024;

/// A form with a file, of which nothing was read yet.
pub(crate) struct FileForm {
    body: Body,
    boundary: String,
}

/// A form with a picture, of which nothing was read yet.
pub(crate) struct PictureForm(pub(crate) FileForm);

/// A form with a file that has arrived.
pub(crate) struct ReceivedForm {
    /// The file.
    pub(crate) file: Arrived,
    /// The name of the file, as the client sent it.
    pub(crate) raw_name: String,
    /// The message that the file belongs to.
    pub(crate) message_id: Option<i64>,
}

impl FileForm {
    /// Reads the form, and its file into `arrival`.
    ///
    /// # Errors
    /// 413 if it is too large, 408 if it arrives too slowly, 400 if it breaks off or is no form, 422 if a field is missing or invalid,
    /// 429 or 503 if too many bodies are under way or the disk is full.
    pub(crate) async fn receive(self, request: &Request, arrival: Arrival) -> Result<ReceivedForm, Problem> {
        let mut held = BodyBudget::of_form(request);
        held.as_mut().map_or(Ok(()), |held| held.grow_to(HELD_BYTES))?;
        let mut pieces = Pieces::new(self.body, Operation::of(request).policy.body);
        let read = form::read(&mut pieces, self.boundary, arrival).await;
        if read.as_ref().is_err_and(form::is_too_large) {
            pieces.discard().await;
        }
        read
    }
}

impl<'a> ApiExtractor<'a> for FileForm {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(_registry: &mut Registry) {}

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
        let file = MetaSchema {
            description: Some("At most 10 MiB: JPEG, PNG, GIF, WebP, PDF, DOC or DOCX, by its content."),
            ..MetaSchema::new_with_format("string", "binary")
        };
        let message = MetaSchema {
            description: Some("A message of mine that it belongs to."),
            ..MetaSchema::new_with_format("integer", "int64")
        };
        Some(form_of(vec![("file", file), ("message_id", message)]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let boundary = boundary(request)?;
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > Operation::of(request).policy.body.max_bytes as u64) {
            // Before a byte of it is read.
            return Err(Problem::too_large().into());
        }
        Ok(Self {
            body: body.take()?,
            boundary,
        })
    }
}

impl<'a> ApiExtractor<'a> for PictureForm {
    const TYPES: &'static [ApiExtractorType] = FileForm::TYPES;

    type ParamType = ();
    type ParamRawType = ();

    fn register(_registry: &mut Registry) {}

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
        let file = MetaSchema {
            description: Some("At most 10 MiB: JPEG, PNG, GIF or WebP, by its content."),
            ..MetaSchema::new_with_format("string", "binary")
        };
        Some(form_of(vec![("file", file)]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        FileForm::from_request(request, body, options).await.map(Self)
    }
}

/// The documentation of a form with these fields, of which the first one is required.
fn form_of(fields: Vec<(&'static str, MetaSchema)>) -> MetaRequest {
    let required = fields.iter().map(|(name, _)| *name).take(1).collect();
    let inline = |(name, schema)| (name, MetaSchemaRef::Inline(Box::new(schema)));
    let form = MetaSchema {
        required,
        properties: fields.into_iter().map(inline).collect(),
        ..MetaSchema::new("object")
    };
    MetaRequest {
        description: None,
        content: vec![MetaMediaType {
            content_type: "multipart/form-data",
            schema: MetaSchemaRef::Inline(Box::new(form)),
        }],
        required: true,
    }
}

/// What stands between the parts.
fn boundary(request: &Request) -> Result<String> {
    let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
    let is_usable = |boundary: &String| (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len());
    match multer::parse_boundary(content_type) {
        Ok(boundary) if is_usable(&boundary) => Ok(boundary),
        Ok(_) | Err(multer::Error::NoBoundary) => {
            let detail = "The content type names no boundary of 1 to 70 characters (RFC 2046).";
            Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_header", detail).into())
        }
        Err(_) => Err(ContentTypeError::NotSupported {
            content_type: String::new(),
        }
        .into()),
    }
}
