//! What is left of a person: in every table of personal data, among the jobs, in Redis and in the file store.

use cura_domain::{MessageId, UserId};
use cura_live::{Live, Traces};
use cura_providers::files::FileStore;
use cura_queue::JobsOfUser;
use cura_store::personal_data::TABLES;
use cura_store::{StoreError, messages, object_deletions};
use serde::Serialize;

use super::Users;

/// How many texts are looked up at a time.
const TEXTS_A_QUERY: usize = 1000;

/// Rows of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// The table.
    pub table: &'static str,
    /// How many.
    pub rows: i64,
}

/// What Redis has of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveLeftovers {
    /// Keys that name the person.
    pub keys: u64,
    /// Until all of them have expired, in seconds; `None` if there are none, or one never does.
    pub keys_expire_within: Option<u64>,
    /// Texts of answers that do not exist any more, whoever's they were.
    pub texts_without_message: usize,
}

/// What is left of a person. An empty list means that nothing is.
#[derive(Debug, Clone, Serialize)]
pub struct Leftovers {
    /// The person.
    pub id: UserId,
    /// Whether nothing is left wherever it was looked.
    pub is_erased: bool,
    /// Tables that have rows of the person.
    pub tables: Vec<TableRows>,
    /// Objects that are still to be deleted from the file store.
    pub objects_to_delete: i64,
    /// Files in the person's folder; `None` if that was not looked at, or the file store has no folders.
    pub files_in_folder: Option<u64>,
    /// Unfinished jobs that work with what was theirs.
    pub jobs: Vec<JobsOfUser>,
    /// What Redis has; `None` if it was not looked at.
    pub redis: Option<LiveLeftovers>,
    /// What could not be looked at.
    pub unchecked: Vec<&'static str>,
}

impl Users {
    /// Looks for what is left of a person, who may never have existed. `store` is `None` if it is a folder elsewhere.
    ///
    /// # Errors
    /// When Postgres fails. What else is away is named in [`Leftovers::unchecked`].
    pub async fn find_leftovers(&self, id: UserId, store: Option<&FileStore>) -> Result<Leftovers, StoreError> {
        let database = self.acts.database();
        let mut unchecked = Vec::new();
        // Redis first: a text whose message is written meanwhile must not look as if it had none.
        let traces = match &self.live {
            Some(live) => find_traces(live, id, &mut unchecked).await,
            None => None,
        };
        let mut tables = Vec::new();
        for table in TABLES {
            let count = database.connection(async |connection| table.count(connection, id).await);
            let rows = count.await?;
            if rows > 0 {
                tables.push(TableRows {
                    table: table.name,
                    rows,
                });
            }
        }
        let worked_off = database.connection(async |connection| {
            let objects = object_deletions::count_of(connection, id).await?;
            let jobs = cura_queue::count_unfinished_of(connection, id).await?;
            Ok::<_, StoreError>((objects, jobs))
        });
        let (objects_to_delete, jobs) = worked_off.await?;
        let redis = match traces {
            Some(traces) => Some(self.judge(&traces).await?),
            None => None,
        };
        let files_in_folder = files_in_folder(id, store, &mut unchecked).await;
        let is_erased = tables.is_empty()
            && objects_to_delete == 0
            && files_in_folder.unwrap_or_default() == 0
            && jobs.is_empty()
            && redis
                .as_ref()
                .is_none_or(|redis| redis.keys == 0 && redis.texts_without_message == 0);
        Ok(Leftovers {
            id,
            is_erased,
            tables,
            objects_to_delete,
            files_in_folder,
            jobs,
            redis,
            unchecked,
        })
    }

    /// Tells texts of messages that exist from others.
    async fn judge(&self, traces: &Traces) -> Result<LiveLeftovers, StoreError> {
        let mut texts_without_message = 0;
        for texts in traces.texts.chunks(TEXTS_A_QUERY) {
            let ids: Vec<i64> = texts.iter().map(|MessageId(id)| *id).collect();
            let missing = self
                .acts
                .database()
                .connection(async |connection| messages::count_missing(connection, &ids).await);
            texts_without_message += usize::try_from(missing.await?).unwrap_or_default();
        }
        Ok(LiveLeftovers {
            keys: traces.keys,
            keys_expire_within: traces.keys_expire_within.map(|within| within.as_secs() + 1),
            texts_without_message,
        })
    }
}

async fn find_traces(live: &Live, id: UserId, unchecked: &mut Vec<&'static str>) -> Option<Traces> {
    match live.find_traces(id).await {
        Ok(traces) => {
            if traces.has_more_texts {
                unchecked.push("redis");
            }
            Some(traces)
        }
        Err(_) => {
            unchecked.push("redis");
            None
        }
    }
}

async fn files_in_folder(id: UserId, store: Option<&FileStore>, unchecked: &mut Vec<&'static str>) -> Option<u64> {
    let Some(store) = store else {
        unchecked.push("file_store");
        return None;
    };
    match store.count_in_folder(id).await {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(store = store.name(), %error, "the file store does not say what it has");
            unchecked.push("file_store");
            None
        }
    }
}
