//! Tickets: each authenticates its session once. What is stored is deleted when it is used.

use chrono::{DateTime, Utc};
use cura_domain::{SessionId, UserId};
use sqlx::PgConnection;

use crate::StoreError;

/// SHA-256 of a ticket.
pub type TicketHash = [u8; 32];

/// Stores a ticket, and deletes the session's oldest ones beyond `keep`.
pub async fn insert_ticket(
    conn: &mut PgConnection,
    ticket: &TicketHash,
    user: UserId,
    session: SessionId,
    expires_at: DateTime<Utc>,
    keep: i64,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO tickets (ticket_hash, user_id, session_id, expires_at) VALUES ($1, $2, $3, $4)",
        ticket.as_slice(),
        user.0,
        session.0,
        expires_at,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"DELETE FROM tickets WHERE ticket_hash IN (
               SELECT ticket_hash FROM tickets WHERE session_id = $1 ORDER BY expires_at DESC OFFSET $2
               FOR UPDATE SKIP LOCKED)"#,
        session.0,
        keep,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a ticket; `false` when it was redeemed before, has expired, or never existed.
pub async fn redeem_ticket(
    conn: &mut PgConnection,
    ticket: &TicketHash,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "DELETE FROM tickets WHERE ticket_hash = $1 AND expires_at > $2",
        ticket.as_slice(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes the unused tickets of a session.
pub async fn delete_of_session(conn: &mut PgConnection, session: SessionId) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM tickets WHERE session_id = $1", session.0)
        .execute(conn)
        .await?;
    Ok(())
}
