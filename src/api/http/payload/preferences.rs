//! Preferences, as a field: an object of the clients, of which Cura reads some. The document shows those, and is open for others.

use std::borrow::Cow;

use cura_domain::profile::Preferences;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::{ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;

use crate::http::problem::FieldError;

/// Where a request has them.
pub(crate) const POINTER: &str = "/preferences";
const NAME: &str = "Preferences";

/// The preferences of a user, or a merge patch for them (RFC 7396).
#[derive(Debug, Clone)]
pub(crate) struct PreferencesField(pub(crate) Value);

impl Type for PreferencesField {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        NAME.into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Reference(NAME.to_owned())
    }

    fn register(registry: &mut Registry) {
        registry.create_schema::<Self, _>(NAME.to_owned(), |_| schema());
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromJSON for PreferencesField {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self(value.unwrap_or_default()))
    }
}

impl ToJSON for PreferencesField {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}

/// What the document says.
fn schema() -> MetaSchema {
    let described = |ty, description| MetaSchema {
        description: Some(description),
        // In a patch, null removes.
        nullable: true,
        ..MetaSchema::new(ty)
    };
    let time = |description| MetaSchema {
        pattern: Some("^([01][0-9]|2[0-3]):[0-5][0-9]$".to_owned()),
        example: Some("22:00".into()),
        ..described("string", description)
    };
    let quiet_hours = open_object(
        "When no push wakes the user, in their time zone; `start` and `end` alike: never. Both are needed.",
        vec![("start", time("When it begins.")), ("end", time("When it ends."))],
    );
    let notifications = open_object(
        "Which push notifications the user wants.",
        vec![
            ("push", described("boolean", "Whether there are any; default true.")),
            (
                "private",
                described("boolean", "Whether they hide what was written; default true."),
            ),
            ("quiet_hours", quiet_hours),
        ],
    );
    let description = "The user's preferences. Clients may store others; they are kept as they are.";
    let theme = described("string", "The theme of the app; any name.");
    let all = open_object(description, vec![("theme", theme), ("notifications", notifications)]);
    MetaSchema { nullable: false, ..all }
}

/// An object with these fields, and any others.
fn open_object(description: &'static str, fields: Vec<(&'static str, MetaSchema)>) -> MetaSchema {
    let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
    let properties = fields.into_iter().map(|(name, schema)| (name, inline(schema)));
    MetaSchema {
        description: Some(description),
        nullable: true,
        properties: properties.collect(),
        additional_properties: Some(Box::new(inline(MetaSchema::ANY))),
        ..MetaSchema::new("object")
    }
}

/// Whether the schema of a property is the one of preferences.
pub(super) fn is_preferences(property: &Value) -> bool {
    let reference = format!("#/components/schemas/{NAME}");
    let refers = |schema: &Value| schema["$ref"] == reference.as_str();
    refers(property) || property["allOf"].as_array().is_some_and(|all| all.iter().any(refers))
}

/// Everything that is wrong with a patch, whatever it is merged into.
pub(super) fn faults(patch: &Value) -> Vec<FieldError> {
    let faults = Preferences::faults_of_patch(patch);
    faults.iter().map(FieldError::from).collect()
}

impl From<&cura_domain::profile::InvalidPreferences> for FieldError {
    fn from(fault: &cura_domain::profile::InvalidPreferences) -> Self {
        let pointer = format!("{POINTER}{}", fault.pointer());
        Self::new(pointer, "invalid_preferences", fault.to_string())
    }
}
