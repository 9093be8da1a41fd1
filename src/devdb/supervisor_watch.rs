//! Ensures that a supervisor runs: every user of the server starts one when there is none.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{DevDbError, io};
use crate::profile::Profile;
use crate::state_dir::StateDir;
use crate::supervisor_command::supervisor_command;

/// How often a user checks that a supervisor runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct SupervisorWatch(Arc<Shared>);

struct Shared {
    state_dir: StateDir,
    profile: Profile,
    program: PathBuf,
    stopped: AtomicBool,
    /// Supervisors that this process started; reaped when they end, so that they leave no zombies.
    children: Mutex<Vec<Child>>,
}

impl SupervisorWatch {
    pub(crate) fn new(state_dir: StateDir, profile: Profile, program: PathBuf) -> Self {
        let children = Mutex::new(Vec::new());
        Self(Arc::new(Shared {
            state_dir,
            profile,
            program,
            stopped: AtomicBool::new(false),
            children,
        }))
    }

    /// Starts a supervisor if there is none.
    pub(crate) fn ensure_supervisor(&self) -> Result<(), DevDbError> {
        self.0.ensure_supervisor()
    }

    /// Checks in a thread of its own that a supervisor runs, until dropped.
    pub(crate) fn start(&self) {
        let shared = Arc::clone(&self.0);
        let check = move || {
            while !shared.stopped.load(Ordering::Acquire) {
                // If it cannot be started now, the next check tries again.
                let _ = shared.ensure_supervisor();
                std::thread::park_timeout(CHECK_INTERVAL);
            }
        };
        // Without this thread, the server works, but a killed supervisor is not replaced.
        let _ = std::thread::Builder::new()
            .name("postgres-watch".to_owned())
            .spawn(check);
    }
}

impl Shared {
    fn ensure_supervisor(&self) -> Result<(), DevDbError> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        // A supervisor that this process has just started may not hold its lock yet.
        if !children.is_empty() || self.state_dir.has_supervisor()? {
            return Ok(());
        }
        let Some(_start_lock) = self.state_dir.try_lock_for_start()? else {
            return Ok(());
        };
        self.state_dir.clear_failure();
        let supervisor = supervisor_command(&self.program, self.profile, self.state_dir.data_root())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C must not reach the supervisor, which outlives this process for a moment.
            .process_group(0)
            .spawn()
            .map_err(io(self.program.display().to_string()))?;
        children.push(supervisor);
        Ok(())
    }
}

impl Drop for SupervisorWatch {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Release);
    }
}
