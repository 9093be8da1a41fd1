//! Variables and their values. What cannot be used is recorded, and reading goes on with the default: all faults are told at once. A
//! fault names the setting and the cure, never the value.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use cura_providers::Secret;

use super::catalogue::{self, ShownSetting, Source, UnknownSetting};

/// The longest file that a setting names.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name} {problem}")]
pub struct SettingError {
    name: Cow<'static, str>,
    problem: String,
}

impl SettingError {
    /// The setting.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with it, and the cure: goes on where the name ends.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// Every setting that cannot be used, one a line.
#[derive(Debug)]
pub struct SettingErrors(Vec<SettingError>);

impl SettingErrors {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &SettingError> {
        self.0.iter()
    }

    /// These faults without those that follow from another one; `None` if there is none.
    pub(super) fn of(faults: Vec<SettingError>) -> Option<Self> {
        let mut kept: Vec<SettingError> = Vec::new();
        for fault in faults {
            // What could not be read looks as if it was not set.
            let file = format!("{}_FILE", fault.name);
            if !kept.iter().any(|known| known.name == fault.name || known.name == file) {
                kept.push(fault);
            }
        }
        (!kept.is_empty()).then_some(Self(kept))
    }
}

impl From<SettingError> for SettingErrors {
    fn from(fault: SettingError) -> Self {
        Self(vec![fault])
    }
}

impl std::error::Error for SettingErrors {}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            let line_break = if n > 0 { "\n" } else { "" };
            write!(f, "{line_break}{fault}")?;
        }
        Ok(())
    }
}

/// A setting and what is wrong with it: `problem` goes on where the name ends.
pub(crate) fn wrong(name: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> SettingError {
    SettingError {
        name: name.into(),
        problem: problem.into(),
    }
}

/// The text of the file that the setting `name` points to.
pub(super) fn read_file(name: impl Into<Cow<'static, str>>, path: &Path) -> Result<String, SettingError> {
    let read = || {
        // Opening a pipe could wait for ever.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(std::io::Error::other("it is larger than 1 MiB"));
        }
        Ok(text)
    };
    read().map_err(|error| wrong(name, format!("names a file that cannot be read: {error}")))
}

/// Variables and their values, and the faults found so far. For the tests it records which names were read.
pub(super) struct Variables {
    given: HashMap<String, String>,
    /// The names of those that `.env` gives.
    of_dot_env: HashSet<String>,
    /// The names of values that are not UTF-8.
    not_text: HashSet<String>,
    faults: RefCell<Vec<SettingError>>,
    #[cfg(test)]
    read: RefCell<std::collections::BTreeSet<String>>,
}

impl From<HashMap<String, String>> for Variables {
    fn from(given: HashMap<String, String>) -> Self {
        Self {
            given,
            of_dot_env: HashSet::new(),
            not_text: HashSet::new(),
            faults: RefCell::default(),
            #[cfg(test)]
            read: RefCell::default(),
        }
    }
}

impl Variables {
    /// The environment, and `.env` in the working folder for what the environment leaves open.
    ///
    /// # Errors
    /// When `.env` cannot be read: which settings are wrong is not known then.
    pub(super) fn from_environment() -> Result<Self, SettingError> {
        let mut variables: HashMap<String, String> = HashMap::new();
        match dotenvy::from_filename_iter(".env") {
            Ok(lines) => {
                for line in lines {
                    let (name, value) = line.map_err(|_| wrong(".env", "has a line that is not NAME=value"))?;
                    variables.insert(name, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(_) => return Err(wrong(".env", "cannot be read; check its permissions")),
        }
        let mut of_dot_env: HashSet<String> = variables.keys().cloned().collect();
        let mut not_text = HashSet::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    of_dot_env.remove(&name);
                    variables.insert(name, value);
                }
                Err(_) => {
                    not_text.insert(name);
                }
            }
        }
        Ok(Self {
            of_dot_env,
            not_text,
            ..Self::from(variables)
        })
    }

    fn sources(&self) -> BTreeMap<&str, (&str, Source)> {
        let source = |name: &String| {
            if self.of_dot_env.contains(name) {
                Source::DotEnv
            } else {
                Source::Environment
            }
        };
        let given = self.given.iter();
        given
            .map(|(name, value)| (name.as_str(), (value.as_str(), source(name))))
            .collect()
    }

    /// Every setting with its value or a mask, and where it comes from.
    pub(super) fn shown(&self) -> Vec<ShownSetting> {
        catalogue::shown(&self.sources())
    }

    /// The names that look like ours and are not.
    pub(super) fn unknown(&self) -> Vec<UnknownSetting> {
        catalogue::unknown(&self.sources())
    }

    /// Records that a setting cannot be used.
    pub(super) fn fault(&self, name: impl Into<Cow<'static, str>>, problem: impl Into<String>) {
        self.faults.borrow_mut().push(wrong(name, problem));
    }

    /// What could not be used, in the order in which it was read.
    pub(super) fn take_faults(&self) -> Vec<SettingError> {
        self.faults.take()
    }

