//! Variables and their values; an error names the setting and the cure, never the value.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use cura_providers::Secret;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name} {problem}")]
pub struct SettingError {
    name: &'static str,
    problem: String,
}

/// A setting and what is wrong with it: `problem` goes on where the name ends.
pub(crate) fn wrong(name: &'static str, problem: impl Into<String>) -> SettingError {
    SettingError {
        name,
        problem: problem.into(),
    }
}

/// The text of the file that the setting `name` points to.
pub(super) fn read_file(name: &'static str, path: &Path) -> Result<String, SettingError> {
    std::fs::read_to_string(path).map_err(|error| wrong(name, format!("names a file that cannot be read: {error}")))
}

/// Variables and their values. For the tests it records which names were read.
pub(super) struct Variables {
    given: HashMap<String, String>,
    #[cfg(test)]
    read: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

impl From<HashMap<String, String>> for Variables {
    fn from(given: HashMap<String, String>) -> Self {
        Self {
            given,
            #[cfg(test)]
            read: std::cell::RefCell::default(),
        }
    }
}

impl Variables {
    /// The environment, and `.env` in the working folder for what the environment leaves open.
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
        variables.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Self::from(variables))
    }

    /// A set and non-empty variable: `NAME=` in a file means "not set".
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        #[cfg(test)]
        self.read.borrow_mut().insert(name.to_owned());
        self.given
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A text that debug output does not show.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::from)
    }

    /// The parsed value; `default` if it is not set.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(
        &self,
        name: &'static str,
        default: T,
    ) -> Result<T, SettingError> {
        match self.text(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|error| wrong(name, format!("cannot be used: {error}"))),
        }
    }

    /// The parsed value; `default` if it is not set. An error if it is out of `range`.
    pub(super) fn within<T>(
        &self,
        name: &'static str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, SettingError>
    where
        T: FromStr<Err: fmt::Display> + PartialOrd + fmt::Display,
    {
        let value = self.parsed(name, default)?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(wrong(
            name,
            format!("must be from {} to {}", range.start(), range.end()),
        ))
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
