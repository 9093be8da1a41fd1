//! The policy of each operation: what it costs, how large its body may be, how long it may take, and who may call it. One row per
//! operation, by its `operation_id`.
//!
//! Nothing else decides these. A test holds the table against `openapi/openapi.json`: every operation has exactly one row,
//! reads a body if its row says so, and documents the `security` that its row names.

use std::time::Duration;

use crate::http::prefer;

/// Which limit an operation is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateClass {
    /// Operations that check a password: by address. (Wrong ones are counted by account: `cura_app::sign_in_guard`.)
    Auth,
    /// Signing in: as operations that check a password, but who has signed in from there before has a budget of its own.
    SignIn,
    /// Operations that start an answer: by user. A request that repeats an earlier one is charged as [`Self::Default`].
    Chat,
    /// Operations that receive files: by user.
    Upload,
    /// Pushing a test: by user.
    TestPush,
    /// Everything else: by user; by address when signed out.
    Default,
    /// Downloads by links, of which a page may show sixty: only those that lead to nothing are charged, by the handler, to the address, as
    /// much as [`Self::Default`].
    Link,
    /// Exchanging refresh tokens: charged by its handler, as much as [`Self::Default`].
    Refresh,
    /// `/health`, the document and its pages, and unknown paths: by address, and many times as much as [`Self::Default`].
    Wide,
    /// Liveness and readiness: not charged. Answering costs no more than refusing, and an orchestrator that is refused, because it
    /// shares an address with an attacker, would stop a server that works.
    Free,
}

/// How a caller proves its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    Public,
    /// By an access token in `Authorization`.
    AccessToken,
    /// By an access token, or by a ticket or a stream token in the query.
    StreamCredentials,
    /// During the handshake of a socket, which answers with a close code instead of a status.
    SocketHandshake,
}

/// What a request body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// Whether the operation reads the body. Otherwise it is discarded: many clients send `{}` with everything.
    pub is_read: bool,
    /// The largest body, in bytes.
    pub max_bytes: usize,
    /// How long it may take to arrive.
    pub timeout: Duration,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What it costs.
    pub rate: RateClass,
    /// What its body may be.
    pub body: BodyLimit,
    /// How long its handler may take until the response begins, arrival of the body included. Every call that a handler makes has a
    /// shorter timeout of its own.
    pub timeout: Duration,
    /// Who may call it.
    pub authentication: Authentication,
}

/// A JSON body. A message of 10,000 characters of 4 bytes, escaped, fits.
const JSON: BodyLimit = BodyLimit {
    is_read: true,
    max_bytes: 256 * 1024,
    timeout: Duration::from_secs(15),
};
/// Addresses, passwords, tokens, titles: who is not signed in may send no more, and nobody needs more for these.
const SMALL: BodyLimit = BodyLimit {
    max_bytes: 8 * 1024,
    ..JSON
};
const NO_BODY: BodyLimit = BodyLimit {
    is_read: false,
    ..SMALL
};

/// A form with a file of 10 MiB. It takes 80 s at 1 Mbit/s, and phones pause.
const UPLOAD: BodyLimit = BodyLimit {
    is_read: true,
    max_bytes: 10 * 1024 * 1024 + 64 * 1024,
    timeout: Duration::from_secs(10 * 60),
};

/// Bytes of a file without a form around them, in as much time.
const PART: BodyLimit = BodyLimit {
    max_bytes: 10 * 1024 * 1024,
    ..UPLOAD
};

const NORMAL: Duration = Duration::from_secs(25);
/// For operations that obey `Prefer: wait`.
const WAITS_FOR_ANSWER: Duration = NORMAL.saturating_add(prefer::MAX_WAIT);

/// For operations that receive a file and put it into the file store, which may take ten minutes, too.
const RECEIVES_FILE: Duration = Duration::from_secs(21 * 60);

