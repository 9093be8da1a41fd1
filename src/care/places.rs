//! Places: emergency numbers and services that help, by country.

use std::collections::BTreeMap;

use language_tags::LanguageTag;

use cura_domain::notice::Resource;

/// The resources of each country, and the international ones for all other countries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// By ISO 3166 code.
    pub(crate) countries: BTreeMap<String, Place>,
    /// Country codes by IANA time zone.
    pub(crate) by_time_zone: BTreeMap<String, String>,
    pub(crate) international: Place,
}

/// The resources of one country.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The number of the emergency services.
    pub(crate) emergency: String,
    /// Other services, by kind of danger.
    pub(crate) resources: BTreeMap<String, Vec<Resource>>,
}

impl Places {
    /// The emergency numbers, named `emergency`, then the services for `kinds`, for a user with this profile. The country of
    /// the time zone comes first, because the user is more likely there.
    pub(crate) fn resources(
        &self,
        language: Option<&str>,
        time_zone: Option<&str>,
        kinds: &[&str],
        emergency: &str,
    ) -> Vec<Resource> {
        let mut codes: Vec<String> = Vec::new();
        let zone = time_zone.and_then(|zone| self.by_time_zone.get(zone)).cloned();
        for code in zone.into_iter().chain(language.and_then(region)) {
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        let mut places: Vec<(&str, &Place)> = codes
            .iter()
            .filter_map(|code| Some((code.as_str(), self.countries.get(code)?)))
            .collect();
        if places.is_empty() {
            places.push(("", &self.international));
        }
        let several = places.len() > 1;
        let mut resources: Vec<Resource> = Vec::new();
        for (code, place) in &places {
            resources.push(Resource {
                name: if several {
                    format!("{emergency} ({code})")
                } else {
                    emergency.to_owned()
                },
                contact: place.emergency.clone(),
                url: None,
            });
        }
        for kind in kinds {
            let local = places
                .iter()
                .filter_map(|(_, place)| place.resources.get(*kind))
                .flatten();
            let mut helpers: Vec<&Resource> = local.collect();
            if helpers.is_empty() {
                helpers.extend(self.international.resources.get(*kind).into_iter().flatten());
            }
            for helper in helpers {
                if !resources.contains(helper) {
                    resources.push(helper.clone());
                }
            }
        }
        resources
    }
}

/// The region subtag of `tag`, in upper case.
fn region(tag: &str) -> Option<String> {
    let tag = LanguageTag::parse(tag).ok()?;
    tag.region().map(str::to_ascii_uppercase)
}
