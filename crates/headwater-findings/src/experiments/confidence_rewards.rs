//! The rewards of stated confidence that the experiments of `calibration` share: `correct - k S(q,
//! correct)`.

use headwater_rewards::{SchemeConfig, ScoringRule};

pub(crate) const BINARY: SchemeConfig =
    SchemeConfig { correct_weight: 1.0, rule: ScoringRule::Brier, rule_weight: 0.0 };
pub(crate) const LOG: SchemeConfig = SchemeConfig {
    correct_weight: 1.0,
    rule: ScoringRule::Logarithmic { clip: 0.01 },
    rule_weight: 1.0,
};
pub(crate) const DOUBLE_BRIER: SchemeConfig =
    SchemeConfig { correct_weight: 1.0, rule: ScoringRule::Brier, rule_weight: 2.0 };
pub(crate) const BRIER_ONLY: SchemeConfig =
    SchemeConfig { correct_weight: 0.0, rule: ScoringRule::Brier, rule_weight: 1.0 };
