//! Starting an answer within the caller's limits.

use cura_app::chat::{AnswerRequest, StartedAnswer};
use cura_app::{App, Caller};

use crate::http::problem::Problem;
use crate::http::rate_limit::{AnswerCharge, RateLimit};

/// Stores and enqueues what `request` asks for, which has `paid` for it. A request that repeats an earlier one returns the
/// earlier answer, even if the chat limit is reached.
pub(crate) async fn start_answer(
    app: &App,
    rate_limit: &RateLimit,
    paid: AnswerCharge,
    caller: Caller,
    request: &AnswerRequest,
) -> Result<StartedAnswer, Problem> {
    match paid {
        AnswerCharge::Message => {
            let started = app.chat.start(caller, request).await?;
            if started.replayed {
                rate_limit.settle_repetition(caller, AnswerCharge::Message).await?;
            }
            Ok(started)
        }
        AnswerCharge::Repetition { left, refused } => match app.chat.find_replay(caller, request).await? {
            Some(first) => {
                let paid = AnswerCharge::Repetition { left, refused };
                rate_limit.settle_repetition(caller, paid).await?;
                Ok(first)
            }
            None => Err(refused),
        },
    }
}
