//! Fields whose text obeys a rule of the domain. The rule is checked together with the schema, so that a client learns every fault of a
//! body at once, whichever of the two finds it.

use std::borrow::Cow;

use cura_domain::account::{DeviceName, Email, InvalidEmail, Name, NewPassword};
use cura_domain::conversation::Title;
use cura_domain::message::{InvalidText, MessageText};
use cura_domain::profile::{Language, TimeZone};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde_json::Value;

/// What is wrong with a text: a code for programs, and a sentence that goes on where the name of the field ends.
pub(super) type Fault = (&'static str, String);
/// What a rule says to a text in its body: a fault, or nothing.
pub(super) type Check = fn(&str, &Value) -> Option<Fault>;

/// A rule of the domain, as a kind of field.
pub(crate) trait Rule: Send + Sync + 'static {
    /// What the text becomes.
    type Output: Send + Sync;

    /// The `format` in the document, by which the rule of a field is found.
    const FORMAT: &'static str;
    /// The shortest text, in characters; the schema says so, too.
    const SHORTEST: Option<usize> = None;
    /// The longest text, in characters; the schema says so, too.
    const LONGEST: usize;

    /// Checks a text.
    fn read(text: &str) -> Result<Self::Output, Fault>;

    /// What is wrong with a text beside the other fields of its body.
    fn fault(text: &str, _body: &Value) -> Option<Fault> {
        Self::read(text).err()
    }
}

/// A field that obeys `R`.
pub(crate) struct Checked<R: Rule>(pub(crate) R::Output);

impl<R: Rule> Type for Checked<R> {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("string_{}", R::FORMAT))
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: R::SHORTEST,
            max_length: Some(R::LONGEST),
            ..MetaSchema::new_with_format("string", R::FORMAT)
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl<R: Rule> ParseFromJSON for Checked<R> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.unwrap_or_default();
        let text = value.as_str().ok_or_else(|| ParseError::custom("is not a string"))?;
        R::read(text)
            .map(Self)
            .map_err(|(_, detail)| ParseError::custom(detail))
    }
}

/// Required of every field of an object; a request is never written.
impl<R: Rule> ToJSON for Checked<R> {
    fn to_json(&self) -> Option<Value> {
        None
    }
}

/// Every rule by its format.
pub(super) fn rule_of(format: &str) -> Option<Check> {
    let rules: [(&str, Check); 9] = [
        (EmailField::FORMAT, EmailField::fault),
        (PasswordField::FORMAT, PasswordField::fault),
        (NameField::FORMAT, NameField::fault),
        (DeviceNameField::FORMAT, DeviceNameField::fault),
        (TitleField::FORMAT, TitleField::fault),
        (ContentField::FORMAT, ContentField::fault),
        (EditedContentField::FORMAT, EditedContentField::fault),
        (TimeZoneField::FORMAT, TimeZoneField::fault),
        (LanguageField::FORMAT, LanguageField::fault),
    ];
    let rule = rules.into_iter().find(|(known, _)| *known == format);
    rule.map(|(_, rule)| rule)
}

fn with_code<E: std::fmt::Display>(code: &'static str) -> impl Fn(E) -> Fault {
    move |error| (code, error.to_string())
}

/// An e-mail address.
pub(crate) struct EmailField;

impl Rule for EmailField {
    type Output = Email;

    const FORMAT: &'static str = "email";
    const LONGEST: usize = 254;

    fn read(text: &str) -> Result<Email, Fault> {
        Email::new(text).map_err(|error| match error {
            InvalidEmail::Malformed => ("invalid_format", error.to_string()),
            InvalidEmail::TooLong => ("too_long", error.to_string()),
        })
    }
}

/// A password to set.
pub(crate) struct PasswordField;

impl Rule for PasswordField {
    type Output = NewPassword;

    const FORMAT: &'static str = "password";
    const SHORTEST: Option<usize> = Some(8);
    const LONGEST: usize = 128;

