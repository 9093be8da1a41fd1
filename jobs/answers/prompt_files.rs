//! What a prompt gives of files: reads what the files of a history hold, and fetches what goes beside the text.

use std::collections::HashMap;
use std::time::Duration;

use cura_domain::prompt::{
    FileContent, FileContents, Given, HistoryMessage, LeftOut, PromptFile, PromptMessage, Takes, may_be_given,
};
use cura_domain::{FileId, UserId};
use cura_providers::ai::EncodedFiles;
use cura_providers::files::{FileStore, FileStoreError};
use cura_queue::JobError;
use cura_store::prompt_files::{self, StoredObject};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::context::JobContext;
use crate::errors::snooze_while_slow;

/// How long a request waits for memory that the files of others hold.
const MAX_WAIT_FOR_MEMORY: Duration = Duration::from_secs(10);
/// How long the files of one prompt may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(20);
/// How many files of one prompt are fetched at once.
const AT_ONCE: usize = 4;

/// How many characters of a document are read for each token that it may have: texts with longer words are rare.
const CHARS_PER_TOKEN: usize = 6;

/// What the files of a history hold, and where that is which goes beside the text.
#[derive(Clone, Default)]
pub(super) struct HistoryFiles {
    pub(super) contents: FileContents,
    objects: HashMap<FileId, StoredObject>,
}

/// Why files cannot be given now.
pub(crate) enum FilesAway {
    /// Others' files take all memory.
    NoMemory,
    /// The file store is away.
    Store,
}

impl FilesAway {
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::NoMemory => "the files of other answers take all memory",
            Self::Store => "the file store is away",
        }
    }
}

impl HistoryFiles {
    /// Reads what the files of a history hold, if it has any.
    ///
    /// # Errors
    /// [`JobError::Snooze`] while the database is away.
    pub(super) async fn read(
        context: &JobContext,
        user: UserId,
        newest_first: &[HistoryMessage],
    ) -> Result<Self, JobError> {
        let ids = may_be_given(newest_first);
        if ids.is_empty() {
            return Ok(Self::default());
        }
        // All documents together have half of the prompt, so none has more.
        let chars = context.max_prompt_tokens(user) / 2 * CHARS_PER_TOKEN;
        let chars = i32::try_from(chars).unwrap_or(i32::MAX);
        let found = context
            .database
            .connection(async |connection| prompt_files::list(connection, user, &ids, chars).await);
        // What is not found is not clean any more, or gone.
        let mut files = Self {
            contents: ids.iter().map(|id| (*id, FileContent::Unknown)).collect(),
            ..Self::default()
        };
        for found in found.await.map_err(snooze_while_slow)? {
            files.contents.insert(found.id, found.content);
            if let Some(object) = found.object {
                files.objects.insert(found.id, object);
            }
        }
        Ok(files)
    }

    /// Fetches what goes beside the text of these messages for a model that takes this. A file that is not there any more becomes a line; so does one that cannot be had,
    /// where the person has waited long enough.
    ///
    /// # Errors
    /// [`FilesAway`], while it may help to wait.
    pub(super) async fn fetch(
        &self,
        context: &JobContext,
        messages: &mut [PromptMessage],
        (takes, may_wait): (Takes, bool),
    ) -> Result<EncodedFiles, FilesAway> {
        let wanted = messages.iter().flat_map(|message| message.beside_text(takes));
        let wanted: Vec<(FileId, StoredObject)> = wanted
            .filter_map(|file| Some((file.file.id, self.objects.get(&file.file.id)?.clone())))
            .collect();
        let bytes: u64 = wanted.iter().map(|(_, object)| object.bytes).sum();
        if wanted.is_empty() {
            return Ok(EncodedFiles::default());
        }
        let mut files = match context.file_memory.take(bytes, MAX_WAIT_FOR_MEMORY).await {
            Some(memory) => EncodedFiles::new(memory),
            None if may_wait => return Err(FilesAway::NoMemory),
            None => {
                leave_out(messages, takes, LeftOut::NoRoom, |_| true);
                return Ok(EncodedFiles::default());
            }
        };
        let all_are_known = fetch_all(&context.files, wanted, &mut files).await;
        if !all_are_known && may_wait {
            return Err(FilesAway::Store);
        }
        leave_out(messages, takes, LeftOut::NotOpened, |file| {
            !files.contains(file.file.id)
        });
        Ok(files)
    }
}

/// Fetches files, as many as come in time. Returns whether of all others it is known that they are gone.
async fn fetch_all(store: &FileStore, wanted: Vec<(FileId, StoredObject)>, files: &mut EncodedFiles) -> bool {
    let name = store.name();
    let mut left = wanted.len();
    let fetching = async {
        let fetches = wanted.into_iter().map(|(id, object)| {
            let store = store.clone();
            async move {
                let fetched = fetch(&store, &object).await;
                (id, object.media_type, fetched)
            }
        });
        let mut fetching = stream::iter(fetches).buffer_unordered(AT_ONCE);
        while let Some((id, media_type, fetched)) = fetching.next().await {
            match fetched {
                Ok(bytes) => files.add(id, media_type, &bytes),
                Err(FileStoreError::Missing) => {
                    tracing::info!(file_id = %id, "a file of a prompt is not there any more")
                }
                // Waiting does not help.
                Err(error @ FileStoreError::Refused(_)) => {
                    tracing::warn!(store = name, file_id = %id, %error, "a file of a prompt is not given out");
                }
                Err(error) => {
                    tracing::warn!(store = name, file_id = %id, %error, "a file of a prompt cannot be fetched");
                    continue;
                }
            }
            left -= 1;
        }
    };
    if tokio::time::timeout(FETCH_TIMEOUT, fetching).await.is_err() {
        tracing::warn!(
            store = name,
            files = left,
            "files of a prompt take too long to be fetched"
        );
    }
    left == 0
}

fn leave_out(messages: &mut [PromptMessage], takes: Takes, why: LeftOut, is_missing: impl Fn(&PromptFile) -> bool) {
    let files = messages.iter_mut().flat_map(|message| &mut message.files);
    for file in files.filter(|file| file.goes_beside_text(takes) && is_missing(file)) {
        file.given = Given::Line(why);
    }
}

/// The bytes of an object.
async fn fetch(store: &FileStore, object: &StoredObject) -> Result<Vec<u8>, FileStoreError> {
    let opened = store.open(&object.key, None).await?;
    let most = usize::try_from(object.bytes).unwrap_or(usize::MAX);
    let bytes = opened
        .bytes
        .try_fold(Vec::with_capacity(most), |mut bytes, piece| async move {
            let room = most - bytes.len();
            bytes.extend_from_slice(piece.get(..room).unwrap_or(&piece));
            Ok(bytes)
        });
    bytes.await
}
