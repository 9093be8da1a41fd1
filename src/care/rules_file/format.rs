//! The format of the rules file: unknown fields and duplicate keys are errors, so nothing in it is silently ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesFile {
    pub(crate) reviewed: bool,
    /// For readers of the file.
    #[serde(rename = "note")]
    _note: String,
    pub(crate) kinds: Vec<KindFile>,
    pub(crate) emergency_names: ByKey<String>,
    pub(crate) international: PlaceFile,
    pub(crate) countries: ByKey<PlaceFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KindFile {
    pub(crate) kind: String,
    pub(crate) notices: ByKey<WordingFile>,
    pub(crate) signs: ByKey<SignsFile>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WordingFile {
    pub(crate) title: String,
    pub(crate) text: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignsFile {
    #[serde(default)]
    pub(crate) phrases: Vec<String>,
    #[serde(default)]
    pub(crate) words: Vec<String>,
    #[serde(default)]
    pub(crate) except: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlaceFile {
    pub(crate) emergency: String,
    #[serde(default)]
    pub(crate) time_zones: Vec<String>,
    pub(crate) resources: ByKey<Vec<ResourceFile>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceFile {
    pub(crate) name: String,
    pub(crate) contact: String,
    pub(crate) url: Option<String>,
}

/// A map that refuses duplicate keys: the later one would silently replace the earlier one.
pub(crate) struct ByKey<T>(pub(super) BTreeMap<String, T>);

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
