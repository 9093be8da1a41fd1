//! Finds a better title for a conversation than a cut of its first message.
//!
//! May run twice: a title that is no cut any more, because a person or an earlier run chose it, is left alone.

use cura_domain::conversation::Title;
use cura_domain::event::Event;
use cura_domain::{ConversationId, prompt};
use cura_live::Signal;
use cura_providers::ai::RequestKey;
use cura_queue::{JobError, TitleConversation};
use cura_store::events;
use cura_store::{conversations, history, with_deadline};

use super::ask_model;
use crate::{Parts, not_begun};

/// Tokens a title may have, with what a model that reasons thinks before.
const MAX_TOKENS: u32 = 400;

pub(crate) async fn run(parts: &Parts, job: TitleConversation) -> Result<(), JobError> {
    let id = ConversationId(job.conversation_id);
    let beginning = with_deadline(async { history::beginning(&mut *parts.database.pool().acquire().await?, id).await });
    let Some((question, answer)) = beginning.await.map_err(not_begun)? else {
        tracing::info!(conversation_id = %id, "nothing to give a title to");
        return Ok(());
    };
    let said = ask_model::ask(
        parts,
        RequestKey::Title(id),
        prompt::for_title(&question, &answer),
        MAX_TOKENS,
    )
    .await?;
    let Some(title) = Title::suggested(&said.text) else {
        tracing::info!(conversation_id = %id, "the model's title is none; the cut stays");
        return Ok(());
    };
    let now = parts.clock.now();
    let improved = with_deadline(async {
        let mut transaction = parts.database.pool().begin().await?;
        let Some(user) = conversations::improve_title(&mut transaction, id, title.as_str(), now).await? else {
            return Ok(None);
        };
        let seq = events::append(&mut transaction, user, &[Event::Conversation(id)], now).await?;
        transaction.commit().await?;
        Ok(Some((user, seq)))
    });
    if let Some((user, seq)) = improved.await.map_err(not_begun)? {
        // Connections that miss this find out at their next look at the log.
        let _ = parts.live.publish_to_user(user, Signal::Logged(seq)).await;
    }
    Ok(())
}
