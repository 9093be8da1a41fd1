//! The sections of the OpenAPI document.

use poem_openapi::Tags;

#[derive(Tags)]
pub(crate) enum Tag {
    /// Signing up, in and out, and who one is.
    Accounts,
    /// What was said, and when.
    Conversations,
    /// Sending messages and watching their answers come.
    Chat,
    /// Whether Cura is well.
    Health,
}
