//! The sections of the OpenAPI document.

use poem_openapi::Tags;

#[derive(Tags)]
pub(crate) enum Tag {
    /// Registration, sessions, profile.
    Accounts,
    /// Conversations and their messages.
    Conversations,
    /// Sending messages and streaming answers.
    Chat,
    /// Devices that pushes go to.
    Devices,
    /// Files: uploading, listing, downloading and deleting them.
    Uploads,
    /// The health of the service.
    Health,
}
