//! `/users/me/usage`: the tokens that the caller has used.

use chrono::NaiveDate;
use cura_app::App;
use cura_app::profile::UsageDay;
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::http::caller::SignedIn;
use crate::http::problem::Problem;
use crate::routes::tag::Tag;

pub(crate) struct UsageApi;

/// Answers and their tokens.
#[derive(Object, Default)]
struct UsageTotal {
    /// The number of answers.
    messages: i64,
    /// The tokens that models were given.
    input_tokens: i64,
    /// The tokens that models wrote, thoughts included.
    output_tokens: i64,
    /// The sum of both.
    total_tokens: i64,
}

/// The usage of one model on one day.
#[derive(Object)]
#[oai(rename = "UsageDay")]
struct UsageDayView {
    /// The day, in UTC.
    day: NaiveDate,
    /// The model, as the provider names it.
    model: String,
    /// The number of answers.
    messages: i64,
    /// The tokens that the model was given.
    input_tokens: i64,
    /// The tokens that the model wrote, thoughts included.
    output_tokens: i64,
    /// The sum of both.
    total_tokens: i64,
}

/// The caller's usage.
#[derive(Object)]
struct UsageReport {
    /// By day and model, the newest day first.
    items: Vec<UsageDayView>,
    /// The sum of all items.
    total: UsageTotal,
}

#[OpenApi(prefix_path = "/users", tag = "Tag::Accounts")]
impl UsageApi {
    /// Get my usage by day and model
    ///
    /// The answers and tokens of the last days, today included, in UTC: one item for each day and model with any, the newest day first,
    /// and their sum. Costs one request of the default limit.
    #[oai(path = "/me/usage", method = "get", operation_id = "getUsage")]
    async fn usage(
        &self,
        caller: SignedIn,
        app: Data<&App>,
        /// The number of days, today included; default 30.
        #[oai(validator(minimum(value = "1"), maximum(value = "366")))]
        days: Query<Option<i64>>,
    ) -> Result<Json<UsageReport>, Problem> {
        let days = days.0.and_then(|days| u32::try_from(days).ok()).unwrap_or(30);
        let used = app.profile.usage(caller.0, days).await?;
        Ok(Json(UsageReport::of(used)))
    }
}

impl UsageReport {
    fn of(used: Vec<UsageDay>) -> Self {
        let mut total = UsageTotal::default();
        let view = |day: UsageDay| {
            let view = UsageDayView {
                day: day.day,
                model: day.model,
                messages: day.messages.into(),
                input_tokens: day.input_tokens,
                output_tokens: day.output_tokens,
                total_tokens: day.input_tokens.saturating_add(day.output_tokens),
            };
            total.messages += view.messages;
            total.input_tokens += view.input_tokens;
            total.output_tokens += view.output_tokens;
            total.total_tokens += view.total_tokens;
            view
        };
        let items = used.into_iter().map(view).collect();
        Self { items, total }
    }
}
