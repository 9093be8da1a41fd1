//! Making accounts, and changing what they may do. Each act may be repeated: what is so already stays, and nothing is said to have changed.

use std::collections::HashSet;
use std::time::Duration;

use cura_answers::{CancelMode, CancelOutcome};
use cura_domain::UserId;
use cura_domain::account::{Email, Name, NewPassword};
use cura_store::{sessions, users};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Act, NamedUser, OperateUsersError, Users, lock, lock_living};
use crate::passwords::Passwords;
use crate::sessions::PAGE_DEVICE_NAME;

/// Until when a request that a server has let in before a suspension may have asked for another answer: servers know of the suspension
/// within two seconds.
const LET_IN_BEFORE: Duration = Duration::from_secs(2);

/// A user who is to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Their address.
    pub email: Email,
    /// Their password.
    pub password: NewPassword,
    /// Their name.
    pub name: Option<Name>,
    /// Whether they are an admin from the beginning.
    pub is_admin: bool,
}

/// What was done to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Whose it is.
    pub id: UserId,
    /// Whether it was not so before.
    pub changed: bool,
}

/// What a suspension did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Suspended {
    /// Whose account it is.
    pub id: UserId,
    /// Whether it was not suspended before.
    pub changed: bool,
    /// How many unfinished answers were cancelled.
    pub answers_cancelled: usize,
}

/// What signing out did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SignedOut {
    /// Who it is.
    pub id: UserId,
    /// How many sessions have ended.
    pub sessions_ended: u64,
}

impl Users {
    /// Makes an account by the rules of registering, also while nobody can register.
    ///
    /// # Errors
    /// [`OperateUsersError::EmailTaken`].
    pub async fn create(&self, new: &NewUser, passwords: &Passwords) -> Result<UserId, OperateUsersError> {
        let hash = passwords.hash(new.password.expose()).await?;
        let now = self.acts.now();
        let act = Act::new("users.create").with("admin", new.is_admin);
        let created = self.acts.transaction(act, async |connection, act| {
            let name = new.name.as_ref().map(Name::as_str);
            let user = users::insert(connection, new.email.as_str(), &hash, name, None, now).await?;
            let id = user.ok_or(OperateUsersError::EmailTaken)?.id;
            act.set_target(id);
            if new.is_admin {
                users::set_admin(connection, id, true, now).await?;
            }
            Ok(id)
        });
        created.await
    }

    /// Suspends an account: its user cannot sign in or go on, open streams end within two seconds, its devices are forgotten, links to its
    /// files lead nowhere, and its unfinished answers are cancelled as the user could. Other jobs of the user's end by themselves. If it
    /// is interrupted behind the suspension, it can be repeated for the answers.
    ///
    /// # Errors
    /// [`OperateUsersError`]
    pub async fn suspend(&self, user: &NamedUser, reason: &str) -> Result<Suspended, OperateUsersError> {
        let now = self.acts.now();
        let act = Act::new("users.suspend").with("reason", reason);
        let suspended = self.acts.transaction(act, async |connection, act| {
            let (id, account) = lock_living(connection, act, user).await?;
            if !account.is_suspended {
                users::set_suspended(connection, id, Some(now), now).await?;
            }
            Ok::<_, OperateUsersError>((id, !account.is_suspended))
        });
        let (id, changed) = suspended.await?;
        Ok(Suspended {
            id,
            changed,
            answers_cancelled: self.cancel_answers(id).await?,
        })
    }

