//! The AI provider, and the fallback.

use std::time::Duration;

use cura_domain::price::Prices;
use cura_providers::Secret;
use cura_providers::ai::{Ai, AiError, AnthropicConfig, Continuation, OpenAiConfig, ParametersOff, Timeouts, Vision};

use super::process::Environment;
use super::variables::Variables;

/// The longest answer of a provider that requires a limit (Anthropic).
const MAX_OUTPUT_TOKENS: u32 = 4096;

/// Section "AI provider".
#[derive(Debug, Clone)]
pub struct AiSettings {
    /// `AI_MODEL_*`, `AI_FALLBACK_*`: the providers, in the order in which they are tried. None means the demo.
    pub providers: Vec<ProviderSettings>,
    /// `AI_MAX_OUTPUT_TOKENS`, if it is set.
    pub max_output_tokens: Option<u32>,
    /// `AI_VISION`
    pub vision: Vision,
    /// `AI_PRICES`
    pub prices: Option<Prices>,
}

/// One provider and its protocol.
#[derive(Debug, Clone)]
pub enum ProviderSettings {
    /// The protocol of OpenAI.
    OpenAi(OpenAiConfig),
    /// The protocol of Anthropic.
    Anthropic(AnthropicConfig),
}

impl ProviderSettings {
    /// Asks with another key; false if there is none.
    pub(crate) fn replace_key(&mut self, key: Secret) -> bool {
        let (Self::OpenAi(OpenAiConfig { api_key, .. }) | Self::Anthropic(AnthropicConfig { api_key, .. })) = self;
        let has_key = api_key.is_some();
        if has_key {
            *api_key = Some(key);
        }
        has_key
    }

    /// A client of this provider; nothing is sent yet.
    ///
    /// # Errors
    /// When the client cannot be built from these settings.
    pub fn connect(&self) -> Result<Ai, AiError> {
        match self {
            Self::OpenAi(config) => Ai::openai(config.clone()),
            Self::Anthropic(config) => Ai::anthropic(config.clone()),
        }
    }

    /// The model, and the base URL without its query, which may hold a key.
    pub fn model_and_url(&self) -> (&str, &str) {
        let (model, url) = match self {
            Self::OpenAi(config) => (&config.model, &config.base_url),
            Self::Anthropic(config) => (&config.model, &config.base_url),
        };
        (model, url.split(['?', '#']).next().unwrap_or(url))
    }
}

/// The names of the settings of one provider.
struct Names {
    url: &'static str,
    key: &'static str,
    provider: &'static str,
    model: &'static str,
    parameters_off: &'static str,
}

const FIRST: Names = Names {
    url: "AI_MODEL_URL",
    key: "AI_MODEL_API_KEY",
    provider: "AI_MODEL_PROVIDER",
    model: "AI_MODEL_NAME",
    parameters_off: "AI_PARAMETERS_OFF",
};

const FALLBACK: Names = Names {
    url: "AI_FALLBACK_URL",
    key: "AI_FALLBACK_API_KEY",
    provider: "AI_FALLBACK_PROVIDER",
    model: "AI_FALLBACK_NAME",
    parameters_off: "AI_FALLBACK_PARAMETERS_OFF",
};

/// What the settings say about every provider.
struct Common {
    timeouts: Timeouts,
    max_output_tokens: Option<u32>,
    /// `None`: the best mode of each provider.
    continuation: Option<Continuation>,
}

