//! What operators have switched off, as this server knows it: within two seconds of the change, whichever server or command made it
//! ([`crate::operator_changes`]). A server that has not read anything yet takes everything for switched on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cura_domain::switch::Switch;
use cura_store::switches::SwitchState;
use thiserror::Error;

/// An operator has switched it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0} is switched off")]
pub struct SwitchedOff(pub Switch);

/// The switches as this server knows them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Switches {
    off: Arc<Off>,
}

/// What is switched off.
#[derive(Default)]
struct Off {
    registration: AtomicBool,
    uploads: AtomicBool,
}

impl Off {
    const fn flag(&self, switch: Switch) -> &AtomicBool {
        match switch {
            Switch::Registration => &self.registration,
            Switch::Uploads => &self.uploads,
        }
    }
}

impl Switches {
    /// Whether it can be done. Asks nobody.
    ///
    /// # Errors
    /// [`SwitchedOff`] if an operator does not want it.
    pub fn require(&self, switch: Switch) -> Result<(), SwitchedOff> {
        if self.off.flag(switch).load(Ordering::Relaxed) {
            return Err(SwitchedOff(switch));
        }
        Ok(())
    }

    /// Takes note of how the switches stand.
    pub(crate) fn apply(&self, states: &[SwitchState]) {
        for state in states {
            let was_off = self.off.flag(state.name).swap(!state.is_on, Ordering::Relaxed);
            if was_off == state.is_on {
                tracing::info!(switch = %state.name, is_on = state.is_on, "an operator has switched");
            }
        }
    }
}
