//! What operators have switched off, or on again. What has no row is on.

use chrono::{DateTime, Utc};
use cura_domain::switch::Switch;
use serde::Serialize;
use sqlx::PgConnection;

use crate::StoreError;

/// The channel on which a trigger notifies every change (migration 0070).
pub const SWITCHES_CHANNEL: &str = "cura_switches";

/// How a switch stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SwitchState {
    /// The switch.
    pub name: Switch,
    /// Whether what it is for can be done.
    pub is_on: bool,
    /// Why it was changed; `None` if it never was.
    pub reason: Option<String>,
    /// When it was changed last.
    pub changed_at: Option<DateTime<Utc>>,
}

/// All switches.
pub async fn list(conn: &mut PgConnection) -> Result<Vec<SwitchState>, StoreError> {
    let rows = sqlx::query!("SELECT name, is_on, reason, changed_at FROM switches")
        .fetch_all(conn)
        .await?;
    let state = |switch: Switch| {
        let row = rows.iter().find(|row| row.name == switch.as_str());
        SwitchState {
            name: switch,
            is_on: row.is_none_or(|row| row.is_on),
            reason: row.map(|row| row.reason.clone()),
            changed_at: row.map(|row| row.changed_at),
        }
    };
    Ok(Switch::ALL.into_iter().map(state).collect())
}

/// Switches on or off, if the transaction of `conn` commits.
pub async fn set(
    conn: &mut PgConnection,
    switch: Switch,
    is_on: bool,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO switches (name, is_on, reason, changed_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE
         SET is_on = EXCLUDED.is_on, reason = EXCLUDED.reason, changed_at = EXCLUDED.changed_at",
        switch.as_str(),
        is_on,
        reason,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
