//! The budgets of a server, for each rate class.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use cura_app::limits::{Limit, RateLimiter};
use poem::Request;

use crate::http::client_address::TrustedProxies;
use crate::http::policy::RateClass;

/// How many times wider than the default the limit of documents, of `/health` and of unknown paths is, by address.
const WIDE_FACTOR: u32 = 10;
/// Frames of all sockets of a user on this server: ten people's typing, or one socket as fast as it may.
const FRAMES_PER_MINUTE: u32 = 1200;

/// Tests of pushes of a user: each rings on all of the user's devices.
const TEST_PUSHES_PER_MINUTE: u32 = 5;

/// Requests per minute for each rate class; 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Operations that check a password.
    pub auth: u32,
    /// Operations that start an answer.
    pub chat: u32,
    /// Operations that receive files.
    pub upload: u32,
    /// Everything else.
    pub default: u32,
}

/// The rate limits of a server. Cheap to clone.
#[derive(Clone)]
pub struct RateLimits(Arc<Parts>);

struct Parts {
    auth: Option<Budgets>,
    chat: Option<Budgets>,
    upload: Option<Budgets>,
    default: Option<Budgets>,
    wide: Option<Budgets>,
    test_push: Option<Budgets>,
    /// By user, for this server only.
    frames: Option<Limit>,
    proxies: TrustedProxies,
}

/// The budgets of one class.
pub(super) struct Budgets {
    /// By user, address or account, for all servers together.
    pub(super) shared: Limit,
    /// By session, for this server only, before the session is looked up; `None` if there is no limit.
    pub(super) session_gate: Option<Limit>,
}

impl RateLimits {
    /// Counts with `limiter`. The client's address is taken from `X-Forwarded-For` if the request comes from one of `proxies`.
    pub fn new(limiter: &RateLimiter, rates: Rates, proxies: TrustedProxies) -> Self {
        let in_process = RateLimiter::in_process();
        let budgets = |name, per_minute: u32, per_session: u32| {
            let shared = limiter.limit(name, NonZeroU32::new(per_minute)?);
            let session_gate = NonZeroU32::new(per_session).map(|rate| in_process.limit(name, rate));
            Some(Budgets { shared, session_gate })
        };
        let wide = rates.default.saturating_mul(WIDE_FACTOR);
        // A request that repeats an earlier one is charged to the default budget.
        let chat_and_repetitions = match rates.default {
            0 => 0,
            default => rates.chat.saturating_add(default),
        };
        Self(Arc::new(Parts {
            // By session as often as anything else: passwords are counted by address and by account.
            auth: budgets("auth", rates.auth, rates.default),
            chat: budgets("chat", rates.chat, chat_and_repetitions),
            upload: budgets("upload", rates.upload, rates.upload),
            default: budgets("default", rates.default, rates.default),
            wide: budgets("wide", wide, wide),
            test_push: budgets("test_push", TEST_PUSHES_PER_MINUTE.min(rates.default), rates.default),
            frames: NonZeroU32::new(FRAMES_PER_MINUTE)
                .filter(|_| rates.default > 0)
                .map(|rate| in_process.limit("frames", rate)),
            proxies,
        }))
    }

    /// The address of the client that sent a request.
    pub(super) fn client_address(&self, request: &Request) -> IpAddr {
        self.0.proxies.client(&request.remote_addr().0, request.headers())
    }

    /// Whether a request came by a proxy that is trusted.
    pub(crate) fn trusts_peer(&self, request: &Request) -> bool {
        let peer = request
            .remote_addr()
            .as_socket_addr()
            .map(|peer| peer.ip().to_canonical());
        peer.is_some_and(|peer| self.0.proxies.trusts(peer))
    }

    /// The limit of the frames of a user's sockets; `None` if there is none.
    pub(super) fn frames(&self) -> Option<&Limit> {
        self.0.frames.as_ref()
    }

    /// The budgets of a class; `None` if it has no limit.
    pub(super) fn budgets(&self, class: RateClass) -> Option<&Budgets> {
        match class {
            RateClass::Auth | RateClass::SignIn => self.0.auth.as_ref(),
            RateClass::Chat => self.0.chat.as_ref(),
            RateClass::Upload => self.0.upload.as_ref(),
            RateClass::Default | RateClass::Link | RateClass::Refresh => self.0.default.as_ref(),
            RateClass::Wide => self.0.wide.as_ref(),
            RateClass::TestPush => self.0.test_push.as_ref(),
            RateClass::Free => None,
        }
    }
}
