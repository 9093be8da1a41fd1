//! When backups are made, and where they are kept.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use cura_backup::Recipient;

use super::variables::Variables;

/// Section "Backups".
#[derive(Debug, Clone)]
pub struct BackupSettings {
    /// `None`: only by `cura-admin backup`.
    pub schedule: Option<BackupScheduleSettings>,
}

/// Backups that a worker makes.
#[derive(Debug, Clone)]
pub struct BackupScheduleSettings {
    /// `BACKUP_EVERY`
    pub every: Duration,
    /// `BACKUP_DIR`
    pub folder: PathBuf,
    /// `BACKUP_KEEP`
    pub keep: usize,
    /// `BACKUP_RECIPIENT`
    pub recipient: Option<Recipient>,
}

/// A time between two backups. Jobs that are done are remembered for a day: that is how it is known that one was made.
struct Every(Duration);

impl FromStr for Every {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "it is a time from 10m to 24h, such as 30m or 6h";
        let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(RULE)?;
        let minutes = match unit {
            "m" => 1,
            "h" => 60,
            _ => return Err(RULE),
        };
        let number: u32 = number.parse().map_err(|_| RULE)?;
        let minutes = u64::from(number) * minutes;
        let is_allowed = (10..=24 * 60).contains(&minutes);
        is_allowed
            .then_some(Self(Duration::from_secs(minutes * 60)))
            .ok_or(RULE)
    }
}

impl BackupSettings {
    pub(super) fn read(from: &Variables) -> Self {
        let every: Option<Every> = from.parsed_if_set("BACKUP_EVERY");
        let folder = from.text("BACKUP_DIR").map(PathBuf::from);
        let keep = from.within("BACKUP_KEEP", 7, 1..=1000);
        let recipient = from.parsed_if_set("BACKUP_RECIPIENT");
        if every.is_some() && folder.is_none() {
            from.fault(
                "BACKUP_DIR",
                "is missing, and BACKUP_EVERY is set; name the folder in which backups are kept",
            );
        }
        let schedule = every.zip(folder).map(|(Every(every), folder)| BackupScheduleSettings {
            every,
            folder,
            keep,
            recipient,
        });
        Self { schedule }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (BackupSettings, Vec<String>) {
        let variables = Variables::from(variables);
        let settings = BackupSettings::read(&variables);
        let faults = variables.take_faults().iter().map(ToString::to_string).collect();
        (settings, faults)
    }

    #[test]
    fn backups_are_made_when_a_time_and_a_folder_are_set() {
        assert!(read(&[]).0.schedule.is_none());
        let (settings, faults) = read(&[("BACKUP_EVERY", "6h"), ("BACKUP_DIR", "/backups")]);
        let schedule = settings.schedule.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!((schedule.every, schedule.keep), (Duration::from_secs(6 * 60 * 60), 7));
        assert!(schedule.recipient.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in [
            ("BACKUP_EVERY", "9m"),
            ("BACKUP_EVERY", "25h"),
            ("BACKUP_EVERY", "1d"),
            ("BACKUP_KEEP", "0"),
            ("BACKUP_RECIPIENT", "AGE-SECRET-KEY-1HUNTER"),
        ] {
            let (_, faults) = read(&[(name, value), ("BACKUP_DIR", "/backups")]);
            assert!(faults.len() == 1 && faults[0].starts_with(name), "{name}: {faults:?}");
            assert!(!faults[0].contains(value) || name == "BACKUP_KEEP", "{faults:?}");
        }
        let (_, faults) = read(&[("BACKUP_EVERY", "6h")]);
        assert!(faults[0].starts_with("BACKUP_DIR is missing"), "{faults:?}");
    }
}
