//! What was used and what it costs, for operators.

use chrono::{Days, NaiveDate};
use cura_domain::UserId;
use cura_domain::price::Prices;
use cura_store::usage_sums::{self, UsageSum};
use cura_store::{Database, StoreError};
use serde::Serialize;

/// How many days are summed if nobody says since when: with the present one.
const DEFAULT_DAYS: u64 = 30;

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageBy {
    /// Each day, newest first.
    Day,
    /// Each model.
    Model,
    /// Those who have used most.
    User,
}

/// What a sum is of: one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageOf {
    /// A day, in UTC.
    Day(NaiveDate),
    /// A model.
    Model(String),
    /// A user.
    UserId(UserId),
}

/// A sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsedTokens {
    /// What it is of; absent of all together.
    #[serde(flatten)]
    pub of: Option<UsageOf>,
    /// The number of answers.
    pub messages: i64,
    /// Tokens of prompts.
    pub input_tokens: i64,
    /// Tokens of answers.
    pub output_tokens: i64,
    /// Both.
    pub total_tokens: i64,
    /// What they cost; `None` if that is not known of one of the models.
    pub cost: Option<f64>,
}

/// Sums, and since when.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UsageReport {
    /// The first day, in UTC.
    pub since: NaiveDate,
    /// The currency of the costs, if prices are set.
    pub currency: Option<String>,
    /// The sums.
    pub items: Vec<UsedTokens>,
    /// Always `None`: there is one page.
    pub next_cursor: Option<String>,
    /// Everything since that day, of those that are not listed, too. People who were erased are in no sum.
    pub total: UsedTokens,
}

impl UsedTokens {
    fn of(of: Option<UsageOf>) -> Self {
        Self {
            of,
            messages: 0,
            input_tokens: 0,
            output_tokens: 0,
            total_tokens: 0,
            cost: None,
        }
    }

    /// Adds the tokens of one model, and their cost, which is not known of the whole if it is not of one of them.
    fn add<K>(&mut self, sum: &UsageSum<K>, prices: Option<&Prices>) {
        let cost = prices.and_then(|prices| prices.cost(&sum.model, sum.input_tokens, sum.output_tokens));
        let is_first = self.messages == 0 && self.total_tokens == 0;
        self.cost = match (self.cost, cost) {
            (None, cost) if is_first => cost,
            (Some(sum), Some(cost)) => Some(((sum + cost) * 1e6).round() / 1e6),
            _ => None,
        };
        self.messages += sum.messages;
        self.input_tokens += sum.input_tokens;
        self.output_tokens += sum.output_tokens;
        self.total_tokens = self.input_tokens.saturating_add(self.output_tokens);
    }
}

/// What was used since a day, `today` if not said otherwise and the 29 days before: at most `top` sums.
///
/// # Errors
/// When Postgres fails; that there are too many rows to be summed in time is one of them.
pub async fn report(
    database: &Database,
    prices: Option<&Prices>,
    by: UsageBy,
    (since, today): (Option<NaiveDate>, NaiveDate),
    top: u32,
) -> Result<UsageReport, StoreError> {
    let since = since
        .or_else(|| today.checked_sub_days(Days::new(DEFAULT_DAYS - 1)))
        .unwrap_or(today);
    let limit = i64::from(top);
    let summed = database.connection(async |connection| {
        let all = usage_sums::by_model(connection, since).await?;
        let summed = match by {
            UsageBy::Day => named(usage_sums::by_day(connection, since, limit).await?, |sum| {
                UsageOf::Day(sum.of)
            }),
            UsageBy::Model => named(usage_sums::by_model(connection, since).await?, |sum| {
                UsageOf::Model(sum.model.clone())
            }),
            UsageBy::User => named(usage_sums::by_user(connection, since, limit).await?, |sum| {
                UsageOf::UserId(sum.of)
            }),
        };
        Ok::<_, StoreError>((all, summed))
    });
    let (all, summed): (_, Vec<(UsageOf, UsageSum<()>)>) = summed.await?;
    let mut total = UsedTokens::of(None);
    for sum in &all {
        total.add(sum, prices);
    }
    let mut items: Vec<UsedTokens> = Vec::new();
    for (of, sum) in &summed {
        if items.last().is_none_or(|last| last.of.as_ref() != Some(of)) {
            if items.len() == top as usize {
                break;
            }
            items.push(UsedTokens::of(Some(of.clone())));
        }
        if let Some(item) = items.last_mut() {
            item.add(sum, prices);
        }
    }
    Ok(UsageReport {
        since,
        currency: prices.map(|prices| prices.currency.clone()),
        items,
        next_cursor: None,
        total,
    })
}

fn named<K>(sums: Vec<UsageSum<K>>, of: impl Fn(&UsageSum<K>) -> UsageOf) -> Vec<(UsageOf, UsageSum<()>)> {
    let name = |sum: UsageSum<K>| {
        let named = of(&sum);
        let UsageSum {
            of: _,
            model,
            messages,
            input_tokens,
            output_tokens,
        } = sum;
        let sum = UsageSum {
            of: (),
            model,
            messages,
            input_tokens,
            output_tokens,
        };
        (named, sum)
    };
    sums.into_iter().map(name).collect()
}
