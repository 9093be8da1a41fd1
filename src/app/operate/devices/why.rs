//! Why a phone rang for a message, or stayed silent: from what is known of it to a word and plain sentences.

use chrono::{DateTime, Utc};
use cura_domain::MessageId;
use cura_domain::message::MessageStatus;
use cura_domain::push_log::{LoggedPush, LoggedSend, PushDecision, SendOutcome};
use cura_queue::{JobState, JobStatus};
use cura_store::expired;
use cura_store::pushes::EndedMessage;
use serde::Serialize;

/// What there is to say of a message.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// The message.
    pub message_id: MessageId,
    /// What became of its push, in one word.
    pub verdict: Verdict,
    /// The same in plain sentences.
    pub explanation: String,
    /// What was decided.
    pub push: Option<LoggedPush>,
    /// What came of it, by device.
    pub sends: Vec<LoggedSend>,
    /// The job that decides it.
    pub job: Option<JobStatus>,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Verdict {
    /// The log says what was decided.
    Decided(PushDecision),
    /// The log says nothing.
    Undecided(Undecided),
}

/// Why nothing was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undecided {
    /// Only answers are pushed.
    NotAnAnswer,
    /// It has not ended.
    StillWritten,
    /// Its person stopped it.
    Cancelled,
    /// Its conversation or person is deleted.
    Deleted,
    /// Its job waits.
    Waiting,
    /// Its job is ready, and no worker has claimed it.
    Ready,
    /// Its job runs.
    Running,
    /// Its job died.
    Died,
    /// Its job was cancelled.
    JobCancelled,
    /// Its job is done, and left no word.
    DoneWithoutWord,
    /// It ended before there was a log.
    BeforeLog,
    /// The log forgets what is older than a month.
    Forgotten,
    /// No push service was set.
    PushOff,
    /// There was no device.
    NoDevice,
}

/// What is known of a message.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) message: Option<EndedMessage>,
    pub(super) push: Option<LoggedPush>,
    pub(super) sends: Vec<LoggedSend>,
    pub(super) job: Option<JobStatus>,
    pub(super) log_began_at: Option<DateTime<Utc>>,
    pub(super) push_is_off: bool,
}

impl Known {
    /// `None` when the message is not known at all.
    pub(super) fn explain(self, message: MessageId, now: DateTime<Utc>) -> Option<Explanation> {
        let (verdict, mut explanation) = match (&self.push, &self.message) {
            (Some(push), _) => (Verdict::Decided(push.decision), self.decided(push, now)),
            (None, Some(ended)) => {
                let (undecided, explanation) = self.undecided(ended, now);
                (Verdict::Undecided(undecided), explanation)
            }
            (None, None) => return None,
        };
        if self.message.is_none() {
            explanation.push_str(" The message has been deleted since.");
        }
        Some(Explanation {
            message_id: message,
            verdict,
            explanation,
            push: self.push,
            sends: self.sends,
            job: self.job,
        })
    }

    fn decided(&self, push: &LoggedPush, now: DateTime<Utc>) -> String {
        let at = time(push.decided_at);
        let silent = |why: &str| format!("Silent: {why} (decided {at}).");
        match push.decision {
            PushDecision::Pushed => self.pushed(push),
            PushDecision::Watched => {
                silent("a client of the person was watching, or was closed in order after the end")
            }
            PushDecision::Read => silent("the person had read it, or had written on in the conversation"),
            PushDecision::Muted => silent("the conversation is muted"),
            PushDecision::Off => silent("the person has turned pushes off"),
            PushDecision::Quiet => self.quiet(push, now),
            PushDecision::Superseded => {
                silent("a newer answer of the same conversation had ended when the quiet hours were over")
            }
            PushDecision::Expired => silent("it could not be pushed within an hour, and then it was too late"),
            PushDecision::NoDevice => {
                silent("the person had no active device with a valid session whose push service is set here")
            }
            PushDecision::Gone => silent("the answer was cancelled or deleted before it was pushed"),
        }
    }

    fn pushed(&self, push: &LoggedPush) -> String {
        let at = time(push.decided_at);
        let (took, all) = (count(&self.sends, Some(SendOutcome::Sent)), self.sends.len());
        let devices = if all == 1 { "device" } else { "devices" };
        let mut text = if all == 0 {
            format!("Pushed {at}, but nothing has been sent.")
        } else if took > 0 {
            format!("It rang: pushed {at}, and the push services took it for {took} of {all} {devices}.")
        } else {
            format!(
                "Silent, as far as is known: pushed {at}, but the push services took it for none of {all} {devices}."
            )
        };
        let others = [
            (
                Some(SendOutcome::Retry),
                "to be sent again: its push service asked to wait",
            ),
            (Some(SendOutcome::Gone), "called gone by its push service, and removed"),
            (
                Some(SendOutcome::Inactive),
                "registered for another sender, and inactive since",
            ),
            (
                Some(SendOutcome::Kept),
                "not reached, for a reason in our settings or credentials",
            ),
            (
                Some(SendOutcome::Failed),
                "not reached: its push service refused what we sent as wrong",
            ),
            (
                None,
                "being sent to, or sent to by a worker that died: it may have rung",
            ),
        ];
        for (outcome, words) in others {
            let devices = count(&self.sends, outcome);
            if devices > 0 {
                text.push_str(&format!(" {devices} {words}."));
            }
        }
        match self.job.as_ref().map(|job| (job.state, job)) {
            Some((JobState::Waiting | JobState::Ready, job)) => {
                text.push_str(&format!(" The job goes on {}{}.", time(job.run_at), because(job)));
            }
            Some((JobState::Dead, job)) => text.push_str(&format!(" The job died{}.", because(job))),
            Some((JobState::Cancelled, _)) => text.push_str(" The job was cancelled."),
            _ if all == 0 => text.push_str(" Every device had left, or its session had ended, right before the send."),
            _ => {}
        }
        if let Some(dismissed) = push.dismissed_at {
            text.push_str(&format!(
                " It was read later, and taken away from the devices {}.",
                time(dismissed)
            ));
        }
        text
    }

