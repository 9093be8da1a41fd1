//! Erasing an account for an operator: the erasure that people begin themselves, and how far it is.

use cura_domain::UserId;
use cura_queue::{EnqueueOptions, EraseUser, Job as _, JobState, JobStatus};
use cura_store::personal_data::{TABLES, Table};
use cura_store::{StoreError, object_deletions, users};
use serde::Serialize;

use super::{Act, NamedUser, OperateUsersError, Users, lock};
use crate::erasure;

/// How far an erasure is.
#[derive(Debug, Clone, Serialize)]
pub struct ErasureProgress {
    /// Whether nothing is left in Postgres and nothing is to be deleted from the file store.
    pub is_over: bool,
    /// Rows that are left; `None` if they could not be counted in time.
    pub rows_left: Option<i64>,
    /// Objects that are still to be deleted from the file store.
    pub objects_left: i64,
    /// The job that does it; `None` if another one does.
    pub job: Option<JobStatus>,
}

impl ErasureProgress {
    /// Whether no job goes on with it, though it is not over.
    pub fn is_stuck(&self) -> bool {
        let state = self.job.as_ref().map(|job| job.state);
        !self.is_over && matches!(state, Some(JobState::Dead | JobState::Cancelled))
    }
}

/// An erasure that has begun.
pub struct Erasure {
    users: Users,
    user: UserId,
    /// Those that may have rows left.
    tables: Vec<&'static Table>,
}

impl Erasure {
    /// Whose data is erased.
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// Looks how far it is.
    ///
    /// # Errors
    /// When Postgres fails; the erasure goes on without us.
    pub async fn look(&mut self) -> Result<ErasureProgress, StoreError> {
        let (database, user) = (self.users.acts.database(), self.user);
        let key = erasure::job(user).key();
        let seen = database.connection(async |connection| {
            Ok::<_, StoreError>((
                users::exists(connection, user).await?,
                object_deletions::count_of(connection, user).await?,
                cura_queue::find_job::<EraseUser>(connection, &key).await?,
            ))
        });
        let (exists, objects_left, job) = seen.await?;
        let mut rows_left = Some(0);
        for table in std::mem::take(&mut self.tables) {
            match database
                .connection(async |connection| table.count(connection, user).await)
                .await
            {
                // Tables are emptied one after the other; what is written meanwhile is the job's concern.
                Ok(0) => {}
                Ok(rows) => {
                    self.tables.push(table);
                    rows_left = rows_left.map(|left| left + rows);
                }
                Err(StoreError::TookTooLong) => {
                    self.tables.push(table);
                    rows_left = None;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ErasureProgress {
            is_over: !exists,
            rows_left,
            objects_left,
            job,
        })
    }
}

impl Users {
    /// Begins to erase an account, as its user can: it is gone for everybody at once, and a job removes what is left. One that is being
    /// erased already gets its job again, if that was discarded.
    ///
    /// # Errors
    /// [`OperateUsersError::NotFound`], also when nothing is left of the user.
    pub async fn delete(&self, user: &NamedUser) -> Result<Erasure, OperateUsersError> {
        let now = self.acts.now();
        let begun = self
            .acts
            .transaction(Act::new("users.delete"), async |connection, act| {
                let (id, account) = lock(connection, act, user).await?;
                if account.is_being_erased {
                    act.note("was_being_erased", true);
                    let job = erasure::job(id);
                    let renewed = cura_queue::enqueue_or_renew(connection, &job, EnqueueOptions::default()).await;
                    renewed.map_err(StoreError::from)?;
                    return Ok((id, Vec::new()));
                }
                let running = erasure::begin(connection, id, now).await?;
                Ok::<_, OperateUsersError>((id, running))
            });
        let (id, running) = begun.await?;
        if let Some(live) = &self.live {
            live.publish_deleted(&running).await;
        }
        Ok(Erasure {
            users: self.clone(),
            user: id,
            tables: TABLES.iter().collect(),
        })
    }
}
