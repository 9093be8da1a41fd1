//! What an answer's end makes possible: waiting answers may start, the answer is pushed, and a conversation gets a better title or
//! a summary.

use std::time::Duration;

use cura_domain::push_decision::{LAST_LOOK_AFTER, SECOND_LOOK_AFTER};
use cura_domain::{FileId, MessageId, UserId};
use cura_queue::{EnqueueOptions, GenerateAnswer, JobOwner, SendPush, SummarizeConversation, TitleConversation};
use cura_store::{PgConnection, StoreError, answers, attachments};

use crate::Answers;

/// How long a better title waits, so that it does not compete with the first answers for the provider.
const TITLE_DELAY: Duration = Duration::from_secs(3);

/// The jobs that follow a completed answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FollowUps {
    /// Ask the model for a title, if the present one is only an excerpt of the first message.
    pub title: bool,
    /// Summarize the conversation up to this message.
    pub summarize_up_to: Option<MessageId>,
}

impl FollowUps {
    /// The job that asks for a better title than an excerpt.
    pub(crate) fn title_job(self, owner: JobOwner) -> Option<(TitleConversation, EnqueueOptions)> {
        let conversation = owner.conversation.filter(|_| self.title)?;
        let job = TitleConversation {
            conversation_id: conversation.0,
        };
        let options = EnqueueOptions {
            after: TITLE_DELAY,
            owner: Some(owner),
            ..EnqueueOptions::default()
        };
        Some((job, options))
    }

    /// Enqueues the jobs, which work with the words of `owner`, a conversation.
    pub(crate) async fn enqueue(
        self,
        connection: &mut PgConnection,
        owner: JobOwner,
        title_is_excerpt: bool,
    ) -> Result<(), StoreError> {
        if let Some((job, options)) = self.title_job(owner).filter(|_| title_is_excerpt) {
            cura_queue::enqueue_with(connection, &job, options).await?;
        }
        let options = EnqueueOptions {
            owner: Some(owner),
            ..EnqueueOptions::default()
        };
        if let Some((message, conversation)) = self.summarize_up_to.zip(owner.conversation) {
            let job = SummarizeConversation {
                conversation_id: conversation.0,
                message_id: message.0,
            };
            cura_queue::enqueue_or_renew(connection, &job, options).await?;
        }
        Ok(())
    }
}

/// An answer whose end is pushed, unless somebody watches or has read it; only where pushes are on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PushOfEnd {
    message: MessageId,
    /// Whether somebody watched right before it ended.
    is_watched: bool,
}

impl PushOfEnd {
    /// The job that looks again, and pushes.
    pub(crate) fn job(self, owner: JobOwner) -> (SendPush, EnqueueOptions) {
        let job = SendPush {
            message_id: self.message.0,
        };
        let after = if self.is_watched {
            LAST_LOOK_AFTER
        } else {
            SECOND_LOOK_AFTER
        };
        let options = EnqueueOptions {
            after: after.to_std().unwrap_or_default(),
            owner: Some(owner),
            ..EnqueueOptions::default()
        };
        (job, options)
    }
}

impl Answers {
    /// Looks whether somebody watches an answer of `user` that is about to end. `None` where pushes are off.
    pub(crate) async fn look_at_end(&self, user: UserId, message: MessageId) -> Option<PushOfEnd> {
        if !self.0.pushes {
            return None;
        }
        let is_watched = self.0.live.look_at_end(user, message).await;
        Some(PushOfEnd { message, is_watched })
    }

    /// Lets answers of `user` start that waited for some that were deleted.
    pub async fn wake_waiting(&self, connection: &mut PgConnection, user: UserId) -> Result<(), StoreError> {
        make_waiting_answers_ready(connection, user, self.0.running_answers).await
    }
}

/// Makes the jobs of the user's waiting answers ready: as many as may start, and none that would only find out that it has to
/// wait on. Beginning one of them checks that again.
pub(crate) async fn make_waiting_answers_ready(
    connection: &mut PgConnection,
    user: UserId,
    max_running: u32,
) -> Result<(), StoreError> {
    let waiting = answers::list_startable(connection, user, max_running).await?;
    make_answers_ready(connection, &waiting).await
}

/// Makes the jobs of answers ready that may wait for the scan of this file, which ends in this transaction. Beginning one of them checks
/// whether it waits for anything else.
pub async fn make_ready_after_scan(
    connection: &mut PgConnection,
    user: UserId,
    file: FileId,
) -> Result<(), StoreError> {
    let waiting = attachments::list_waiting_answers(connection, user, file).await?;
    make_answers_ready(connection, &waiting).await
}

/// Makes the jobs of these answers ready, which waited for something that is over with this transaction. Beginning one of them checks
/// whether it waits for anything else.
pub async fn make_answers_ready(connection: &mut PgConnection, waiting: &[MessageId]) -> Result<(), StoreError> {
    if waiting.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = waiting.iter().map(MessageId::to_string).collect();
    Ok(cura_queue::make_ready::<GenerateAnswer>(connection, &keys).await?)
}
