//! Why Redis cannot be used, in words for the operator: they go on where "a Redis" ends, and never hold what it said.

use ::redis::{ErrorKind, RedisError};
use thiserror::Error;

/// The longest code of an error that is told.
const MAX_CODE_BYTES: usize = 24;

/// Why Redis cannot be used, and the cure.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RedisTrouble {
    /// No answer in time.
    #[error("that does not answer; start it, or correct the URL")]
    Silent,
    /// Nobody listens there.
    #[error("that cannot be reached; start it, or correct the URL")]
    Away,
    /// The name leads nowhere.
    #[error("whose host name is not known; correct the URL")]
    UnknownHost,
    /// The connection was ended, or what came is not Redis' protocol.
    #[error(
        "that ends the connection; start it, or, if it wants TLS, write rediss:// (rediss-cluster://, rediss-sentinel://)"
    )]
    Closed,
    /// No TLS session, for whatever reason: a server without TLS waits for more.
    #[error(
        "with which there is no TLS; start it, let this machine trust its certificate, or, if it has no TLS, write redis://"
    )]
    Tls,
    /// It wants another user or password.
    #[error("that refuses this user or password; correct them in the URL (redis://user:password@host:6379)")]
    Password,
    /// Its sentinels want a password.
    #[error("whose sentinels refuse this password; add ?sentinel_password=…&sentinel_username=… to the URL")]
    SentinelPassword,
    /// There is no such database.
    #[error("that does not have this database; correct the number in the URL (a cluster has only 0)")]
    Database,
    /// It is a replica.
    #[error("that takes no writes because it is a replica; name its master, or a name that leads to it")]
    ReadOnly,
    /// The user lacks rights.
    #[error(
        "whose user lacks rights; it needs ~cura:* &cura:* +@read +@write +@scripting +@pubsub +@connection +time \
         +cluster|slots"
    )]
    NoRights,
    /// One node of several.
    #[error("that is a node of a cluster; write redis-cluster://host:6379,host:6379")]
    ClusterNode,
    /// No cluster.
    #[error("that is no cluster; write redis://host:6379")]
    NoCluster,
    /// A part of the keys has no node.
    #[error("whose cluster lacks nodes; start them, or give their slots to others")]
    ClusterDown,
    /// It has just started.
    #[error("that still loads its data; it can be used when that is done")]
    Loading,
    /// A script of somebody else runs.
    #[error("that is busy with a script; end it with SCRIPT KILL")]
    Busy,
    /// `maxmemory` is reached.
    #[error("that is out of memory; raise its maxmemory")]
    OutOfMemory,
    /// Its snapshots fail.
    #[error("that takes no writes because it cannot save to its disk; its log says why")]
    CannotSave,
    /// `min-replicas-to-write` is not reached.
    #[error("that takes no writes because replicas are missing; start them, or lower min-replicas-to-write")]
    NoReplicas,
    /// A replica whose master is away.
    #[error("that is a replica without its master; name the master")]
    MasterDown,
    /// `maxclients` is reached.
    #[error("that takes no more connections; raise its maxclients")]
    TooManyClients,
    /// No sentinel answers.
    #[error("none of whose sentinels answers; start them, or correct the URL")]
    NoSentinel,
    /// Something else listens where a sentinel should.
    #[error("whose sentinels are none; name the sentinels (redis-sentinel://host:26379,host:26379/mymaster)")]
    NotSentinel,
    /// The sentinels watch other masters.
    #[error("whose sentinels do not know this master; correct its name in the URL, behind the slash")]
    UnknownMaster,
    /// What is published is not received.
    #[error("whose published messages do not arrive; it must let one client publish to another")]
    Deaf,
    /// Another error.
    #[error("that fails ({0}); its log says why")]
    Other(String),
}

impl RedisTrouble {
    /// Whether only a new connection, perhaps to another server, can help.
    pub(super) fn needs_new_connection(&self) -> bool {
        matches!(
            self,
            Self::Away
                | Self::UnknownHost
                | Self::Closed
                | Self::Tls
                | Self::Password
                | Self::ReadOnly
                | Self::MasterDown
        )
    }

