//! Responses that are written as JSON straight from what they hold, for lists: `Json` makes a tree of values first.

use chrono::{DateTime, SecondsFormat, Utc};
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::{Serialize, Serializer};

use crate::http::problem::Problem;

/// A JSON payload with the schema of `T`. What `T` serializes to is what its `ToJSON` makes, which a test beside the type shows.
pub(crate) struct WrittenJson<T>(pub(crate) T);

impl<T: Type> Payload for WrittenJson<T> {
    const CONTENT_TYPE: &'static str = Json::<T>::CONTENT_TYPE;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type + Serialize> IntoResponse for WrittenJson<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => Response::builder()
                .header(header::CONTENT_TYPE, Self::CONTENT_TYPE)
                .body(body),
            Err(error) => {
                tracing::error!(%error, "a response cannot be written as JSON");
                poem::Error::from(Problem::internal()).into_response()
            }
        }
    }
}

/// Writes a time as `ToJSON` does.
pub(crate) fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}
