//! An operation runs only under the policy that was found for it.
//!
//! The router accepts spellings of a path that the document does not have. Such a request has the policy of an unknown path, so it
//! has to be one.

use std::sync::Arc;

use poem::error::NotFoundError;
use poem::{Endpoint, Request, Result};

use crate::http::operation::Operation;

/// 404 for a path that is not spelled as in the document.
pub(crate) async fn only_documented<E: Endpoint>(next: Arc<E>, request: Request) -> Result<E::Output> {
    if Operation::of(&request).is_documented() {
        next.call(request).await
    } else {
        Err(NotFoundError.into())
    }
}
