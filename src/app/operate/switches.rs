//! What operators switch off without a deploy, and on again.

use cura_domain::switch::Switch;
use cura_store::StoreError;
use cura_store::switches;

pub use cura_store::switches::SwitchState;

use super::acts::{Act, Acts};

/// The use cases of operators. Cheap to clone.
#[derive(Clone)]
pub struct Switches {
    acts: Acts,
}

impl Switches {
    /// Puts the parts together.
    pub const fn new(acts: Acts) -> Self {
        Self { acts }
    }

    /// How all switches stand.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn list(&self) -> Result<Vec<SwitchState>, StoreError> {
        self.acts
            .database()
            .connection(async |connection| switches::list(connection).await)
            .await
    }

    /// Switches on or off; all servers know within two seconds. One that stands so already gets the new reason.
    ///
    /// # Errors
    /// When Postgres fails.
    pub async fn set(&self, switch: Switch, is_on: bool, reason: &str) -> Result<SwitchState, StoreError> {
        let now = self.acts.now();
        let act = Act::new("switch.set")
            .on(switch)
            .with("on", is_on)
            .with("reason", reason);
        self.acts
            .transaction(act, async |connection, _| {
                switches::set(connection, switch, is_on, reason, now).await?;
                Ok(SwitchState {
                    name: switch,
                    is_on,
                    reason: Some(reason.to_owned()),
                    changed_at: Some(now),
                })
            })
            .await
    }
}
