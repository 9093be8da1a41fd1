//! A request for a title or a summary, as its person pays for it: reserved before it is sent, settled after it.

use cura_domain::message::Usage;
use cura_domain::token_estimate;
use cura_providers::ai::ProviderReport;
use cura_queue::JobError;
use cura_store::model_calls::{self, CallKind, NewCall};
use cura_store::owners::ConversationOwner;
use cura_store::{StoreError, usage, users};

use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// Tokens that are reserved for a request. To be settled; if its worker dies, the next run of the job does.
pub(super) struct ReservedCall {
    id: i64,
    prompt_tokens: i64,
}

impl ReservedCall {
    /// Reserves a prompt of `prompt_bytes` and the longest reply. `None` when the person's tokens of the day do not suffice, or
    /// the person is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn begin(
        context: &JobContext,
        owner: &ConversationOwner,
        kind: CallKind,
        prompt_bytes: usize,
        max_output_tokens: u32,
    ) -> Result<Option<Self>, JobError> {
        let prompt_tokens =
            i64::try_from(prompt_bytes.div_ceil(token_estimate::MIN_BYTES_PER_TOKEN)).unwrap_or(i64::MAX);
        let call = NewCall {
            kind,
            prompt_tokens,
            reserved_tokens: prompt_tokens.saturating_add(max_output_tokens.into()),
        };
        let now = context.clock.now();
        let model = context.ai.primary_model();
        let limit = i64::try_from(context.assistant.daily_tokens).unwrap_or(i64::MAX);
        let reserved = context.database.transaction(async |connection| {
            if users::hold_alone(connection, owner.user()).await?.is_none() {
                return Ok(None);
            }
            model_calls::settle_lost(connection, owner, kind, model, now).await?;
            let load = usage::load(connection, owner.user(), now).await?;
            if limit > 0 && load.spoken_for().saturating_add(call.reserved_tokens) > limit {
                return Ok(None);
            }
            model_calls::reserve(connection, owner, call, now).await.map(Some)
        });
        let id: Option<i64> = reserved.await.map_err(snooze_if_unavailable)?;
        if id.is_none() {
            tracing::info!(
                user_id = %owner.user(), conversation_id = %owner.conversation(), ?kind,
                "not made: the person's tokens of the day do not suffice for it"
            );
        }
        Ok(id.map(|id| Self { id, prompt_tokens }))
    }

    /// Counts what the requests cost: the last one as the provider stated it in `usage`, else what it has reported so far and an
    /// estimate of the rest; those before it, which brought nothing, as far as they reported; nothing if no provider accepted one.
    /// Billed to the model that was asked last.
    pub(super) async fn settle(
        self,
        context: &JobContext,
        reports: &[ProviderReport],
        usage: Option<Usage>,
        written_bytes: usize,
    ) {
        let now = context.clock.now();
        let settled = context.database.transaction(async |connection| {
            let Some((last, earlier)) = reports.split_last() else {
                return model_calls::cancel(connection, self.id).await;
            };
            let written = i64::try_from(token_estimate::estimate(written_bytes)).unwrap_or(i64::MAX);
            let mut cost = usage.unwrap_or_else(|| self.estimate(last, written));
            for report in earlier {
                let of_earlier = self.estimate(report, 0);
                cost.input_tokens = cost.input_tokens.saturating_add(of_earlier.input_tokens);
                cost.output_tokens = cost.output_tokens.saturating_add(of_earlier.output_tokens);
                cost.estimated = true;
            }
            model_calls::settle(connection, self.id, &last.model, &cost, now).await
        });
        if let Err(error) = settled.await {
            let error: StoreError = error;
            tracing::warn!(%error, "the cost of a title or summary could not be counted yet; the next one counts it");
        }
    }

    fn estimate(&self, report: &ProviderReport, written_tokens: i64) -> Usage {
        Usage {
            input_tokens: report.input_tokens.unwrap_or(self.prompt_tokens),
            output_tokens: report.output_tokens.unwrap_or_default().max(written_tokens),
            estimated: true,
        }
    }
}
