//! What feeds and followers share.

use std::sync::Arc;

use cura_domain::Entropy;
use cura_live::Live;
use cura_store::Database;

use super::replay_turns::ReplayTurns;
use super::typing_signals::TypingSignals;
use crate::files::FileLinks;
use crate::notices::Notices;

/// What feeds and followers read from. One pointer per connection: there are many.
#[derive(Clone)]
pub(crate) struct Sources(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) live: Live,
    pub(crate) entropy: Entropy,
    pub(crate) notices: Notices,
    pub(crate) links: FileLinks,
    pub(super) replays: ReplayTurns,
    pub(super) typing: TypingSignals,
}

impl Sources {
    pub(crate) fn new(database: Database, live: Live, entropy: Entropy, notices: Notices, links: FileLinks) -> Self {
        Self(Arc::new(Inner {
            replays: ReplayTurns::default(),
            typing: TypingSignals::new(live.clone()),
            database,
            live,
            entropy,
            notices,
            links,
        }))
    }
}

impl std::ops::Deref for Sources {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
