//! Starting an answer within the caller's limits.

use cura_app::chat::{AnswerRequest, StartedAnswer};
use cura_app::{App, Caller};

use crate::http::problem::Problem;
use crate::http::rate_limit::RateLimit;

/// Stores and enqueues what `request` asks for, and charges for it. A request that repeats an earlier one returns the earlier
/// answer, even if the caller's limit is used up.
pub(crate) async fn start_answer(
    app: &App,
    rate_limit: &RateLimit,
    caller: Caller,
    request: &AnswerRequest,
) -> Result<StartedAnswer, Problem> {
    if let Some(first) = app.chat.find_replay(caller, request).await? {
        rate_limit.charge_repetition(caller).await;
        return Ok(first);
    }
    rate_limit.charge_chat(caller).await?;
    Ok(app.chat.start(caller, request).await?)
}
