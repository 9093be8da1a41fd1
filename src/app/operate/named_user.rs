//! Users, as operators name them.

use cura_domain::UserId;
use cura_domain::account::Email;
use cura_store::{PgConnection, StoreError, users};

/// A user, as an operator names one.
#[derive(Debug, Clone)]
pub enum NamedUser {
    /// By id.
    Id(UserId),
    /// By e-mail address.
    Email(Email),
}

impl NamedUser {
    /// Who it is; `None` if there is nobody, also while an account is being erased, whose address is free.
    pub(super) async fn find(&self, connection: &mut PgConnection) -> Result<Option<UserId>, StoreError> {
        match self {
            Self::Id(id) => Ok(users::exists(connection, *id).await?.then_some(*id)),
            Self::Email(email) => users::find_id(connection, email.as_str()).await,
        }
    }
}