/// Every operation of the OpenAPI document.
#[rustfmt::skip]
const POLICIES: &[(&str, Policy)] = {
    use Authentication::{AccessToken, Public, SocketHandshake, StreamCredentials};
    use RateClass::{Auth, Chat, Default, Free, Link, Refresh, SignIn, TestPush, Upload, Wide};
    &[
        ("register",           row(Auth,    SMALL,   NORMAL,           Public)),
        ("login",              row(SignIn,  SMALL,   NORMAL,           Public)),
        ("refreshTokens",      row(Refresh, SMALL,   NORMAL,           Public)),
        ("logout",             row(Default, SMALL,   NORMAL,           Public)),
        ("logoutAll",          row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("changePassword",     row(Auth,    SMALL,   NORMAL,           AccessToken)),
        ("createTicket",       row(Default, SMALL,   NORMAL,           AccessToken)),
        ("listSessions",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("revokeSession",      row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("getMe",              row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("updateMe",           row(Default, JSON,    NORMAL,           AccessToken)),
        ("deleteMe",           row(Auth,    SMALL,   NORMAL,           AccessToken)),
        ("getUsage",           row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("exportMe",           row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("deleteExport",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("setAvatar",          row(Upload,  UPLOAD,  RECEIVES_FILE,    AccessToken)),
        ("deleteAvatar",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("createConversation", row(Default, SMALL,   NORMAL,           AccessToken)),
        ("listConversations",  row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("getConversation",    row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("updateConversation", row(Default, SMALL,   NORMAL,           AccessToken)),
        ("deleteConversation", row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("listMessages",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("markRead",           row(Default, SMALL,   NORMAL,           AccessToken)),
        ("sendMessage",        row(Chat,    JSON,    WAITS_FOR_ANSWER, AccessToken)),
        ("streamMessage",      row(Chat,    JSON,    NORMAL,           AccessToken)),
        ("streamMessageTo",    row(Chat,    JSON,    NORMAL,           AccessToken)),
        ("getMessage",         row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("resumeStream",       row(Default, NO_BODY, NORMAL,           StreamCredentials)),
        ("cancelAnswer",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("regenerateAnswer",   row(Chat,    JSON,    WAITS_FOR_ANSWER, AccessToken)),
        ("editMessage",        row(Chat,    JSON,    WAITS_FOR_ANSWER, AccessToken)),
        ("registerDevice",     row(Default, JSON,    NORMAL,           AccessToken)),
        ("listDevices",        row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("getPushConfig",      row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("testPush",           row(TestPush, NO_BODY, NORMAL,          AccessToken)),
        ("deleteDevice",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("uploadFile",         row(Upload,  UPLOAD,  RECEIVES_FILE,    AccessToken)),
        ("describeResumableUploads", row(Default, NO_BODY, NORMAL,     Public)),
        // An upload is charged once. Who has to go on with it again and again, on a bad network, pays as for anything else.
        ("createResumableUpload", row(Upload, NO_BODY, NORMAL,         AccessToken)),
        ("getResumableUpload", row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("continueResumableUpload", row(Default, PART, RECEIVES_FILE,  AccessToken)),
        ("deleteResumableUpload", row(Default, NO_BODY, NORMAL,        AccessToken)),
        ("listUploads",        row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("getUpload",          row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("deleteUpload",       row(Default, NO_BODY, NORMAL,           AccessToken)),
        ("downloadFile",       row(Link,    NO_BODY, NORMAL,           Public)),
        ("showAvatar",         row(Link,    NO_BODY, NORMAL,           Public)),
        ("watchEvents",        row(Default, NO_BODY, NORMAL,           StreamCredentials)),
        ("openSocket",         row(Default, NO_BODY, NORMAL,           SocketHandshake)),
        ("getHealth",          row(Wide,    NO_BODY, NORMAL,           Public)),
        ("getLiveness",        row(Free,    NO_BODY, NORMAL,           Public)),
        ("getReadiness",       row(Free,    NO_BODY, NORMAL,           Public)),
    ]
};

/// A path that the document does not have: the document itself, its pages, and what does not exist.
pub(crate) const UNDOCUMENTED: Policy = row(RateClass::Wide, NO_BODY, NORMAL, Authentication::Public);

/// A method that the path does not have.
pub(crate) const METHOD_NOT_ALLOWED: Policy = row(RateClass::Default, NO_BODY, NORMAL, Authentication::Public);

const fn row(rate: RateClass, body: BodyLimit, timeout: Duration, authentication: Authentication) -> Policy {
    Policy {
        rate,
        body,
        timeout,
        authentication,
    }
}

/// Every row: the operation's id, and its policy.
pub fn policies() -> &'static [(&'static str, Policy)] {
    POLICIES
}

/// The row of an operation.
pub(crate) fn find(operation_id: &str) -> Option<&'static Policy> {
    let row = POLICIES.iter().find(|(id, _)| *id == operation_id);
    row.map(|(_, policy)| policy)
}
