//! Whether the words of a call may be sent. People delete what they said while jobs wait, back off and fall back, so a call is
//! made with a permission, which is asked right before each request.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::error::{AiError, Failure};

/// Why words must not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPermission {
    /// The person has deleted them. For good.
    Withdrawn,
    /// It cannot be found out now.
    Unknown,
}

/// Asks whether the words of a call may be sent. Cheap to clone.
#[derive(Clone)]
pub struct Permission(Arc<dyn Fn() -> BoxFuture<'static, Result<(), NoPermission>> + Send + Sync>);

impl Permission {
    /// A permission that is given by `ask`, which has a deadline of its own.
    pub fn new(ask: impl Fn() -> BoxFuture<'static, Result<(), NoPermission>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Failure::Withdrawn`] or [`Failure::Unconfirmed`]; then nothing may be sent.
    pub(crate) async fn ask(&self) -> Result<(), AiError> {
        let refused = |reason| match reason {
            NoPermission::Withdrawn => Failure::Withdrawn,
            NoPermission::Unknown => Failure::Unconfirmed,
        };
        (self.0)().await.map_err(|reason| AiError::new(refused(reason), true))
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permission")
    }
}
