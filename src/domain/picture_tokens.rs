//! How many tokens a picture costs. Providers publish rules and change them; where two of their documents disagree, the higher number is
//! taken, because these numbers reserve what a person may spend.

use crate::ModelRef;

/// The longest side of the pictures that scans make for models, in pixels.
const LARGE_SIDE: u32 = 1568;
/// A token for so many pixels (Anthropic, and where nothing else is known).
const PIXELS_PER_TOKEN: u64 = 750;

/// The rule by which a model counts the tokens of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureCost {
    /// By its area: a token for 750 pixels.
    Area,
    /// So many for a picture, and so many for each tile of 512 pixels, after it was scaled into 2,048 pixels and then to 768 on its shorter
    /// side (OpenAI).
    Tiles {
        /// For a picture.
        base: usize,
        /// For each tile.
        tile: usize,
    },
    /// So many hundredths of a token for each patch of 32 pixels, of which there are 1,536 at most (OpenAI).
    Patches {
        /// Hundredths of a token.
        percent: usize,
    },
}

impl PictureCost {
    /// The rule of a model, by the names under which it is configured.
    pub fn of(model: &ModelRef) -> Self {
        if model.provider != "openai" {
            return Self::Area;
        }
        let is = |start: &str| model.model.starts_with(start);
        // The more particular name first.
        match () {
            () if is("gpt-4o-mini") => Self::Tiles { base: 2833, tile: 5667 },
            () if is("gpt-4.1-nano") || is("gpt-5-nano") => Self::Patches { percent: 246 },
            () if is("gpt-4.1-mini") || is("gpt-5-mini") => Self::Patches { percent: 162 },
            () if is("o4-mini") => Self::Patches { percent: 172 },
            () if is("gpt-4o") || is("gpt-4.1") || is("gpt-4.5") || is("chatgpt-4o") => {
                Self::Tiles { base: 85, tile: 170 }
            }
            () if is("o1") || is("o3") => Self::Tiles { base: 75, tile: 150 },
            // Also for models that are not known yet: no rule that is known for a large one counts more.
            () => Self::Patches { percent: 246 },
        }
    }

    /// The tokens of a picture of so many pixels, which is given as it is.
    pub fn tokens(self, width: u32, height: u32) -> usize {
        let tokens = match self {
            Self::Area => (u64::from(width) * u64::from(height)).div_ceil(PIXELS_PER_TOKEN),
            Self::Tiles { base, tile } => base as u64 + tile as u64 * tiles(width, height),
            Self::Patches { percent } => {
                let patches = u64::from(width.div_ceil(32)) * u64::from(height.div_ceil(32));
                (patches.min(1536) * percent as u64).div_ceil(100)
            }
        };
        usize::try_from(tokens).unwrap_or(usize::MAX).max(1)
    }

    /// The tokens of a picture whose size is not known: of the dearest shape, which for tiles is a long one.
    pub fn of_unknown_size(self) -> usize {
        let square = self.tokens(LARGE_SIDE, LARGE_SIDE);
        square.max(self.tokens(LARGE_SIDE, LARGE_SIDE / 3))
    }

    /// The tokens of a PDF that is given as it is: each page is a picture to the model.
    pub fn of_pdf(self, pages: u32) -> usize {
        let page = self.tokens(LARGE_SIDE * 3 / 4, LARGE_SIDE);
        page.saturating_mul(usize::try_from(pages).unwrap_or(usize::MAX))
    }
}

/// How many tiles of 512 pixels a picture has, which is made as large as OpenAI may make it.
fn tiles(width: u32, height: u32) -> u64 {
    let (long, short) = (u64::from(width.max(height)).max(1), u64::from(width.min(height)).max(1));
    // Into 2,048 pixels, if it is larger.
    let (long, short) = if long > 2048 {
        (2048, (short * 2048 / long).max(1))
    } else {
        (long, short)
    };
    // To 768 on the shorter side, but never beyond 2,048 on the longer.
    let scaled = (long * 768 / short).min(2048);
    scaled.div_ceil(512) * 768_u64.div_ceil(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(provider: &str, model: &str) -> PictureCost {
        PictureCost::of(&ModelRef::new(provider, model))
    }

    #[test]
    fn a_picture_costs_what_its_model_counts() {
        for (provider, model, size, tokens) in [
            ("anthropic", "claude-sonnet-4-5", (1568, 1568), 3279),
            ("anthropic", "claude-sonnet-4-5", (200, 200), 54),
            ("custom", "gpt-4o", (1568, 1176), 2459),
            // The examples of OpenAI's document.
            ("openai", "gpt-4o", (1024, 1024), 765),
            ("openai", "gpt-4o-2024-08-06", (2048, 4096), 1105),
            ("openai", "gpt-4.1-mini", (1024, 1024), 1659),
            ("openai", "gpt-4o-mini", (1024, 1024), 25_501),
            ("openai", "o4-mini", (1568, 1568), 2642),
        ] {
            let rule = cost(provider, model);
            assert_eq!(rule.tokens(size.0, size.1), tokens, "{model} {size:?}");
        }
    }

    #[test]
    fn no_size_overflows_or_is_free() {
        for model in ["gpt-4o", "gpt-4o-mini", "gpt-7", "claude"] {
            for provider in ["openai", "anthropic"] {
                let rule = cost(provider, model);
                for size in [(0, 0), (1, 1), (1, u32::MAX), (u32::MAX, u32::MAX)] {
                    assert!(rule.tokens(size.0, size.1) >= 1, "{model} {size:?}");
                }
            }
        }
    }

    #[test]
    fn no_picture_of_a_scan_costs_more_than_one_of_unknown_size() {
        for model in ["gpt-4o-mini", "gpt-4o", "gpt-5-nano", "claude"] {
            let rule = cost("openai", model);
            for side in (1..=LARGE_SIDE).step_by(49) {
                assert!(
                    rule.of_unknown_size() >= rule.tokens(LARGE_SIDE, side),
                    "{model} {side}"
                );
                assert!(
                    rule.of_unknown_size() >= rule.tokens(side, LARGE_SIDE),
                    "{model} {side}"
                );
            }
        }
    }

    #[test]
    fn a_pdf_costs_its_pages() {
        assert_eq!(
            [0, 1, 20].map(|pages| PictureCost::Area.of_pdf(pages)),
            [0, 2459, 49_180]
        );
    }
}
