//! The names of archives in a folder of backups.

use chrono::{DateTime, NaiveDateTime, Utc};

const BEGIN: &str = "cura-";
const TIME: &str = "%Y%m%dT%H%M%SZ";
const END: &str = ".tar";
const ENCRYPTED_END: &str = ".tar.age";
/// How the name of an archive ends that is not whole.
pub(crate) const PARTIAL_END: &str = ".partial";

/// The name of an archive of this moment: names sort by age.
pub fn name_of(taken_at: DateTime<Utc>) -> String {
    format!("{BEGIN}{}{END}", taken_at.format(TIME))
}

/// Whether a file is called as [`name_of`] calls an archive, encrypted or not.
pub fn is_archive_name(name: &str) -> bool {
    let begun = name.strip_prefix(BEGIN);
    let time = begun.and_then(|name| name.strip_suffix(ENCRYPTED_END).or_else(|| name.strip_suffix(END)));
    time.is_some_and(|time| NaiveDateTime::parse_from_str(time, TIME).is_ok())
}

/// Whether a file is an archive of that name on its way.
pub fn is_partial_name(name: &str) -> bool {
    let whole = name.strip_suffix(PARTIAL_END).and_then(|name| name.rsplit_once('.'));
    whole.is_some_and(|(name, _)| is_archive_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_known_by_their_names() {
        let name = name_of(DateTime::UNIX_EPOCH);
        assert_eq!(name, "cura-19700101T000000Z.tar");
        assert!(is_archive_name(&name) && is_archive_name(&format!("{name}.age")));
        assert!(is_partial_name(&format!("{name}.age.x1Y2z3.partial")));
        for other in [
            "cura-.tar",
            "cura-today.tar",
            "cura-19700101T000000Z.tar.gz",
            "notes.txt",
            &format!("{name}.partial"),
        ] {
            assert!(!is_archive_name(other) && !is_partial_name(other), "{other}");
        }
    }
}
