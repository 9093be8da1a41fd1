//! `cura-admin usage`: tokens and what they cost.

use std::process::ExitCode;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use cura_app::operate::usage::{self, UsageBy, UsageOf, UsageReport, UsedTokens};

use super::failure::{Exit, Failure};
use super::operating::{self, Operating};
use super::output::GlobalArguments;
use super::text::table;

/// What is summed, and of which days.
#[derive(Debug, Args)]
pub struct Usage {
    /// What to sum.
    #[arg(long, value_enum, default_value_t = By::Day)]
    by: By,
    /// How many days, models or users to print: the newest days; of models and users those that have used most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    top: u32,
    /// The first day to count, in UTC. Default: 29 days ago.
    #[arg(long, value_name = "DAY")]
    since: Option<NaiveDate>,
    /// Write comma-separated values.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// What is summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Days.
    Day,
    /// Models.
    Model,
    /// Users.
    User,
}

impl By {
    const fn column(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Model => "model",
            Self::User => "user_id",
        }
    }
}

/// Runs the command; gives the exit code.
pub fn start(command: Usage, global: GlobalArguments) -> ExitCode {
    operating::with_database(global, async |operating| run(command, operating).await)
}

async fn run(command: Usage, operating: Operating) -> Result<(), Failure> {
    let by = match command.by {
        By::Day => UsageBy::Day,
        By::Model => UsageBy::Model,
        By::User => UsageBy::User,
    };
    let today = operating.acts.now().date_naive();
    let prices = operating.settings.ai.prices.as_ref();
    let days = (command.since, today);
    let report = usage::report(&operating.database, prices, by, days, command.top).await?;
    if command.csv {
        let text = csv_text(command.by, &report)?;
        return operating.output.value(&report, |_| text);
    }
    operating.output.value(&report, |report| text(command.by, report))
}

fn text(by: By, report: &UsageReport) -> String {
    let cost_head = report
        .currency
        .as_deref()
        .map_or_else(|| "COST".to_owned(), |currency| format!("COST {currency}"));
    let mut rows: Vec<[String; 6]> = report.items.iter().map(|item| row(item, "all")).collect();
    rows.push(row(&report.total, "all"));
    let head = by.column().to_uppercase().replace("_ID", "");
    let heads = [
        head.as_str(),
        "ANSWERS",
        "INPUT",
        "OUTPUT",
        "TOKENS",
        cost_head.as_str(),
    ];
    format!(
        "since {}, by tokens of providers\n\n{}",
        report.since,
        table(heads, &rows)
    )
}

fn csv_text(by: By, report: &UsageReport) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let currency = report.currency.as_deref().unwrap_or_default();
    let head = [
        by.column(),
        "messages",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cost",
        "currency",
    ];
    let failed = |error: String| Failure::new(Exit::Failed, "failed", error);
    writer.write_record(head).map_err(|error| failed(error.to_string()))?;
    for item in &report.items {
        let [of, messages, input, output, total, _] = row(item, "");
        let cost = item.cost.map(|cost| cost.to_string()).unwrap_or_default();
        let record = [&of, &messages, &input, &output, &total, &cost, currency];
        writer.write_record(record).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn row(item: &UsedTokens, all: &str) -> [String; 6] {
    let of = match &item.of {
        Some(UsageOf::Day(day)) => day.to_string(),
        Some(UsageOf::Model(model)) => model.clone(),
        Some(UsageOf::UserId(user)) => user.to_string(),
        None => all.to_owned(),
    };
    [
        of,
        item.messages.to_string(),
        item.input_tokens.to_string(),
        item.output_tokens.to_string(),
        item.total_tokens.to_string(),
        item.cost.map_or_else(|| "–".to_owned(), |cost| format!("{cost:.4}")),
    ]
}
