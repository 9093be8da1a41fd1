//! What every user of the server does while it uses it: sees to it that there is a keeper.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::folder::Folder;
use crate::{DevDbError, Profile, io, keeper_command};

/// How often a user looks for the keeper.
const TICK: Duration = Duration::from_millis(500);

pub(crate) struct Watch(Arc<Shared>);

struct Shared {
    folder: Folder,
    profile: Profile,
    program: PathBuf,
    over: AtomicBool,
    /// Keepers we started; waited for when they end, so that they leave no zombie.
    children: Mutex<Vec<Child>>,
}

impl Watch {
    pub(crate) fn new(folder: Folder, profile: Profile, program: PathBuf) -> Self {
        let children = Mutex::new(Vec::new());
        Self(Arc::new(Shared {
            folder,
            profile,
            program,
            over: AtomicBool::new(false),
            children,
        }))
    }

    /// Starts a keeper if there is none.
    pub(crate) fn ensure_keeper(&self) -> Result<(), DevDbError> {
        self.0.ensure_keeper()
    }

    /// Looks for the keeper now and then, until dropped.
    pub(crate) fn begin(&self) {
        let shared = Arc::clone(&self.0);
        let looking = move || {
            while !shared.over.load(Ordering::Acquire) {
                // Next time, if it cannot be started now.
                let _ = shared.ensure_keeper();
                std::thread::park_timeout(TICK);
            }
        };
        // Without the watch, only a keeper that is killed is missed.
        let _ = std::thread::Builder::new()
            .name("postgres-watch".to_owned())
            .spawn(looking);
    }
}

impl Shared {
    fn ensure_keeper(&self) -> Result<(), DevDbError> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        // One that is being started by us will take its lock in a moment.
        if !children.is_empty() || self.folder.has_keeper()? {
            return Ok(());
        }
        let Some(_starting) = self.folder.hold_to_start()? else {
            return Ok(());
        };
        self.folder.unsay_failure();
        let keeper = keeper_command(&self.program, self.profile, &self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for us; the keeper outlives us by a moment.
            .process_group(0)
            .spawn()
            .map_err(io(self.program.display().to_string()))?;
        children.push(keeper);
        Ok(())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}
