//! Replaces a title that is an excerpt of the first message by one that the model suggests.
//!
//! May run twice: a title that is no longer an excerpt, because the user or an earlier run chose it, is left alone.

use std::sync::Arc;

use cura_domain::conversation::Title;
use cura_domain::event::Event;
use cura_domain::{ConversationId, prompt};
use cura_providers::ai::RequestKey;
use cura_queue::{JobError, Run, TitleConversation};
use cura_store::model_calls::CallKind;
use cura_store::{conversations, events, history, owners, users};

use super::ask_model::{self, Question};
use crate::context::JobContext;
use crate::errors::snooze_if_unavailable;

/// The most tokens the model may spend, reasoning included.
const MAX_TOKENS: u32 = 400;

pub(crate) async fn run(context: Arc<JobContext>, job: TitleConversation, run: Run) -> Result<(), JobError> {
    let database = &context.database;
    let id = ConversationId(job.conversation_id);
    let beginning = database.connection(async |connection| {
        let Some(owner) = owners::find(connection, id).await? else {
            return Ok(None);
        };
        let exchange = history::find_first_exchange(connection, &owner).await?;
        Ok(exchange.map(|exchange| (owner, exchange)))
    });
    let Some((owner, (question, answer))) = beginning.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(conversation_id = %id, "no title needed: the conversation is deleted, or has no answered question");
        return Ok(());
    };
    let question = Question {
        kind: CallKind::Title,
        key: RequestKey::Title(id),
        owner,
        messages: prompt::for_title(&question, &answer),
        max_output_tokens: MAX_TOKENS,
        is_further: false,
    };
    let Some(reply) = ask_model::ask(&context, &run, question).await? else {
        // Logged where it was decided.
        return Ok(());
    };
    let Some(title) = Title::suggested(&reply.text, reply.is_whole()).filter(|_| !reply.is_withheld()) else {
        tracing::info!(conversation_id = %id, "the model suggested no usable title; keeping the excerpt");
        return Ok(());
    };
    let now = context.clock.now();
    let improved = database.transaction(async |connection| {
        if users::hold(connection, owner.user()).await?.is_none() {
            return Ok(None);
        }
        let Some(user) = conversations::improve_title(connection, id, title.as_str(), now).await? else {
            return Ok(None);
        };
        let seq = events::append(connection, user, &[Event::Conversation(id)], now).await?;
        Ok(Some((user, seq)))
    });
    let Some((user, seq)) = improved.await.map_err(snooze_if_unavailable)? else {
        tracing::info!(conversation_id = %id, "the title is no longer an excerpt, or the conversation is deleted; keeping it");
        return Ok(());
    };
    context.live.publish_event(user, seq).await;
    Ok(())
}
