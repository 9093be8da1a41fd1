//! Usage: the tokens of a user's answers, and of titles and summaries, summed by day and model.

use chrono::NaiveDate;

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
