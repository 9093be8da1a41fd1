//! Pushes to phones and browsers.

use chrono::TimeDelta;
use cura_domain::push_endpoint::PushHosts;

use super::variables::Variables;

/// Section "Push".
#[derive(Debug, Clone)]
pub struct PushSettings {
    /// `WEBPUSH_HOSTS`
    pub hosts: PushHosts,
    /// `DEVICE_INACTIVE_DAYS`
    pub devices_unseen_after: TimeDelta,
}

impl PushSettings {
    pub(super) fn read(from: &Variables) -> Self {
        let hosts = PushHosts::parse(from.text("WEBPUSH_HOSTS").unwrap_or_default());
        Self {
            hosts: hosts.unwrap_or_else(|error| {
                from.fault("WEBPUSH_HOSTS", format!("cannot be used: {error}"));
                PushHosts::default()
            }),
            devices_unseen_after: TimeDelta::days(from.within("DEVICE_INACTIVE_DAYS", 30, 1..=3650)),
        }
    }
}