impl Common {
    fn read(from: &Variables) -> Self {
        let seconds = |name, default| Duration::from_secs(from.within(name, default, 1..=3600_u64));
        Self {
            timeouts: Timeouts {
                connect: seconds("AI_CONNECT_TIMEOUT_SECONDS", 5),
                first_byte: seconds("AI_FIRST_BYTE_TIMEOUT_SECONDS", 60),
                idle: seconds("AI_IDLE_TIMEOUT_SECONDS", 30),
                // A job may run for 15 minutes.
                total: Duration::from_secs(from.within("AI_TOTAL_TIMEOUT_SECONDS", 600, 1..=840)),
            },
            max_output_tokens: from
                .text("AI_MAX_OUTPUT_TOKENS")
                .map(|_| from.within("AI_MAX_OUTPUT_TOKENS", MAX_OUTPUT_TOKENS, 1..=1_000_000)),
            continuation: match from.text("AI_CONTINUATION") {
                None | Some("auto") => None,
                Some("prefill") => Some(Continuation::Prefill),
                Some("prompt") => Some(Continuation::Prompt),
                Some("off") => Some(Continuation::Off),
                Some(_) => {
                    from.fault("AI_CONTINUATION", "must be auto, prefill, prompt or off");
                    None
                }
            },
        }
    }
}

impl AiSettings {
    pub(super) fn read(from: &Variables, environment: Environment) -> Self {
        let common = Common::read(from);
        let first = provider(from, &FIRST, &common);
        let fallback = provider(from, &FALLBACK, &common);
        if first.is_none() && fallback.is_some() {
            from.fault(FIRST.url, "is missing, but AI_FALLBACK_URL is set; set both");
        } else if first.is_none() && environment == Environment::Production {
            let rule = "is missing; in production the demo must not answer, so name the AI provider";
            from.fault(FIRST.url, rule);
        }
        Self {
            providers: first.into_iter().chain(fallback).collect(),
            max_output_tokens: common.max_output_tokens,
            prices: from.parsed_if_set("AI_PRICES"),
            vision: match from.text("AI_VISION") {
                None | Some("auto") => Vision::Auto,
                Some("on") => Vision::On,
                Some("off") => Vision::Off,
                Some(_) => {
                    from.fault("AI_VISION", "must be auto, on or off");
                    Vision::Auto
                }
            },
        }
    }
}

/// The provider of these names; `None` without a URL.
fn provider(from: &Variables, names: &Names, common: &Common) -> Option<ProviderSettings> {
    let provider = match from.text(names.provider) {
        None | Some("openai") => "openai",
        Some("custom") => "custom",
        Some("anthropic") => "anthropic",
        Some(_) => {
            from.fault(names.provider, "must be openai, anthropic or custom");
            "openai"
        }
    };
    let parameters_off = match from.text(names.parameters_off).map(str::parse) {
        None => ParametersOff::default(),
        Some(Ok(_)) if provider == "anthropic" => {
            let rule = "has no meaning with anthropic, which requires all that is sent; remove it";
            from.fault(names.parameters_off, rule);
            ParametersOff::default()
        }
        Some(Ok(off)) => off,
        Some(Err(rule)) => {
            from.fault(names.parameters_off, rule);
            ParametersOff::default()
        }
    };
    // Read in any case: a file that cannot be used is named.
    let api_key: Option<Secret> = from.secret(names.key);
    let base_url = from.text(names.url).map(str::to_owned)?;
    let model = |default: &str| from.text(names.model).unwrap_or(default).to_owned();
    Some(match provider {
        "anthropic" => ProviderSettings::Anthropic(AnthropicConfig {
            base_url,
            api_key,
            model: model("claude-sonnet-4-5"),
            max_output_tokens: common.max_output_tokens.unwrap_or(MAX_OUTPUT_TOKENS),
            timeouts: common.timeouts,
            continuation: common.continuation.unwrap_or(Continuation::Prefill),
        }),
        provider_name => ProviderSettings::OpenAi(OpenAiConfig {
            base_url,
            api_key,
            model: model("gpt-4o-mini"),
            max_output_tokens: common.max_output_tokens,
            timeouts: common.timeouts,
            continuation: common.continuation.unwrap_or(Continuation::Prompt),
            provider_name,
            parameters_off,
        }),
    })
}

#[cfg(test)]
mod tests {
    use cura_providers::ai::Parameter;

    use super::*;

