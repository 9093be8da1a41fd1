//! The rules file: reads it, and refuses rules that would be wrong, ugly or without effect when a user is in danger.

mod checks;
mod format;
mod patterns;
mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use cura_domain::notice::Notice;

use self::checks::{MAX_NAME_CHARS, check_languages, check_text};
use self::format::{ByKey, RulesFile, WordingFile};
use self::patterns::{build_matcher, read_patterns};
use self::places::read_places;
use crate::error::{InvalidRules, MAX_FILE_BYTES, wrong};
use crate::places::Places;
use crate::{CareRules, FALLBACK_LANGUAGE, Kind, Wording, emergency_name};

const MAX_TITLE_CHARS: usize = 200;
const MAX_TEXT_CHARS: usize = 2_000;

/// Reads and checks a rules file.
pub(super) fn read(json: &str) -> Result<CareRules, InvalidRules> {
    if json.len() > MAX_FILE_BYTES {
        return Err(InvalidRules::TooLarge);
    }
    let file: RulesFile = serde_json::from_str(json).map_err(|error| InvalidRules::Unreadable(error.to_string()))?;
    if file.kinds.is_empty() {
        return wrong("/kinds", "must have at least one kind");
    }
    let mut kinds: Vec<Kind> = Vec::new();
    let mut patterns = Vec::new();
    for (index, kind) in file.kinds.into_iter().enumerate() {
        let pointer = format!("/kinds/{index}");
        if kinds.iter().any(|earlier| earlier.name == kind.kind) {
            return wrong(format!("{pointer}/kind"), "is there twice");
        }
        check_text(&format!("{pointer}/kind"), &kind.kind, MAX_NAME_CHARS)?;
        patterns.extend(read_patterns(&format!("{pointer}/signs"), index, kind.signs)?);
        kinds.push(Kind {
            notices: read_notices(&format!("{pointer}/notices"), kind.notices)?,
            name: kind.kind,
        });
    }
    let matcher = build_matcher(patterns)?;
    check_languages("/emergency_names", &file.emergency_names.0)?;
    for (language, name) in &file.emergency_names.0 {
        check_text(&format!("/emergency_names/{language}"), name, MAX_NAME_CHARS)?;
    }
    let places = read_places(file.international, file.countries.0, &kinds)?;
    Ok(CareRules {
        reviewed: file.reviewed,
        general_notice: general_notice(&kinds, &places, &file.emergency_names.0)?,
        places,
        kinds,
        matcher,
        emergency_names: file.emergency_names.0,
    })
}

/// The notice as if every kind had matched for a user without a language and a place.
fn general_notice(
    kinds: &[Kind],
    places: &Places,
    emergency_names: &BTreeMap<String, String>,
) -> Result<Notice, InvalidRules> {
    let gravest = kinds
        .first()
        .and_then(|kind| Some((kind, kind.notices.get(FALLBACK_LANGUAGE)?)));
    let Some((kind, wording)) = gravest else {
        return wrong("/kinds/0/notices", format!("must have \"{FALLBACK_LANGUAGE}\""));
    };
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name.as_str()).collect();
    Ok(Notice {
        kind: kind.name.clone(),
        title: wording.title.clone(),
        text: wording.text.clone(),
        resources: places.resources(None, None, &names, emergency_name(emergency_names, FALLBACK_LANGUAGE)),
    })
}

fn read_notices(pointer: &str, notices: ByKey<WordingFile>) -> Result<BTreeMap<String, Wording>, InvalidRules> {
    check_languages(pointer, &notices.0)?;
    let mut read = BTreeMap::new();
    for (language, WordingFile { title, text }) in notices.0 {
        check_text(&format!("{pointer}/{language}/title"), &title, MAX_TITLE_CHARS)?;
        check_text(&format!("{pointer}/{language}/text"), &text, MAX_TEXT_CHARS)?;
        read.insert(language, Wording { title, text });
    }
    Ok(read)
}
