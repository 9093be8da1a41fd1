//! The format of the file of rules: nothing unknown in it is ignored, and nothing in it is overwritten.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RulesFile {
    pub(super) reviewed: bool,
    /// For people.
    #[serde(rename = "note")]
    _note: String,
    pub(super) kinds: Vec<KindFile>,
    pub(super) emergency_names: ByKey<String>,
    pub(super) international: PlaceFile,
    pub(super) countries: ByKey<PlaceFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KindFile {
    pub(super) kind: String,
    pub(super) notices: ByKey<WordingFile>,
    pub(super) signs: ByKey<SignsFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WordingFile {
    pub(super) title: String,
    pub(super) text: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignsFile {
    #[serde(default)]
    pub(super) phrases: Vec<String>,
    #[serde(default)]
    pub(super) words: Vec<String>,
    #[serde(default)]
    pub(super) except: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceFile {
    pub(super) emergency: String,
    #[serde(default)]
    pub(super) time_zones: Vec<String>,
    pub(super) resources: ByKey<Vec<ResourceFile>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceFile {
    pub(super) name: String,
    pub(super) contact: String,
    pub(super) url: Option<String>,
}

/// A map that refuses a key that is there twice: the later one would silently replace the earlier one.
pub(super) struct ByKey<T>(pub(super) BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByKey<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeyVisitor(PhantomData))
    }
}

struct KeyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for KeyVisitor<T> {
    type Value = ByKey<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, T>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("\"{key}\" is there twice")));
            }
            map.insert(key, value);
        }
        Ok(ByKey(map))
    }
}
