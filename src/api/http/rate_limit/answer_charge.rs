//! What a request for an answer pays, before its body is read and its key is looked up.
//!
//! A new message is charged to the chat budget, a repeated one to the default budget. Which of them a request is, is known only
//! after the work that the budgets are to limit. So every request pays the chat budget in advance. If that is spent, a request with a
//! key pays the default budget instead: it can only be a repetition. A repetition that has paid for a message gets that back when it has
//! paid the default budget, and only then: otherwise repeating would be free for whoever has spent the default budget.

use std::sync::PoisonError;

use cura_app::Caller;
use cura_app::limits::RateDecision;

use super::{RateLimit, by_user};
use crate::http::policy::RateClass;
use crate::http::problem::Problem;

/// What a request for an answer has paid.
#[derive(Debug)]
pub(crate) enum AnswerCharge {
    /// A message.
    Message,
    /// A repetition.
    Repetition {
        /// The state of the default budget; `None` if it has no limit.
        left: Option<RateDecision>,
        /// Why the request is refused if it repeats nothing.
        refused: Problem,
    },
}

impl RateLimit {
    /// Charges a request for an answer. `has_key` says whether it may be a repetition.
    ///
    /// # Errors
    /// 429 if the limit is reached.
    pub(crate) async fn charge_answer(&self, caller: Caller, has_key: bool) -> Result<AnswerCharge, Problem> {
        match self.charge(RateClass::Chat, &by_user(caller)).await {
            Ok(()) => Ok(AnswerCharge::Message),
            Err(refused) if has_key => match self.spend(RateClass::Default, &by_user(caller)).await {
                Ok(left) => Ok(AnswerCharge::Repetition { left, refused }),
                Err(_) => Err(refused),
            },
            Err(refused) => Err(refused),
        }
    }

    /// What the request has paid when its caller was authenticated; `None` if that was taken before.
    pub(crate) fn take_answer_charge(&self) -> Option<AnswerCharge> {
        self.0
            .answer_charge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Settles the charge of a request that turned out to be a repetition.
    ///
    /// # Errors
    /// 429 if the default limit is reached.
    pub(crate) async fn settle_repetition(&self, caller: Caller, paid: AnswerCharge) -> Result<(), Problem> {
        let left = match paid {
            AnswerCharge::Repetition { left, .. } => left,
            AnswerCharge::Message => {
                let left = self.spend(RateClass::Default, &by_user(caller)).await?;
                if let Some(budgets) = self.0.limits.budgets(RateClass::Chat) {
                    budgets.shared.refund(&by_user(caller)).await;
                }
                left
            }
        };
        self.announce_only(left);
        Ok(())
    }
}
