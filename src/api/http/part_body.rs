//! The body of a request that adds bytes to an upload (TUS 1.0, PATCH): kept as it comes, so that what has arrived is there when the
//! connection breaks. Memory does not grow with what is sent.

use cura_app::files::{Appending, ResumableError};
use poem::{Body, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::registry::{MetaMediaType, MetaParamIn, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::http::address_budget::Held;
use crate::http::arriving_body::{Pieces, Stop};
use crate::http::arriving_parts::ArrivingPart;
use crate::http::operation::Operation;
use crate::http::policy::BodyLimit;
use crate::http::problem::Problem;
use crate::http::tus;
use crate::http::under_way::BodyBudget;

/// What a request holds besides its part, in bytes: what the connection has read.
const CONNECTION_BYTES: usize = 72 * 1024;

/// Bytes of an upload, of which nothing was read yet.
pub(crate) struct PartBody {
    body: Body,
    limit: BodyLimit,
    held: Option<Held>,
}

impl PartBody {
    /// Reads the bytes into `appending`, until they end, the connection breaks, or another request takes over; then what has arrived is
    /// written.
    ///
    /// # Errors
    /// 413 if they are more than are missing, of which nothing is kept that was not written before; 408 if they arrive too slowly, 400 if
    /// they break off, 409 if others were added meanwhile, 429 or 503 if too many bodies are under way.
    pub(crate) async fn receive(self, appending: &mut Appending, part: &ArrivingPart) -> Result<(), Problem> {
        let Self { body, limit, mut held } = self;
        let mut pieces = Pieces::new(body, limit);
        loop {
            let arrived = tokio::select! {
                arrived = pieces.next_bytes() => arrived,
                () = until(appending.due()) => {
                    appending.write().await?;
                    continue;
                }
                () = part.is_taken_over() => {
                    appending.write().await?;
                    return Err(ResumableError::WrongOffset.into());
                }
            };
            match arrived {
                Ok(Some(bytes)) => {
                    part.note_arrival();
                    let needed = CONNECTION_BYTES + appending.held_with(bytes.len());
                    let pushed = match held.as_mut().map_or(Ok(()), |held| held.grow_to(needed)) {
                        Ok(()) => appending.push(&bytes).await.map_err(Problem::from),
                        Err(exhausted) => {
                            appending.write().await?;
                            Err(exhausted.into())
                        }
                    };
                    match pushed {
                        Err(problem) if problem.code() == Problem::too_large().code() => {
                            pieces.discard().await;
                            return Err(problem);
                        }
                        pushed => pushed?,
                    }
                }
                Ok(None) => return Ok(appending.write().await?),
                Err(Stop::TooLarge) => {
                    pieces.discard().await;
                    return Err(Problem::too_large());
                }
                Err(stop) => {
                    appending.write().await?;
                    return Err(stop.into());
                }
            }
        }
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl<'a> ApiExtractor<'a> for PartBody {
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
        let schema = MetaSchema {
            description: Some("The bytes that follow those that have arrived: all that are missing, or some."),
            ..MetaSchema::new_with_format("string", "binary")
        };
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: tus::CONTENT_TYPE,
                schema: MetaSchemaRef::Inline(Box::new(schema)),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        tus::check_version(request)?;
        let essence = |content_type: &str| content_type.split(';').next().map(|essence| essence.trim().to_owned());
        match request.content_type().and_then(essence) {
            Some(essence) if essence.eq_ignore_ascii_case(tus::CONTENT_TYPE) => {}
            Some(_) => {
                return Err(ContentTypeError::NotSupported {
                    content_type: String::new(),
                }
                .into());
            }
            None => return Err(ContentTypeError::ExpectContentType.into()),
        }
        Ok(Self {
            body: body.take()?,
            limit: Operation::of(request).policy.body,
            held: BodyBudget::of_form(request),
        })
    }
}
