//! Contrasts that bear on none of the sentences: what delays a collapse, what real or kept data do,
//! and what verification is for.

use headwater_protocol::{Arm, Contrast, Registered};

use super::measures::{gain, since};
use crate::experiments::self_improvement_classifier::{
    self as classifier, ACCURACY, FROZEN, OWN_MAJORITY,
};
use crate::experiments::self_improvement_collapse as collapse;
use crate::experiments::self_improvement_language::{
    self as language, EXCESS, first, last, middle,
};
use crate::experiments::self_improvement_policy::{self as policy, GAP, PASS_1, PASS_16};

/// All of them.
pub(super) fn further() -> Vec<Contrast> {
    [of_labels(), of_rows(), of_text(), of_verifying()].concat()
}

/// Of the classifier: what delays its collapse, and what a few true labels do.
fn of_labels() -> Vec<Contrast> {
    use classifier::{BASE_ACCURACY, FIXED_16, GOLD, GOLD_TENTH, GROUP_4, STOPPED_ACCURACY};
    let stopped = || STOPPED_ACCURACY.of(OWN_MAJORITY);
    vec![
        // Known not to hold at this size.
        Contrast::increase(
            "accuracy, own majority: groups of 4 - of 16",
            ACCURACY.difference(GROUP_4, OWN_MAJORITY),
            0.02,
        )
        .published("fewer rollouts per prompt delay it"),
        Contrast::increase(
            "accuracy, own majority: 16 fixed prompts - fresh ones",
            ACCURACY.difference(FIXED_16, OWN_MAJORITY),
            0.1,
        )
        .published("no collapse on 30 prompts that come again and again"),
        Contrast::increase(
            "accuracy: gold - frozen checkpoint",
            ACCURACY.difference(GOLD, FROZEN),
            0.05,
        ),
        Contrast::decrease("accuracy, 1 of 10 labels of gold: end - base", gain(GOLD_TENTH), 0.05),
        Contrast::increase(
            "accuracy, own majority: stopped by 20 labels - at the end",
            stopped() - ACCURACY.of(OWN_MAJORITY),
            0.1,
        )
        .published("early stopping on 1% labels finds the peak"),
        Contrast::not_below(
            "accuracy, own majority: stopped by 20 labels - base",
            stopped() - BASE_ACCURACY.of(OWN_MAJORITY),
            0.02,
        ),
    ]
}

/// Of regressions: what keeping rows, or real ones, do.
fn of_rows() -> Vec<Contrast> {
    use collapse::{ACCUMULATE, LAST, OVER_FIRST, OVER_MIDDLE, REAL_TENTH_FRESH, REPLACE};
    let contrasts = [
        Contrast::decrease(
            "error: accumulated over replaced - 1, round 20",
            LAST.of(ACCUMULATE) / LAST.of(REPLACE) - 1.0,
            0.5,
        )
        .published("at most 0.60 here; loss 2.85 to 2.78 (125M model)"),
        Contrast::unchanged(
            "error, rows accumulated: round 20 over round 10 - 1",
            OVER_MIDDLE.of(ACCUMULATE) - 1.0,
            0.1,
        ),
        // It keeps the first round's quality at best.
        Contrast::not_below(
            "error, rows accumulated: round 20 over round 1 - 1",
            OVER_FIRST.of(ACCUMULATE) - 1.0,
            0.05,
        ),
        Contrast::decrease(
            "error: 1 of 10 real and new over replaced - 1, round 20",
            LAST.of(REAL_TENTH_FRESH) / LAST.of(REPLACE) - 1.0,
            0.5,
        ),
    ];
    contrasts.map(|contrast| contrast.registered(Registered::Before)).into()
}

/// Of a decoder on its own text: what keeping texts, or real ones, do.
fn of_text() -> Vec<Contrast> {
    use language::{
        ACCUMULATE, COOL, QUALITY, REAL, REAL_HALF_KEPT, REAL_TENTH_FRESH, REAL_TENTH_KEPT, REPLACE,
    };
    let between = |arm: Arm, other: Arm| last(&EXCESS).difference(arm, other);
    vec![
        Contrast::decrease(
            "own text: excess, accumulated - replaced, round 8",
            between(ACCUMULATE, REPLACE),
            0.1,
        ),
        // The margin tells it from what replacing does.
        Contrast::unchanged(
            "own text: excess, accumulated, round 8 - round 4",
            since(middle, ACCUMULATE),
            0.05,
        ),
        Contrast::not_below(
            "own text: excess, accumulated, round 8 - round 1",
            since(first, ACCUMULATE),
            0.02,
        )
        .published("loss 2.85 to 2.78 (125M model)"),
        Contrast::decrease(
            "own text: excess, 1 of 10 real and kept - replaced, round 8",
            between(REAL_TENTH_KEPT, REPLACE),
            0.05,
        )
        .published("perplexity 20 to 28 without, minor loss with (OPT-125m)"),
        Contrast::decrease(
            "own text: excess, 1 of 10 real, new - kept, round 8",
            between(REAL_TENTH_FRESH, REAL_TENTH_KEPT),
            0.02,
        )
        .published("only new real data keeps quality, kept data delay the loss"),
        Contrast::increase(
            "own text: excess, half real and kept - all real, round 8",
            between(REAL_HALF_KEPT, REAL),
            0.02,
        ),
        Contrast::not_below(
            "own text: quality, temperature 0.8 - all real, round 8",
            last(&QUALITY).difference(COOL, REAL),
            0.1,
        ),
    ]
}

/// Of the policy that verifies: what a third party does not mend, and what learning to verify is
/// for.
fn of_verifying() -> Vec<Contrast> {
    use policy::{BASE, STAR, STAR_NO_HINT, THIRD_PARTY, UNVERIFIED};
    vec![
        Contrast::decrease(
            "policy, pass@16: third party - base",
            PASS_16.difference(THIRD_PARTY, BASE),
            0.03,
        )
        .published("the loss remains with a 72B verifier of a 7B policy"),
        Contrast::increase(
            "policy, pass@1, fits from the base: second attempts with a hint - without",
            PASS_1.difference(STAR, STAR_NO_HINT),
            0.01,
        ),
        Contrast::increase(
            "policy, gap: verification learnt - not learnt",
            GAP.difference(BASE, UNVERIFIED),
            0.1,
        ),
        Contrast::unchanged(
            "policy, gap where verification was not learnt",
            GAP.of(UNVERIFIED),
            0.1,
        ),
    ]
}
