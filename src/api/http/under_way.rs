//! The bytes that are under way between clients and this server: bodies that arrive, and responses that were not sent yet.

use std::time::Duration;

use poem::Request;
use poem::http::StatusCode;

use crate::http::address_budget::{AddressBudget, Exhausted, Held};
use crate::http::client_address::ClientNetwork;
use crate::http::problem::Problem;

/// Bodies that are being received, in bytes: of all clients together, and of one address.
const MAX_BODIES: usize = 64 * 1024 * 1024;
const MAX_BODIES_PER_ADDRESS: usize = 8 * 1024 * 1024;
/// Forms with files that are being received, in bytes that they hold in memory: for each a fixed amount for as long as it takes,
/// which may be ten minutes. So they have their own: they must not take the room of requests that take a moment.
const MAX_FORMS: usize = 64 * 1024 * 1024;
const MAX_FORMS_PER_ADDRESS: usize = 8 * 1024 * 1024;
/// Responses that clients have not taken yet, in bytes: of all clients together, and of one address.
const MAX_RESPONSES: usize = 128 * 1024 * 1024;
const MAX_RESPONSES_PER_ADDRESS: usize = 16 * 1024 * 1024;
/// When a client whose address is at a limit should try again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The budgets of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct UnderWay {
    bodies: AddressBudget,
    forms: AddressBudget,
    pub(crate) responses: AddressBudget,
}

impl UnderWay {
    /// Nothing is under way yet.
    pub(crate) fn new() -> Self {
        Self {
            bodies: AddressBudget::new(MAX_BODIES, MAX_BODIES_PER_ADDRESS),
            forms: AddressBudget::new(MAX_FORMS, MAX_FORMS_PER_ADDRESS),
            responses: AddressBudget::new(MAX_RESPONSES, MAX_RESPONSES_PER_ADDRESS),
        }
    }

    /// What a socket of `client` may hold: as responses, which its frames are.
    pub(crate) fn frames_of(&self, client: ClientNetwork) -> FrameBudget {
        FrameBudget {
            frames: self.responses.clone(),
            client,
        }
    }

    /// What the body of a request from `client` may hold.
    pub(crate) fn body_of(&self, client: ClientNetwork) -> BodyBudget {
        BodyBudget {
            bodies: self.bodies.clone(),
            forms: self.forms.clone(),
            client,
        }
    }
}

/// The budget of the frames of one socket, in the data of the request that opens it: nothing else counts what a socket's client has
/// not taken.
#[derive(Debug, Clone)]
pub(crate) struct FrameBudget {
    frames: AddressBudget,
    client: ClientNetwork,
}

impl FrameBudget {
    /// Holds nothing yet.
    pub(crate) fn open(&self) -> Held {
        self.frames.open(self.client)
    }
}

/// The budget of one request's body, in the request's data.
#[derive(Debug, Clone)]
pub(crate) struct BodyBudget {
    bodies: AddressBudget,
    forms: AddressBudget,
    client: ClientNetwork,
}

impl BodyBudget {
    /// Holds nothing yet.
    pub(crate) fn open(&self) -> Held {
        self.bodies.open(self.client)
    }

    /// Holds nothing yet of a form with a file. `None` for a request that did not come over a connection.
    pub(crate) fn of_form(request: &Request) -> Option<Held> {
        let budget = request.data::<Self>()?;
        Some(budget.forms.open(budget.client))
    }

    /// Holds nothing yet. `None` for a request that did not come over a connection.
    pub(crate) fn of(request: &Request) -> Option<Held> {
        request.data::<Self>().map(Self::open)
    }
}

impl From<Exhausted> for Problem {
    fn from(exhausted: Exhausted) -> Self {
        match exhausted {
            Exhausted::Address => {
                let detail = "Too many requests from this address are under way; please try again later.";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", detail).with_retry_after(RETRY_AFTER)
            }
            Exhausted::Total => {
                let detail = "This server is serving as much as it can; please try again later.";
                Self::unavailable("server_busy", detail, RETRY_AFTER)
            }
        }
    }
}