    /// Cancels the unfinished answers of a user who cannot ask for others, but for requests that were let in before.
    async fn cancel_answers(&self, user: UserId) -> Result<usize, OperateUsersError> {
        let until = Instant::now() + LET_IN_BEFORE;
        let mut cancelled = HashSet::new();
        loop {
            let is_last_look = Instant::now() >= until;
            let unfinished = self
                .acts
                .database()
                .connection(async |connection| users::list_known_answers(connection, user).await);
            for answer in unfinished.await? {
                let (conversation, id) = (answer.conversation_id, answer.message_id);
                let outcome = self.answers.cancel(user, conversation, id, CancelMode::Signal).await?;
                if let Some(CancelOutcome::Ended | CancelOutcome::Signalled) = outcome {
                    cancelled.insert(id);
                }
            }
            if is_last_look {
                return Ok(cancelled.len());
            }
            sleep(until.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Ends a suspension. Sessions that have not expired go on; devices register again when their apps are opened.
    ///
    /// # Errors
    /// [`OperateUsersError`]
    pub async fn restore(&self, user: &NamedUser) -> Result<Changed, OperateUsersError> {
        let now = self.acts.now();
        let restored = self
            .acts
            .transaction(Act::new("users.restore"), async |connection, act| {
                let (id, account) = lock_living(connection, act, user).await?;
                if account.is_suspended {
                    users::set_suspended(connection, id, None, now).await?;
                }
                let changed = account.is_suspended;
                Ok(Changed { id, changed })
            });
        restored.await
    }

    /// Sets a password and ends every session: open streams end within two seconds.
    ///
    /// # Errors
    /// [`OperateUsersError`]
    pub async fn set_password(
        &self,
        user: &NamedUser,
        password: &NewPassword,
        passwords: &Passwords,
    ) -> Result<SignedOut, OperateUsersError> {
        let hash = passwords.hash(password.expose()).await?;
        let now = self.acts.now();
        let act = Act::new("users.set-password");
        let set = self.acts.transaction(act, async |connection, act| {
            let (id, _) = lock_living(connection, act, user).await?;
            users::set_password_hash(connection, id, &hash, now).await?;
            let sessions_ended = sessions::end_all(connection, id, None, now).await?;
            Ok(SignedOut { id, sessions_ended })
        });
        set.await
    }

    /// Ends every session of a user: open streams end within two seconds.
    ///
    /// # Errors
    /// [`OperateUsersError`]
    pub async fn sign_out(&self, user: &NamedUser) -> Result<SignedOut, OperateUsersError> {
        let now = self.acts.now();
        let act = Act::new("users.sign-out");
        let signed_out = self.acts.transaction(act, async |connection, act| {
            let (id, _) = lock_living(connection, act, user).await?;
            let sessions_ended = sessions::end_all(connection, id, None, now).await?;
            Ok(SignedOut { id, sessions_ended })
        });
        signed_out.await
    }

    /// Makes a user an admin.
    ///
    /// # Errors
    /// [`OperateUsersError`]
    pub async fn promote(&self, user: &NamedUser) -> Result<Changed, OperateUsersError> {
        let now = self.acts.now();
        let promoted = self
            .acts
            .transaction(Act::new("users.promote"), async |connection, act| {
                let (id, account) = lock_living(connection, act, user).await?;
                if !account.is_admin {
                    users::set_admin(connection, id, true, now).await?;
                }
                let changed = !account.is_admin;
                Ok(Changed { id, changed })
            });
        promoted.await
    }

    /// Ends that a user is an admin, unless no other admin could sign in then.
    ///
    /// # Errors
    /// [`OperateUsersError::LastAdmin`]
    pub async fn demote(&self, user: &NamedUser) -> Result<Changed, OperateUsersError> {
        let now = self.acts.now();
        let demoted = self
            .acts
            .transaction(Act::new("users.demote"), async |connection, act| {
                // All of them, so that of two who are demoted at the same time one stays.
                let admins = users::lock_admins(connection).await?;
                let (id, account) = lock(connection, act, user).await?;
                let changed = account.is_admin && !account.is_being_erased;
                if changed {
                    if admins.iter().all(|admin| *admin == id) {
                        return Err(OperateUsersError::LastAdmin(id));
                    }
                    users::set_admin(connection, id, false, now).await?;
                    // Or their cookies would be worth something again, should they be made an admin again.
                    sessions::end_named(connection, id, PAGE_DEVICE_NAME, now).await?;
                }
                Ok(Changed { id, changed })
            });
        demoted.await
    }
}
