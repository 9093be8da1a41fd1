//! Ids are 64-bit integers that Postgres assigns. Each kind has its own type, so that they cannot be confused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

id!(
    /// A user: someone with an account.
    UserId
);
id!(
    /// A session: one device that a user is signed in on, and its family of refresh tokens.
    SessionId
);
id!(
    /// A device that pushes go to.
    DeviceId
);
id!(
    /// A conversation; belongs to exactly one user.
    ConversationId
);
id!(
    /// A message of either side; an answer is a message with the role `assistant`.
    MessageId
);
id!(
    /// Something that operators tell everybody.
    AnnouncementId
);
id!(
    /// A file that a user has uploaded.
    FileId
);