    /// A set and non-empty variable: `NAME=` in a file means "not set".
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        self.read.borrow_mut().insert(name.to_owned());
        if self.not_text.contains(name) {
            self.fault(name.to_owned(), "is not UTF-8; set it again");
            return None;
        }
        self.given
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A text that debug output does not show: the value of `name`, or what the file contains that `name` with `_FILE` names, without
    /// the line break at its end.
    pub(super) fn secret(&self, name: &'static str) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => {
                self.fault(name, format!("and {file_name} are both set; remove one of them"));
                None
            }
            (value, None) => value.map(Secret::from),
            (None, Some(path)) => match read_file(file_name.clone(), Path::new(path)) {
                Ok(text) => {
                    let secret = text.trim_end_matches(['\r', '\n']);
                    if secret.trim().is_empty() {
                        self.fault(file_name, "names an empty file; write the value into it");
                        return None;
                    }
                    Some(Secret::from(secret))
                }
                Err(fault) => {
                    self.faults.borrow_mut().push(fault);
                    None
                }
            },
        }
    }

    /// The parsed value; `None` if it is not set or cannot be used.
    pub(super) fn parsed_if_set<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Option<T> {
        match self.text(name)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(name, format!("cannot be used: {error}"));
                None
            }
        }
    }

    /// The parsed value; `default` if it is not set or cannot be used.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(&self, name: &'static str, default: T) -> T {
        self.parsed_if_set(name).unwrap_or(default)
    }

    /// The parsed value; `default` if it is not set, or not in `range`.
    pub(super) fn within<T>(&self, name: &'static str, default: T, range: std::ops::RangeInclusive<T>) -> T
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display,
    {
        match self.parsed_if_set(name) {
            Some(value) if range.contains(&value) => value,
            Some(_) => {
                self.fault(name, format!("must be from {} to {}", range.start(), range.end()));
                default
            }
            None => default,
        }
    }

    /// Every name that was read.
    #[cfg(test)]
    pub(super) fn read_names(&self) -> Vec<String> {
        self.read.borrow().iter().cloned().collect()
    }
}

#[cfg(test)]
impl From<&[(&str, &str)]> for Variables {
    fn from(given: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::from(given.iter().map(own).collect::<HashMap<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    /// The secret `REDIS_URL` and the faults, with a file of this content.
    fn read(content: &[u8], more: &[(&str, &str)]) -> (Option<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, content).unwrap();
        let mut given = vec![("REDIS_URL_FILE", path.to_str().unwrap())];
        given.extend_from_slice(more);
        secret_of(&given)
    }

    fn secret_of(given: &[(&str, &str)]) -> (Option<String>, Vec<String>) {
        let variables = Variables::from(given);
        let secret = variables.secret("REDIS_URL");
        let faults = variables.take_faults().iter().map(ToString::to_string).collect();
        (secret.map(|secret| secret.expose_secret().to_owned()), faults)
    }

    #[test]
    fn a_secret_is_what_its_file_contains_without_the_line_break_at_its_end() {
        for content in ["hunter2", "hunter2\n", "hunter2\r\n"] {
            assert_eq!(read(content.as_bytes(), &[]), (Some("hunter2".to_owned()), vec![]));
        }
        assert_eq!(read(b" hunter 2 \n", &[]).0.unwrap(), " hunter 2 ");
        assert_eq!(
            read(b"hunter2", &[("REDIS_URL", "")]).0.unwrap(),
            "hunter2",
            "an empty value is none"
        );
    }

    #[test]
    fn a_file_that_says_nothing_or_too_much_is_named_and_what_it_says_is_not() {
        let fault = |(secret, faults): (Option<String>, Vec<String>)| {
            assert_eq!((secret, faults.len()), (None, 1), "{faults:?}");
            assert!(
                !faults[0].contains("hunter2") && !faults[0].contains('\n'),
                "{faults:?}"
            );
            faults[0].clone()
        };
        assert!(
            fault(read(b"hunter2", &[("REDIS_URL", "hunter2")]))
                .starts_with("REDIS_URL and REDIS_URL_FILE are both set")
        );
        for empty in ["", "\n", " \r\n"] {
            assert!(fault(read(empty.as_bytes(), &[])).starts_with("REDIS_URL_FILE names an empty file"));
        }
        let large = vec![b'x'; 1024 * 1024 + 1];
        for unreadable in [&b"hunter2\xff"[..], &large] {
            assert!(fault(read(unreadable, &[])).starts_with("REDIS_URL_FILE names a file that cannot be read"));
        }
        for path in ["/nowhere/secret", "/tmp", "/dev/zero"] {
            assert!(
                fault(secret_of(&[("REDIS_URL_FILE", path)])).starts_with("REDIS_URL_FILE names a file that cannot")
            );
        }
    }

    #[test]
    fn a_value_that_is_not_text_is_named() {
        let variables = Variables {
            not_text: HashSet::from(["REDIS_URL".to_owned()]),
            ..Variables::from(HashMap::new())
        };
        assert!(variables.secret("REDIS_URL").is_none());
        assert!(
            variables.take_faults()[0]
                .to_string()
                .starts_with("REDIS_URL is not UTF-8")
        );
    }
}
