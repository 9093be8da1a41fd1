//! The unfinished jobs that work with one person's words, for operators.

use cura_domain::UserId;
use serde::Serialize;
use sqlx::{PgConnection, Row};

use crate::error::QueueError;

/// The unfinished jobs of one queue that work with a person's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobsOfUser {
    /// The queue.
    pub queue: String,
    /// Jobs that are running.
    pub running: i64,
    /// Jobs that are ready, or wait.
    pub pending: i64,
}

/// The unfinished jobs of any queue that work with the words of `user`. The index behind it has only unfinished ones.
pub async fn count_unfinished_of(conn: &mut PgConnection, user: UserId) -> Result<Vec<JobsOfUser>, QueueError> {
    let rows = sqlx::query(
        "SELECT job_type, count(*) FILTER (WHERE status = 'Running'), count(*) FILTER (WHERE status = 'Pending')
         FROM apalis.jobs WHERE metadata -> 'user' = $1 AND status IN ('Pending', 'Running')
         GROUP BY job_type ORDER BY job_type",
    )
    .bind(user.to_string())
    .fetch_all(conn)
    .await?;
    let jobs = rows.iter().map(|row| {
        Ok(JobsOfUser {
            queue: row.try_get(0)?,
            running: row.try_get(1)?,
            pending: row.try_get(2)?,
        })
    });
    jobs.collect()
}
