//! Usage: what a user's answers cost, summed by day and model.

use chrono::NaiveDate;

/// What one model answered on one day.
#[derive(Debug, Clone)]
pub struct UsageDay {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// The model.
    pub model: String,
    /// How many answers.
    pub messages: i32,
    /// Tokens of the prompts.
    pub input_tokens: i64,
    /// Tokens of the answers.
    pub output_tokens: i64,
}