    fn quiet(&self, push: &LoggedPush, now: DateTime<Utc>) -> String {
        let until = push.quiet_until.map_or_else(|| "their end".to_owned(), time);
        let job = self.job.as_ref();
        match job.map(|job| job.state) {
            Some(JobState::Dead) => format!(
                "Silent: it waited for the end of the person's quiet hours until {until}, and its job died{}.",
                job.map(because).unwrap_or_default()
            ),
            Some(JobState::Cancelled) => {
                format!(
                    "Silent: it waited for the end of the person's quiet hours until {until}, and its job was \
                     cancelled."
                )
            }
            None | Some(JobState::Done) => {
                format!("Silent: it waited for the end of the person's quiet hours until {until}, and its job is gone.")
            }
            Some(_) if push.quiet_until.is_some_and(|end| end <= now) => {
                format!("Silent so far: the person's quiet hours ended {until}, and its job is about to look again.")
            }
            Some(_) => format!("Silent so far: it waits for the end of the person's quiet hours, until {until}."),
        }
    }

    fn undecided(&self, ended: &EndedMessage, now: DateTime<Utc>) -> (Undecided, String) {
        if !ended.is_answer {
            return (
                Undecided::NotAnAnswer,
                "Silent: it is not an answer, and only answers are pushed.".to_owned(),
            );
        }
        if ended.status == MessageStatus::Sending {
            let text = "Silent so far: the answer is still being written, or waits for its turn.";
            return (Undecided::StillWritten, text.to_owned());
        }
        let at = time(ended.ended_at);
        if ended.is_cancelled {
            let text = format!("Silent: the person cancelled the answer {at}, and cancelled answers are not pushed.");
            return (Undecided::Cancelled, text);
        }
        if ended.is_deleted {
            let text = "Silent: the conversation, or the account, was deleted before anything was pushed.";
            return (Undecided::Deleted, text.to_owned());
        }
        match &self.job {
            Some(job) => of_job(job),
            None => self.without_job(ended, now),
        }
    }

    /// Of an answer whose end enqueued no job, or whose job is forgotten.
    fn without_job(&self, ended: &EndedMessage, now: DateTime<Utc>) -> (Undecided, String) {
        let at = time(ended.ended_at);
        if self.log_began_at.is_none_or(|began| ended.ended_at < began) {
            let text =
                format!("Silent: the answer ended {at}, before this release, which pushes answers, was installed.");
            return (Undecided::BeforeLog, text);
        }
        if now - ended.ended_at > expired::PUSHES {
            let days = expired::PUSHES.num_days();
            let text = format!("Not known: the answer ended {at}, and the log of pushes is kept for {days} days.");
            return (Undecided::Forgotten, text);
        }
        if ended.had_device {
            let text = format!(
                "Silent: the person had a device when the answer ended {at}, but its end enqueued no push: no push \
                 service was set for the process that ended it (FIREBASE_CREDENTIALS_PATH, VAPID_PRIVATE_KEY), or that \
                 was of the last release."
            );
            return (Undecided::PushOff, text);
        }
        if self.push_is_off {
            let text = "Silent: push is off, neither FIREBASE_CREDENTIALS_PATH nor VAPID_PRIVATE_KEY is set.";
            return (Undecided::PushOff, text.to_owned());
        }
        let text = format!("Silent: no active device of the person is known from when the answer ended {at}.");
        (Undecided::NoDevice, text)
    }
}

/// Of a job that left no word in the log.
fn of_job(job: &JobStatus) -> (Undecided, String) {
    let at = time(job.run_at);
    match job.state {
        JobState::Waiting if job.reason.is_none() => {
            let text = format!("Silent so far: its job looks {at} whether somebody watches.");
            (Undecided::Waiting, text)
        }
        JobState::Waiting => (
            Undecided::Waiting,
            format!("Silent so far: its job waits until {at}{}.", because(job)),
        ),
        JobState::Ready => {
            let text = format!("Silent so far: its job is ready since {at}, and no worker has claimed it.");
            (Undecided::Ready, text)
        }
        JobState::Running => (
            Undecided::Running,
            "Silent so far: its job runs at this moment.".to_owned(),
        ),
        JobState::Dead => (
            Undecided::Died,
            format!(
                "Silent: its job died after {} of {} attempts{}.",
                job.attempts,
                job.max_attempts,
                because(job)
            ),
        ),
        JobState::Cancelled => {
            let text = "Silent: its job was cancelled, as jobs are whose conversation is deleted.";
            (Undecided::JobCancelled, text.to_owned())
        }
        JobState::Done => {
            let text = "Not known: its job is done, but the log does not say what was decided.";
            (Undecided::DoneWithoutWord, text.to_owned())
        }
    }
}

fn count(sends: &[LoggedSend], outcome: Option<SendOutcome>) -> usize {
    sends.iter().filter(|send| send.outcome == outcome).count()
}

fn because(job: &JobStatus) -> String {
    job.reason
        .as_ref()
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

/// As operators read it in logs.
fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
