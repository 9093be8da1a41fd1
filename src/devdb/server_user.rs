//! The user that PostgreSQL runs as. PostgreSQL refuses to run as root; root starts it as `postgres`, or else as `nobody`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::{DevDbError, io};

/// A user other than root.
#[derive(Debug, Clone)]
pub(crate) struct ServerUser {
    name: String,
    uid: u32,
    gid: u32,
}

impl ServerUser {
    /// The user to run the server as; `None` if this process is not root and runs it as its own user.
    pub(crate) fn to_become() -> Result<Option<Self>, DevDbError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").map_err(io("/etc/passwd"))?;
        let found = ["postgres", "nobody"].into_iter().find_map(|name| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next()? == name).then_some(())?;
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                Some(Self {
                    name: name.to_owned(),
                    uid,
                    gid,
                })
            })
        });
        found.map(Some).ok_or_else(|| DevDbError::Io {
            what: "the user postgres or nobody".to_owned(),
            error: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// The id of the owner of the server's files.
    pub(crate) fn uid_of(user: Option<&Self>) -> u32 {
        user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid)
    }

    /// Makes `command` run as this user. std drops the supplementary groups, too.
    pub(crate) fn apply(user: Option<&Self>, command: &mut Command) {
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
    }

    /// Makes this user the owner of a folder.
    pub(crate) fn give(&self, folder: &Path) -> Result<(), DevDbError> {
        chown(folder, Some(self.uid), Some(self.gid)).map_err(io(folder.display().to_string()))
    }

    /// Whether this user can pass through every folder above `folder`.
    pub(crate) fn check_reach(&self, folder: &Path) -> Result<(), DevDbError> {
        for above in folder.ancestors().skip(1) {
            let meta = fs::metadata(above).map_err(io(above.display().to_string()))?;
            let open = if meta.uid() == self.uid {
                meta.mode() & 0o100
            } else if meta.gid() == self.gid {
                meta.mode() & 0o010
            } else {
                meta.mode() & 0o001
            };
            if open == 0 {
                return Err(DevDbError::Closed {
                    folder: above.to_owned(),
                    user: self.name.clone(),
                });
            }
        }
        Ok(())
    }
}