    fn read(text: &str) -> Result<NewPassword, Fault> {
        NewPassword::new(text).map_err(with_code("weak_password"))
    }
}

/// The name of a user; blank is none.
pub(crate) struct NameField;

impl Rule for NameField {
    type Output = Option<Name>;

    const FORMAT: &'static str = "name";
    const LONGEST: usize = cura_domain::account::MAX_NAME_CHARS;

    fn read(text: &str) -> Result<Option<Name>, Fault> {
        Name::new(text).map_err(with_code("invalid_format"))
    }
}

/// The name of a device; blank is none.
pub(crate) struct DeviceNameField;

impl Rule for DeviceNameField {
    type Output = Option<DeviceName>;

    const FORMAT: &'static str = "device-name";
    const LONGEST: usize = cura_domain::account::MAX_DEVICE_NAME_CHARS;

    fn read(text: &str) -> Result<Option<DeviceName>, Fault> {
        DeviceName::new(text).map_err(with_code("invalid_format"))
    }
}

/// The title of a conversation.
pub(crate) struct TitleField;

impl Rule for TitleField {
    type Output = Title;

    const FORMAT: &'static str = "title";
    const LONGEST: usize = cura_domain::conversation::MAX_TITLE_CHARS;

    fn read(text: &str) -> Result<Title, Fault> {
        Title::new(text).map_err(with_code("invalid_format"))
    }
}

/// The text of a message, which is blank only beside `attachments`.
pub(crate) struct ContentField;

impl Rule for ContentField {
    type Output = MessageText;

    const FORMAT: &'static str = "message";
    const LONGEST: usize = cura_domain::message::MAX_USER_CHARS;

    fn read(text: &str) -> Result<MessageText, Fault> {
        MessageText::beside_files(text.to_owned()).map_err(with_code("invalid_content"))
    }

    fn fault(text: &str, body: &Value) -> Option<Fault> {
        content_fault(text, has_files(body))
    }
}

/// The new text of a message, which may be blank beside the files that the message has: whether it has any is not known here.
pub(crate) struct EditedContentField;

impl Rule for EditedContentField {
    type Output = MessageText;

    const FORMAT: &'static str = "edited-message";
    const LONGEST: usize = ContentField::LONGEST;

    fn read(text: &str) -> Result<MessageText, Fault> {
        ContentField::read(text)
    }

    fn fault(text: &str, body: &Value) -> Option<Fault> {
        content_fault(text, has_files(body) || body.get("attachments").is_none())
    }
}

fn has_files(body: &Value) -> bool {
    let files = body.get("attachments").and_then(Value::as_array);
    files.is_some_and(|files| !files.is_empty())
}

fn content_fault(text: &str, may_be_blank: bool) -> Option<Fault> {
    match MessageText::new(text.to_owned()) {
        Ok(_) => None,
        Err(InvalidText::Empty) if may_be_blank => ContentField::read(text).err(),
        Err(InvalidText::Empty) if text.is_empty() => Some(("too_short", "must have at least 1 characters".to_owned())),
        Err(error) => Some(("invalid_content", error.to_string())),
    }
}

/// An IANA time zone.
pub(crate) struct TimeZoneField;

impl Rule for TimeZoneField {
    type Output = TimeZone;

    const FORMAT: &'static str = "time-zone";
    const LONGEST: usize = 64;

    fn read(text: &str) -> Result<TimeZone, Fault> {
        TimeZone::new(text).map_err(with_code("unknown_timezone"))
    }
}

/// A BCP 47 language tag.
pub(crate) struct LanguageField;

impl Rule for LanguageField {
    type Output = Language;

    const FORMAT: &'static str = "language-tag";
    const LONGEST: usize = 64;

    fn read(text: &str) -> Result<Language, Fault> {
        Language::new(text).map_err(with_code("unknown_language"))
    }
}
