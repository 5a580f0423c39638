//! What the finding compares, where it is more than a difference of two arms.

use headwater_protocol::{Arm, Measure, ProtocolError, Scalar, Series};

use crate::experiments::self_improvement_classifier::{
    ACCURACY, BASE_ACCURACY, BASE_GREEDY, BASE_TOP_SHARE, TOP_SHARE,
};
use crate::experiments::self_improvement_facts::VALUES_UNKNOWN;
use crate::experiments::self_improvement_language::{EXCESS, FREQUENT, RARE, REAL, last};
use crate::experiments::self_improvement_policy::{CONTRAST, PAIRS, PASS_1, by_round};

/// Accuracy of a classifier at the end less that of its base.
pub(super) fn gain(arm: impl Into<Arm>) -> Measure {
    let arm = arm.into();
    ACCURACY.of(&arm) - BASE_ACCURACY.of(arm)
}

/// Accuracy of a classifier less what the base's likeliest answers have: the level of its own
/// majority.
pub(super) fn above_cap(arm: Arm) -> Measure {
    ACCURACY.of(&arm) - BASE_GREEDY.of(arm)
}

/// The same of the share of prompts with the most common likeliest answer.
pub(super) fn top_share_gained(arm: Arm) -> Measure {
    TOP_SHARE.of(&arm) - BASE_TOP_SHARE.of(arm)
}

/// Excess of a decoder on its own text after the last round less that after an earlier one.
pub(super) fn since(time: fn(&Series) -> Scalar, arm: Arm) -> Measure {
    last(&EXCESS).of(&arm) - time(&EXCESS).of(arm)
}

/// How much more rare symbols have lost than frequent ones, in an arm less where nothing loops.
pub(super) fn tail_first(time: fn(&Series) -> Scalar, arm: Arm) -> Measure {
    let lost = |arm: Arm| time(&RARE).of(&arm) - time(&FREQUENT).of(arm);
    lost(arm) - lost(REAL)
}

/// What the last round of a policy added to its pass@1.
pub(super) fn gained_last(arm: Arm) -> Measure {
    let rounds = by_round(&PASS_1);
    rounds.last(&arm) - rounds.from_end(1, arm)
}

/// How much more often chosen answers are right than rejected ones, of a policy that has pairs.
pub(super) fn contrast(name: &'static str, arm: Arm) -> Measure {
    let reads = [PAIRS.read(&arm), CONTRAST.read_rare(arm)];
    Measure::computed(name, reads, |read| match read[1] {
        [contrast] if read[0] != [0.0] => Ok(*contrast),
        _ => Err(ProtocolError::Undefined("there is no pair to learn from".into())),
    })
}

/// Least share of answers to unknown keys that are values where something is said of them.
const LEAST_VALUES: f64 = 0.05;

/// A metric of answers to unknown keys, of which some have to be values.
pub(super) fn guessed(name: &'static str, metric: &Scalar, arm: Arm) -> Measure {
    let reads = [VALUES_UNKNOWN.read(&arm), metric.read_rare(arm)];
    Measure::computed(name, reads, |read| match (read[0], read[1]) {
        ([values], [metric]) if *values >= LEAST_VALUES => Ok(*metric),
        (values, _) => {
            let why = format!("{} of the answers to unknown keys are values", values[0]);
            Err(ProtocolError::Undefined(why))
        }
    })
}
