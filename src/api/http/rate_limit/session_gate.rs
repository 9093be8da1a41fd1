//! What an access token may cost before its session is looked up.
//!
//! A valid signature says for whom the token was issued, but not that its session still stands: a stolen token whose session was
//! ended must not spend the budget of its user. So before the database is asked, a user that was refused is refused again, and
//! each session has a budget of its own, as large as that of its user, in the memory of each server.

use cura_app::Caller;
use cura_app::limits::Limit;

use super::{RateLimit, by_user};
use crate::http::policy::RateClass;
use crate::http::problem::Problem;

impl RateLimit {
    /// Admits an access token of which only the signature and the times were checked. Asks neither Redis nor the database.
    ///
    /// # Errors
    /// 429 if its user was refused before, or if the session has used up its budget on this server.
    pub(crate) async fn admit_session(&self, claimed: Caller) -> Result<(), Problem> {
        self.refuse_again(claimed)?;
        let Some(gate) = self.session_gate() else {
            return Ok(());
        };
        let decision = gate.spend(&by_session(claimed)).await;
        // If it is allowed, what the user has left counts.
        if decision.allowed { Ok(()) } else { self.note(decision) }
    }

    /// Takes back what [`Self::admit_session`] has counted, after a failure of the server.
    pub(crate) async fn excuse_session(&self, claimed: Caller) {
        if let Some(gate) = self.session_gate() {
            gate.refund(&by_session(claimed)).await;
        }
    }

    fn refuse_again(&self, claimed: Caller) -> Result<(), Problem> {
        let refusal = |class| {
            let budgets = self.0.limits.budgets(class)?;
            budgets.shared.find_refusal(&by_user(claimed))
        };
        let Some(refused) = refusal(self.0.class) else {
            return Ok(());
        };
        // A repetition is charged to the default budget.
        let may_be_repetition = self.0.class == RateClass::Chat && self.0.has_key;
        if may_be_repetition && refusal(RateClass::Default).is_none() {
            return Ok(());
        }
        self.note(refused)
    }

    fn session_gate(&self) -> Option<&Limit> {
        self.0.limits.budgets(self.0.class)?.session_gate.as_ref()
    }
}

fn by_session(claimed: Caller) -> String {
    format!("s:{}", claimed.session)
}
