//! How old the last backup is.

use std::time::Duration;

use cura_store::backups;

use super::Check;
use crate::settings::Settings;
use crate::wiring;

/// How old the last one may be where no schedule makes them: a day, and a while to be late.
const OLD_WITHOUT_SCHEDULE: Duration = Duration::from_secs(26 * 60 * 60);
const HOUR: i64 = 60 * 60;

pub(super) async fn check(settings: &Settings) -> Check {
    let schedule = settings.backups.schedule.as_ref();
    let Ok(database) = wiring::database(settings, "cura-admin") else {
        return Check::skipped("backups", "the database cannot be asked");
    };
    let last = match database.connection(backups::find_last).await {
        Ok(last) => last,
        Err(_) => return Check::skipped("backups", "the database does not say which were made"),
    };
    let cure = match schedule {
        Some(_) => "see `cura-admin jobs list --queue back-up`, and the logs of workers",
        None => "set BACKUP_EVERY, or run `cura-admin backup` each day",
    };
    let Some(last) = last else {
        return Check::warn("backups", "none was ever made").cure(cure);
    };
    let age = wiring::clock().now() - last.finished_at;
    let hours = age.num_seconds() / HOUR;
    let detail = format!(
        "the last one is {hours} h old, has {} bytes, and is {}",
        last.size,
        if last.is_encrypted {
            "encrypted"
        } else {
            "not encrypted"
        }
    );
    // Twice as long, because one may be under way.
    let allowed = schedule.map_or(OLD_WITHOUT_SCHEDULE, |schedule| schedule.every * 2);
    match age.to_std() {
        Ok(age) if age > allowed => Check::warn("backups", detail).cure(cure),
        _ => Check::ok("backups", detail),
    }
}
