//! The paths of the API: which template a request's path belongs to, and which methods that has.

use std::collections::BTreeMap;

use poem::http::HeaderValue;

/// One path of the OpenAPI document.
#[derive(Debug)]
pub(crate) struct KnownPath {
    /// As the document writes it: `/chat/messages/{message_id}`.
    pub(crate) template: String,
    /// For `Allow`.
    pub(crate) allow: HeaderValue,
}

/// All paths. A handful: looking through them costs less than hashing would.
#[derive(Debug)]
pub(crate) struct Paths(Vec<KnownPath>);

impl Paths {
    /// Of templates and their methods.
    pub(crate) fn new(methods: BTreeMap<String, String>) -> Self {
        let known = |(template, methods): (String, String)| {
            Some(KnownPath {
                template,
                allow: HeaderValue::try_from(methods).ok()?,
            })
        };
        Self(methods.into_iter().filter_map(known).collect())
    }

    /// The template `path` belongs to.
    pub(crate) fn find(&self, path: &str) -> Option<&KnownPath> {
        self.0.iter().find(|known| matches(&known.template, path))
    }
}

fn matches(template: &str, path: &str) -> bool {
    let mut wanted = template.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_template_it_fits() {
        for (template, path, fits) in [
            ("/chat/messages/{id}", "/chat/messages/7", true),
            ("/chat/messages/{id}", "/chat/messages/", false),
            ("/chat/messages/{id}", "/chat/messages/7/stream", false),
            ("/chat/messages/{id}/stream", "/chat/messages/7/stream", true),
            ("/health", "/health", true),
            ("/health", "/healthy", false),
        ] {
            assert_eq!(matches(template, path), fits, "{template} {path}");
        }
    }
}
