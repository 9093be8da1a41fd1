//! From what is kept of an answer to what happened, by time, with the gaps between.

use chrono::{DateTime, TimeDelta, Utc};
use cura_domain::price::Prices;
use cura_domain::push_log::{LoggedPush, LoggedSend};
use cura_queue::JobStatus;
use cura_store::answer_traces::{AnswerTrace, AttemptTrace, EventTrace};
use cura_store::expired;
use serde::Serialize;

use super::{ExplainedAnswer, ExplainedAttempt};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// When.
    pub at: DateTime<Utc>,
    /// The milliseconds since the step before.
    pub after_ms: i64,
    /// What, in one word.
    pub what: StepKind,
    /// The attempt that it belongs to.
    pub attempt: Option<i32>,
    /// More about it, in plain words.
    pub detail: Option<String>,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The question, the answer and its job were stored.
    Asked,
    /// No other answer of its person or conversation had to come first any more.
    TurnCame,
    /// An attempt began.
    AttemptBegan,
    /// The first text of an attempt came.
    FirstText,
    /// Its person wanted it to stop.
    CancelRequested,
    /// An attempt ended.
    AttemptEnded,
    /// The answer became final.
    Ended,
    /// An event was logged for the clients of its person.
    EventLogged,
    /// It was decided whether to push.
    PushDecided,
    /// A push was sent to a device.
    PushSent,
    /// Its person had read it.
    Read,
}

/// What is not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgotten {
    /// The id of the request: the answer is of a release before that was kept.
    Request,
    /// The job.
    Job,
    /// When attempts began and who made them: they are of a release before that was kept.
    Attempts,
    /// The events.
    Events,
    /// What was pushed.
    Pushes,
}

/// What is known of an answer.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) answer: AnswerTrace,
    pub(super) attempts: Vec<AttemptTrace>,
    pub(super) events: Vec<EventTrace>,
    pub(super) push: Option<LoggedPush>,
    pub(super) sends: Vec<LoggedSend>,
    pub(super) job: Option<JobStatus>,
}

impl Known {
    pub(super) fn explain(self, prices: Option<&Prices>, now: DateTime<Utc>) -> ExplainedAnswer {
        let (steps, forgotten) = (self.steps(), self.forgotten(now));
        let answer = self.answer;
        let asked_at = answer.asked_at;
        ExplainedAnswer {
            message_id: answer.id,
            question_id: answer.question,
            conversation_id: answer.conversation,
            user_id: answer.user,
            status: answer.status,
            finish_reason: answer.finish_reason,
            error_code: answer.error_code,
            request_id: answer.request_id,
            trace_id: answer.trace_id,
            is_read: answer.is_read,
            is_being_deleted: answer.is_being_deleted,
            job: self.job,
            attempts: self
                .attempts
                .into_iter()
                .map(|attempt| explained(attempt, asked_at, prices))
                .collect(),
            currency: prices.map(|prices| prices.currency.clone()),
            steps,
            forgotten,
        }
    }