    /// The trouble of these codes of errors.
    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "READONLY" => Self::ReadOnly,
            "OOM" => Self::OutOfMemory,
            "NOPERM" => Self::NoRights,
            "MISCONF" => Self::CannotSave,
            "NOREPLICAS" => Self::NoReplicas,
            "MASTERDOWN" => Self::MasterDown,
            "CLUSTERDOWN" => Self::ClusterDown,
            "MOVED" | "ASK" | "CROSSSLOT" => Self::ClusterNode,
            "LOADING" => Self::Loading,
            "BUSY" => Self::Busy,
            "NOAUTH" | "WRONGPASS" => Self::Password,
            _ => return None,
        })
    }

    /// The trouble that a server states as `CODE and words`.
    pub(super) fn of_refusal(refusal: &str) -> Self {
        let (code, words) = refusal.split_once(' ').unwrap_or((refusal, ""));
        let error = ::redis::make_extension_error(code.to_owned(), Some(words.to_owned()));
        Self::from(&error)
    }

    /// The trouble of an error whose code says nothing. Older servers hide a script's error in its text.
    fn of_words(words: &str) -> Option<Self> {
        const WORDS: [(&str, RedisTrouble); 8] = [
            ("DB index is out of range", RedisTrouble::Database),
            ("SELECT is not allowed", RedisTrouble::Database),
            ("cluster support disabled", RedisTrouble::NoCluster),
            ("max number of clients", RedisTrouble::TooManyClients),
            ("invalid password", RedisTrouble::Password),
            ("ACL failure in script", RedisTrouble::NoRights),
            ("The user executing the script can't", RedisTrouble::NoRights),
            ("access non local key", RedisTrouble::ClusterNode),
        ];
        let known = WORDS.iter().find(|(part, _)| words.contains(part));
        known.map(|(_, trouble)| trouble.clone()).or_else(|| {
            let mut codes = words.split([' ', ':', '\'']).filter_map(|word| word.strip_prefix('-'));
            codes.find_map(Self::of_code)
        })
    }
}

impl From<&RedisError> for RedisTrouble {
    fn from(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Self::Silent;
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Password,
            ErrorKind::Io => of_io(error),
            ErrorKind::Parse => Self::Closed,
            kind => {
                let code = error.code().unwrap_or_default();
                let found = Self::of_code(code).or_else(|| Self::of_words(error.detail().unwrap_or_default()));
                found.unwrap_or_else(|| {
                    let known = code.bytes().all(|byte| byte.is_ascii_uppercase()) && code.len() <= MAX_CODE_BYTES;
                    Self::Other(if known && !code.is_empty() {
                        code.to_owned()
                    } else {
                        format!("{kind:?}")
                    })
                })
            }
        }
    }
}

fn of_io(error: &RedisError) -> RedisTrouble {
    let words = error.to_string();
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if has(&["lookup", "Name or service not known", "No address"]) {
        RedisTrouble::UnknownHost
    } else if has(&[
        "certificate",
        "corrupt message",
        "TLS",
        "tls",
        "HandshakeFailure",
        "InvalidContentType",
    ]) {
        RedisTrouble::Tls
    } else if error.is_connection_refusal() || has(&["refused", "unreachable", "No route"]) {
        RedisTrouble::Away
    } else {
        RedisTrouble::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str, detail: &str) -> RedisTrouble {
        RedisTrouble::of_refusal(&format!("{code} {detail}"))
    }

    #[test]
    fn an_error_is_understood_by_its_code() {
        for (code, trouble) in [
            ("READONLY", RedisTrouble::ReadOnly),
            ("OOM", RedisTrouble::OutOfMemory),
            ("NOPERM", RedisTrouble::NoRights),
            ("MISCONF", RedisTrouble::CannotSave),
            ("NOREPLICAS", RedisTrouble::NoReplicas),
            ("MASTERDOWN", RedisTrouble::MasterDown),
            ("CLUSTERDOWN", RedisTrouble::ClusterDown),
            ("LOADING", RedisTrouble::Loading),
            ("BUSY", RedisTrouble::Busy),
            ("NOAUTH", RedisTrouble::Password),
            ("WRONGPASS", RedisTrouble::Password),
        ] {
            assert_eq!(of(code, "whatever"), trouble);
        }
    }

    #[test]
    fn what_older_servers_say_of_a_script_is_understood() {
        for (words, trouble) in [
            (
                "Error running script (call to f_1): @user_script:7: -READONLY You can't write against a read only replica.",
                RedisTrouble::ReadOnly,
            ),
            (
                "Error running script (call to f_1): @user_script:7: @user_script: 7: -OOM command not allowed",
                RedisTrouble::OutOfMemory,
            ),
            (
                "ACL failure in script: User cura has no permissions",
                RedisTrouble::NoRights,
            ),
            ("DB index is out of range", RedisTrouble::Database),
        ] {
            assert_eq!(of("ERR", words), trouble);
        }
    }

    #[test]
    fn what_a_server_says_is_never_repeated() {
        assert_eq!(of("STRANGE", "hunter2"), RedisTrouble::Other("STRANGE".to_owned()));
        let odd = of("hunter2 is my password", "");
        assert!(!odd.to_string().contains("hunter2"), "{odd}");
    }
}
