//! The parameters that some servers refuse.

use std::str::FromStr;

/// A parameter of OpenAI's protocol that some servers refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// `stream_options`: asks for the usage at the end of a stream.
    StreamOptions,
    /// `max_tokens`: the longest answer, as most servers call it.
    MaxTokens,
    /// `max_completion_tokens`: the longest answer, as OpenAI calls it.
    MaxCompletionTokens,
}

/// A part of a request that a provider refused, without which it may accept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPart {
    /// [`Parameter::StreamOptions`].
    StreamOptions,
    /// The longest answer, by the name that it was sent with.
    OutputLimit,
    /// The longest answer is more than the model can write.
    LargeOutputLimit,
    /// The beginning of the answer, as the model's own last message.
    Prefill,
    /// The system's role, which the templates of some models lack.
    SystemRole,
    /// Pictures, which the model does not take from anybody.
    Pictures,
    /// These pictures: one cannot be read, or they are too many or too large.
    ThesePictures,
    /// PDFs as they are, which the model does not take from anybody.
    Pdfs,
    /// These PDFs: one cannot be read, or they are too long.
    ThesePdfs,
}

impl Parameter {
    pub(super) const ALL: [Self; 3] = [Self::StreamOptions, Self::MaxTokens, Self::MaxCompletionTokens];

    /// Its name in a request.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StreamOptions => "stream_options",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::StreamOptions => 1,
            Self::MaxTokens => 2,
            Self::MaxCompletionTokens => 4,
        }
    }
}

/// Parameters that are not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParametersOff(u8);

impl ParametersOff {
    /// Whether it is not sent.
    pub const fn contains(self, parameter: Parameter) -> bool {
        self.0 & parameter.bit() != 0
    }

    /// These, and those of `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These, and this one.
    #[must_use]
    pub const fn with(self, parameter: Parameter) -> Self {
        Self(self.0 | parameter.bit())
    }

    /// The name under which the longest answer is sent: the preferred one, else the other; `None` when both are off.
    pub(crate) fn output_limit(self, preferred: Parameter) -> Option<Parameter> {
        [preferred, Parameter::MaxTokens, Parameter::MaxCompletionTokens]
            .into_iter()
            .find(|name| !self.contains(*name))
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

impl FromStr for ParametersOff {
    type Err = &'static str;

    /// Reads names, separated by commas.
    fn from_str(names: &str) -> Result<Self, Self::Err> {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.into_iter().try_fold(Self::default(), |off, name| {
            let known = Parameter::ALL.into_iter().find(|parameter| parameter.name() == name);
            known
                .map(|parameter| off.with(parameter))
                .ok_or("may hold stream_options, max_tokens and max_completion_tokens, separated by commas")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_a_list() {
        let off: ParametersOff = " stream_options, max_tokens,".parse().unwrap();
        assert_eq!(
            Parameter::ALL.map(|parameter| off.contains(parameter)),
            [true, true, false]
        );
        for unknown in ["stream", "model", "temperature", "max_tokens;stream_options"] {
            assert!(unknown.parse::<ParametersOff>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn the_output_limit_has_another_name_when_one_is_off() {
        let (tokens, completion) = (Parameter::MaxTokens, Parameter::MaxCompletionTokens);
        let off = ParametersOff::default();
        assert_eq!(off.output_limit(completion), Some(completion));
        assert_eq!(off.with(completion).output_limit(completion), Some(tokens));
        assert_eq!(off.with(tokens).output_limit(tokens), Some(completion));
        assert_eq!(off.with(tokens).with(completion).output_limit(tokens), None);
    }
}