    /// What happened, by time; what happened at the same moment in the order of [`StepKind`].
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut add = |at: DateTime<Utc>, what, attempt, detail: Option<String>| {
            steps.push(Step {
                at,
                after_ms: 0,
                what,
                attempt,
                detail,
            });
        };
        let answer = &self.answer;
        let request = answer.request_id.as_ref().map(|id| format!("request {id}"));
        add(answer.asked_at, StepKind::Asked, None, request);
        let first_began = self.attempts.iter().find_map(|attempt| attempt.began_at);
        if let Some(at) = answer.eligible_at.filter(|at| Some(*at) != first_began) {
            add(at, StepKind::TurnCame, None, None);
        }
        for attempt in &self.attempts {
            let number = Some(attempt.attempt);
            if let Some(at) = attempt.began_at {
                let worker = attempt.worker.as_ref().map(|worker| format!("worker {worker}"));
                // Where nothing was counted, nobody noted when it ended.
                let note = attempt.note.clone().filter(|_| attempt.counted.is_none());
                add(at, StepKind::AttemptBegan, number, join([worker, note]));
            }
            let Some(counted) = &attempt.counted else {
                continue;
            };
            if let Some(milliseconds) = counted.ttft_ms {
                add(
                    answer.asked_at + TimeDelta::milliseconds(milliseconds),
                    StepKind::FirstText,
                    number,
                    None,
                );
            }
            let ended = Some(format!("{} ({})", counted.outcome, counted.model.model));
            add(
                counted.ended_at,
                StepKind::AttemptEnded,
                number,
                join([ended, attempt.note.clone()]),
            );
        }
        if let Some(at) = answer.cancel_requested_at {
            add(at, StepKind::CancelRequested, None, None);
        }
        if let Some(at) = self.ended_at() {
            let how = answer.error_code.clone().or_else(|| answer.finish_reason.clone());
            add(at, StepKind::Ended, None, how);
        }
        for event in &self.events {
            let what = if event.kind == "read" {
                StepKind::Read
            } else {
                StepKind::EventLogged
            };
            add(
                event.at,
                what,
                None,
                Some(format!("{}, event {}", event.kind, event.seq)),
            );
        }
        if let Some(push) = &self.push {
            add(
                push.decided_at,
                StepKind::PushDecided,
                None,
                Some(push.decision.as_str().to_owned()),
            );
        }
        for send in &self.sends {
            let outcome = send.outcome.map_or("not known", |outcome| outcome.as_str());
            let detail = format!("device {}: {outcome}", send.device_id);
            add(
                send.claimed_at,
                StepKind::PushSent,
                None,
                join([Some(detail), send.code.clone()]),
            );
        }
        // The attempt before ends at the moment at which the next one takes over.
        steps.sort_by_key(|step| {
            (
                step.at,
                step.attempt.unwrap_or(place_without_attempt(step.what)),
                step.what,
            )
        });
        let mut before = answer.asked_at;
        for step in &mut steps {
            step.after_ms = (step.at - before).num_milliseconds();
            before = step.at;
        }
        steps
    }

    /// When the answer became final. Its row has the milliseconds only: the attempt and the event of that end are exact.
    fn ended_at(&self) -> Option<DateTime<Utc>> {
        let at = self.answer.ended_at?;
        let attempts = self.attempts.iter().filter_map(|attempt| attempt.counted.as_ref());
        let events = self.events.iter().filter(|event| event.kind == "ended");
        let mut moments = attempts
            .map(|counted| counted.ended_at)
            .chain(events.map(|event| event.at));
        let is_same = |moment: &DateTime<Utc>| (*moment - at).abs() <= TimeDelta::milliseconds(1);
        Some(moments.rfind(is_same).unwrap_or(at))
    }

    /// What may have happened and cannot be told, because it is not kept for so long.
    fn forgotten(&self, now: DateTime<Utc>) -> Vec<Forgotten> {
        let answer = &self.answer;
        // Of the first ones: what was retried may have a life before.
        let age = now - answer.asked_at;
        let candidates = [
            (Forgotten::Request, answer.request_id.is_none()),
            (Forgotten::Job, self.job.is_none()),
            (
                Forgotten::Attempts,
                self.attempts.iter().any(|attempt| attempt.began_at.is_none()),
            ),
            (Forgotten::Events, age >= expired::EVENTS),
            (Forgotten::Pushes, age >= expired::PUSHES && self.push.is_none()),
        ];
        let forgotten = candidates.into_iter().filter(|(_, is_forgotten)| *is_forgotten);
        forgotten.map(|(what, _)| what).collect()
    }
}

/// Where a step of no attempt stands among those of attempts at the same moment.
fn place_without_attempt(what: StepKind) -> i32 {
    if what < StepKind::AttemptBegan { 0 } else { i32::MAX }
}

fn explained(attempt: AttemptTrace, asked_at: DateTime<Utc>, prices: Option<&Prices>) -> ExplainedAttempt {
    let counted = attempt.counted;
    let of = counted.as_ref();
    ExplainedAttempt {
        attempt: attempt.attempt,
        worker: attempt.worker,
        began_at: attempt.began_at,
        first_text_at: of
            .and_then(|counted| counted.ttft_ms)
            .map(|milliseconds| asked_at + TimeDelta::milliseconds(milliseconds)),
        ended_at: of.map(|counted| counted.ended_at),
        outcome: of.map(|counted| counted.outcome.clone()),
        provider: of.map(|counted| counted.model.provider.to_string()),
        model: of.map(|counted| counted.model.model.to_string()),
        input_tokens: of.map(|counted| counted.input_tokens),
        output_tokens: of.map(|counted| counted.output_tokens),
        estimated: of.map(|counted| counted.estimated),
        cost: of.zip(prices).and_then(|(counted, prices)| {
            prices.cost(&counted.model.model, counted.input_tokens, counted.output_tokens)
        }),
        note: attempt.note,
    }
}

fn join(parts: [Option<String>; 2]) -> Option<String> {
    let said: Vec<String> = parts.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(": "))
}
