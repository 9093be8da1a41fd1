//! The list of erasures, as the file store keeps it: one object each, which is written once and never deleted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::UserId;
use crate::object_key::{InvalidObjectKey, ObjectKey};

/// Nobody has this id: the objects are in a folder of their own.
const FOLDER: UserId = UserId(i64::MAX - 1);

/// The erasure of a person, who is only a number then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Erasure {
    /// Its number, from 1, without gaps.
    pub number: i64,
    /// Who.
    pub user_id: UserId,
    /// When they had registered: with the id, it means them alone, whatever database an id is of.
    pub registered_at: DateTime<Utc>,
    /// When it began.
    pub erased_at: DateTime<Utc>,
}

impl Erasure {
    /// Whether both erase the same person.
    pub fn is_of_same_person(&self, other: &Self) -> bool {
        (self.user_id, self.registered_at) == (other.user_id, other.registered_at)
    }
}

/// The key of the erasure of this number, which is found without listing anything.
///
/// # Errors
/// Never for a number from 1 to 2⁶⁰.
pub fn object_key(number: i64) -> Result<ObjectKey, InvalidObjectKey> {
    let number = u128::try_from(number).map_err(|_| InvalidObjectKey)?;
    ObjectKey::new(FOLDER, number.to_be_bytes(), "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_key_of_its_own() {
        let key = |number| object_key(number).unwrap();
        let first = "9223372036854775806/00000000-0000-4000-8000-000000000001.json";
        assert_eq!(key(1).as_str(), first);
        assert_ne!(key(1).as_str(), key(1 << 32).as_str());
        assert!(object_key(-1).is_err());
    }
}
