//! Usage: the tokens of a user's answers, and of titles and summaries, summed by day and model.

use chrono::NaiveDate;
use serde::Serialize;

/// The usage of one model on one day.
#[derive(Debug, Clone)]
pub struct UsageDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The model.
    pub model: String,
    /// The number of answers.
    pub messages: i32,
    /// Tokens of the prompts.
    pub input_tokens: i64,
    /// Tokens of the answers.
    pub output_tokens: i64,
}

/// The usage of some days, of all models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct UsageSum {
    /// The number of answers.
    pub messages: i64,
    /// Tokens of the prompts.
    pub input_tokens: i64,
    /// Tokens of the answers.
    pub output_tokens: i64,
}

impl UsageSum {
    /// The sum over these days.
    pub fn of<'a>(days: impl IntoIterator<Item = &'a UsageDay>) -> Self {
        days.into_iter().fold(Self::default(), |sum, day| Self {
            messages: sum.messages + i64::from(day.messages),
            input_tokens: sum.input_tokens + day.input_tokens,
            output_tokens: sum.output_tokens + day.output_tokens,
        })
    }
}
