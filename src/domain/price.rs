//! What tokens cost, as an operator has set it.

use std::collections::HashMap;
use std::str::FromStr;

use serde::Deserialize;

/// The longest name of a currency, in characters.
const MAX_CURRENCY_CHARS: usize = 8;

/// What a million tokens of one model cost.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// Of prompts.
    pub input: f64,
    /// Of answers.
    pub output: f64,
}

/// The prices of models, in one currency.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prices {
    /// The currency.
    pub currency: String,
    #[serde(flatten)]
    models: HashMap<String, ModelPrice>,
}

impl Prices {
    /// What these tokens of a model cost, rounded to a millionth; `None` if its price is not known.
    pub fn cost(&self, model: &str, input_tokens: i64, output_tokens: i64) -> Option<f64> {
        let price = self.models.get(model)?;
        // Exact up to 2^53 tokens.
        let of = |tokens: i64, price: f64| tokens as f64 * price;
        let millionths = of(input_tokens, price.input) + of(output_tokens, price.output);
        Some(millionths.round() / 1e6)
    }
}

impl FromStr for Prices {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "it is JSON such as {\"currency\": \"USD\", \"gpt-4o-mini\": {\"input\": 0.15, \"output\": 0.6}}, \
                             for a million tokens";
        let prices: Self = serde_json::from_str(text).map_err(|_| SHAPE)?;
        let is_currency = !prices.currency.trim().is_empty() && prices.currency.chars().count() <= MAX_CURRENCY_CHARS;
        let is_price = |price: f64| price.is_finite() && price >= 0.0;
        let are_prices = prices
            .models
            .values()
            .all(|price| is_price(price.input) && is_price(price.output));
        if is_currency && are_prices {
            Ok(prices)
        } else {
            Err(SHAPE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_for_a_million_tokens_and_unknown_ones_are_not_zero() {
        let prices: Prices =
            r#"{"currency": "USD", "gpt-4o-mini": {"input": 0.15, "output": 0.6}, "local": {"input": 0, "output": 0}}"#
                .parse()
                .unwrap();
        assert_eq!(prices.currency, "USD");
        assert_eq!(prices.cost("gpt-4o-mini", 1_000_000, 500_000), Some(0.45));
        assert_eq!(prices.cost("gpt-4o-mini", 7, 0), Some(0.000_001));
        assert_eq!(prices.cost("local", 1_000_000, 1), Some(0.0));
        assert_eq!(prices.cost("another", 1, 1), None);
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for bad in [
            "",
            "1",
            "{}",
            r#"{"currency": ""}"#,
            r#"{"currency": "US dollars"}"#,
            r#"{"currency": "USD", "m": {"input": -1, "output": 1}}"#,
            r#"{"currency": "USD", "m": {"input": 1}}"#,
            r#"{"currency": "USD", "m": {"input": 1, "output": 1, "outptu": 1}}"#,
            r#"{"currency": "USD", "m": 1}"#,
        ] {
            assert!(bad.parse::<Prices>().is_err(), "{bad}");
        }
    }
}
