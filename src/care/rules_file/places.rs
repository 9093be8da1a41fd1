//! The countries of the rules file, and its international resources.

use std::collections::BTreeMap;

use super::checks::{MAX_NAME_CHARS, check_text, is_https};
use super::format::{ByKey, PlaceFile, ResourceFile};
use crate::Kind;
use crate::error::{InvalidRules, wrong};
use crate::places::{Place, Places};
use cura_domain::notice::Resource;
use cura_domain::profile::TimeZone;

const MAX_RESOURCES: usize = 10;

pub(crate) fn read_places(
    international: PlaceFile,
    countries: BTreeMap<String, PlaceFile>,
    kinds: &[Kind],
) -> Result<Places, InvalidRules> {
    if !international.time_zones.is_empty() {
        return wrong("/international/time_zones", "must not be there");
    }
    let mut places = Places {
        international: read_place(
            "/international",
            international.emergency,
            international.resources,
            kinds,
        )?,
        ..Places::default()
    };
    for (code, country) in countries {
        let pointer = format!("/countries/{code}");
        if code.len() != 2 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return wrong(pointer, "must be a country code of two capital letters, like DE");
        }
        for (index, zone) in country.time_zones.into_iter().enumerate() {
            let pointer = format!("{pointer}/time_zones/{index}");
            if let Err(error) = TimeZone::new(&zone) {
                return wrong(pointer, error.to_string());
            }
            if let Some(other) = places.by_time_zone.insert(zone, code.clone()) {
                return wrong(pointer, format!("is a time zone of {other} already"));
            }
        }
        let place = read_place(&pointer, country.emergency, country.resources, kinds)?;
        places.countries.insert(code, place);
    }
    Ok(places)
}

fn read_place(
    pointer: &str,
    emergency: String,
    resources: ByKey<Vec<ResourceFile>>,
    kinds: &[Kind],
) -> Result<Place, InvalidRules> {
    check_text(&format!("{pointer}/emergency"), &emergency, MAX_NAME_CHARS)?;
    let mut by_kind = BTreeMap::new();
    for (kind, resources) in resources.0 {
        let pointer = format!("{pointer}/resources/{kind}");
        if !kinds.iter().any(|known| known.name == kind) {
            return wrong(pointer, "must be the name of a kind");
        }
        if resources.len() > MAX_RESOURCES {
            return wrong(pointer, format!("must have at most {MAX_RESOURCES} resources"));
        }
        let mut read = Vec::new();
        for (index, ResourceFile { name, contact, url }) in resources.into_iter().enumerate() {
            check_text(&format!("{pointer}/{index}/name"), &name, MAX_NAME_CHARS)?;
            check_text(&format!("{pointer}/{index}/contact"), &contact, MAX_NAME_CHARS)?;
            if url.as_deref().is_some_and(|url| !is_https(url)) {
                return wrong(
                    format!("{pointer}/{index}/url"),
                    "must be an address that begins with https://",
                );
            }
            read.push(Resource { name, contact, url });
        }
        by_kind.insert(kind, read);
    }
    Ok(Place {
        emergency,
        resources: by_kind,
    })
}