    /// The providers, or the only thing that is wrong.
    fn ai(variables: &[(&str, &str)]) -> Result<Vec<ProviderSettings>, String> {
        let variables = Variables::from(variables);
        let ai = AiSettings::read(&variables, Environment::Development);
        match &*variables.take_faults() {
            [] => Ok(ai.providers),
            [fault] => Err(fault.to_string()),
            several => panic!("{several:?}"),
        }
    }

    #[test]
    fn a_provider_brings_its_own_defaults() {
        let settings = ai(&[
            ("AI_MODEL_URL", "https://api.anthropic.com"),
            ("AI_MODEL_PROVIDER", "anthropic"),
            ("AI_FALLBACK_URL", "http://localhost:11434"),
            ("AI_FALLBACK_PROVIDER", "custom"),
            ("AI_FALLBACK_NAME", "llama3.2"),
        ])
        .unwrap();
        let [ProviderSettings::Anthropic(first), ProviderSettings::OpenAi(fallback)] = &*settings else {
            panic!("not what was set");
        };
        assert_eq!(
            (&*first.model, first.max_output_tokens, first.continuation),
            ("claude-sonnet-4-5", 4096, Continuation::Prefill)
        );
        assert_eq!(
            (&*fallback.model, fallback.max_output_tokens, fallback.continuation),
            ("llama3.2", None, Continuation::Prompt)
        );
        assert_eq!(fallback.provider_name, "custom");
        assert_eq!(fallback.timeouts, first.timeouts);
    }

    #[test]
    fn common_settings_apply_to_every_provider() {
        let settings = ai(&[
            ("AI_MODEL_URL", "https://api.openai.com"),
            ("AI_MAX_OUTPUT_TOKENS", "512"),
            ("AI_CONTINUATION", "off"),
        ])
        .unwrap();
        let [ProviderSettings::OpenAi(first)] = &*settings else {
            panic!("not what was set");
        };
        assert_eq!(
            (first.max_output_tokens, first.continuation),
            (Some(512), Continuation::Off)
        );
    }

    #[test]
    fn each_provider_has_parameters_of_its_own_that_are_off() {
        let settings = ai(&[
            ("AI_MODEL_URL", "https://api.openai.com"),
            ("AI_PARAMETERS_OFF", "stream_options"),
            ("AI_FALLBACK_URL", "http://localhost:11434"),
            ("AI_FALLBACK_PARAMETERS_OFF", "max_tokens, max_completion_tokens"),
        ])
        .unwrap();
        let [ProviderSettings::OpenAi(first), ProviderSettings::OpenAi(fallback)] = &*settings else {
            panic!("not what was set");
        };
        let off = |config: &OpenAiConfig| {
            [
                Parameter::StreamOptions,
                Parameter::MaxTokens,
                Parameter::MaxCompletionTokens,
            ]
            .map(|parameter| config.parameters_off.contains(parameter))
        };
        assert_eq!(off(first), [true, false, false]);
        assert_eq!(off(fallback), [false, true, true]);
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("AI_MODEL_PROVIDER", "oracle"),
            ("AI_FALLBACK_PROVIDER", "oracle"),
            ("AI_MAX_OUTPUT_TOKENS", "0"),
            ("AI_CONTINUATION", "maybe"),
            ("AI_TOTAL_TIMEOUT_SECONDS", "900"),
            ("AI_PARAMETERS_OFF", "stream"),
            ("AI_FALLBACK_PARAMETERS_OFF", "max_tokens;stream_options"),
        ] {
            let error = ai(&[(name, value)]).map(|_| ()).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
        let anthropic = ai(&[("AI_MODEL_PROVIDER", "anthropic"), ("AI_PARAMETERS_OFF", "max_tokens")]);
        let error = anthropic.map(|_| ()).unwrap_err();
        assert!(error.starts_with("AI_PARAMETERS_OFF"), "{error}");
        let alone = ai(&[("AI_FALLBACK_URL", "http://x")]).map(|_| ()).unwrap_err();
        assert!(alone.starts_with("AI_MODEL_URL"), "{alone}");
    }
}
