//! Notes what the model was given of files with the answer, beside the stream: a slow database delays no text.

use cura_answers::AnswerWriter;
use cura_domain::answer::Fence;
use cura_domain::file::UsedFile;
use cura_store::{Database, StoreError, prompt_files};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// What is being noted for one attempt.
#[derive(Default)]
pub(super) struct NotedFiles(Option<JoinHandle<Result<(), StoreError>>>);

impl NotedFiles {
    /// Begins to note that the model was given this of files, in a prompt of so many tokens. A later attempt takes the note of an earlier one
    /// back, if it has none.
    pub(super) fn begin(&mut self, database: &Database, writer: &AnswerWriter, files: Vec<UsedFile>, tokens: usize) {
        let (answer, fence) = (writer.id(), writer.fence());
        if files.is_empty() && fence == Fence::FIRST {
            return;
        }
        let database = database.clone();
        self.0 = Some(TaskTracker::new().spawn(async move {
            let noted = database.connection(async |connection| {
                prompt_files::record_used(connection, answer, fence, &files, tokens).await
            });
            noted.await.inspect_err(|error| {
                tracing::warn!(message_id = %answer, %error, "it could not be noted what the model was given of files");
            })
        }));
    }

    /// Waits until it is noted. False if that has failed.
    pub(super) async fn are_noted(&mut self) -> bool {
        match self.0.take() {
            Some(noting) => matches!(noting.await, Ok(Ok(()))),
            None => true,
        }
    }
}
