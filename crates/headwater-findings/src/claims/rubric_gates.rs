//! A rubric as a gate on groups of rollouts resists hacking, a rubric as dense reward does not.
//!
//! Direct reasoning optimisation (arXiv 2506.13351): rank a group's chains of thought by how sure a
//! frozen model is of the reference after them (R3), and let a rubric decide only whether the group
//! may give a gradient. An exploit of the rubric then earns nothing within a group. And R3 works
//! because it weighs the few reference tokens that reflect the reasoning; an average over all of
//! them is diluted by the rest.
//!
//! Controls: the same dense arm under a judge that does not fall for the boilerplate token, which
//! must then stay as rare as it was; and the rubric's scores permuted over the batch, which must
//! not move what they do not speak of.

use headwater_protocol::{
    Arm, Claim, Contrast, Control, Finding, Measure, ProtocolError, Registered, Scalar,
};
use headwater_report::Chapter;

use crate::experiments::rubric_gates_dilution::{
    self as dilution, RubricGatesDilution, STEPS_TO_80, area, trained, with_omega,
};
use crate::experiments::rubric_gates_reports::{
    ADDITIVE, EXPLOITATION, GATE, GATE_SILENT, JUDGE, MAGIC, NEW_CREDIT, PEAK, PERMUTED, POOR_GATE,
    QUALITY, R3_ALONE, RubricGatesReports, SHARE_ACCEPTED, SMOOTH_USED, UNFOOLED, at_evaluations,
    smoothed,
};

mod page;

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "rubric-gates",
            claim: "A rubric as a gate on rollout groups resists hacking, a rubric as dense reward \
                    does not.",
            source: "Xu et al. 2025, Direct Reasoning Optimization, arXiv 2506.13351 (R3: v1; \
                     gates: v2); Reward Hacking in Rubric-Based RL, arXiv 2605.12474 (exploitation \
                     rate)",
            experiments: vec![Box::new(RubricGatesReports), Box::new(RubricGatesDilution)],
            claims: vec![quality_inside(), dense_is_hacked()],
            further: of_limits().into_iter().chain(of_dilution()).collect(),
            controls: vec![],
        },
        differs: &[
            "Decoders of 26,000 to 60,000 parameters trained here on generated tasks, instead of \
             language models of 7 to 14 billion on revisions, contracts and medical questions: \
             this shows mechanisms, not that gains transfer.",
            "Of DRO, version 1 was read in full; versions 2 and 3, which add the gates and R3 by \
             probability, are known from their abstracts and a secondary summary. Values of mu, \
             rho and nu, whether rejected groups are resampled, and how spreads are scaled before \
             the softmax were not found: chosen here are 2 of 16, a quarter, two of three items, \
             resampling up to three batches, and standardised spreads.",
            "The published rubric is written and judged by the reference policy; here the items \
             are the requested keys, and the judge is a rule that falls for one token.",
            "No KL penalty (published 0.001), no length term, variance filter in one arm only, and \
             completions cut off at the budget are not masked: that they leave no answer is the \
             constraint R3 cannot see.",
            "In the dilution task chains of thought are sampled without an answer: no reward there \
             reads one.",
        ],
        parts: page::parts(),
    }
}

/// A number at the end of training less that at its first evaluation.
fn end_less_start(metric: &Scalar, arm: &Arm) -> Measure {
    metric.of(arm) - at_evaluations(metric).first(arm)
}

/// Quality at the end less that at its peak.
fn after_peak(arm: &Arm) -> Measure {
    QUALITY.of(arm) - PEAK.of(arm)
}

/// The gate's last value of a smoothed curve less another arm's at as many used groups
/// (interpolated).
fn at_used_groups_of_gate(metric: &Scalar, arm: &Arm) -> Measure {
    let curve = smoothed(metric);
    let reads = [SMOOTH_USED.read(GATE), curve.read(GATE), SMOOTH_USED.read(arm), curve.read(arm)];
    Measure::computed("at the gate's used groups: gate - other", reads, |read| {
        let [used, gate, other_used, other] = read else { unreachable!("four series are read") };
        let at_the_end = used[used.len() - 1];
        let beyond =
            || ProtocolError::Undefined(format!("the other has no look at {at_the_end} groups"));
        let other = interpolated(other_used, other, at_the_end).ok_or_else(beyond)?;
        Ok(gate[gate.len() - 1] - other)
    })
}

/// y at x on the line through points of rising x, the first one's before them; none beyond them,
/// where nothing was measured.
fn interpolated(xs: &[f64], ys: &[f64], x: f64) -> Option<f64> {
    Some(match xs.iter().position(|at| *at >= x)? {
        0 => ys[0],
        at => {
            let share = (x - xs[at - 1]) / (xs[at] - xs[at - 1]);
            ys[at - 1] + share * (ys[at] - ys[at - 1])
        }
    })
}

/// The exploitation rate, which has no value where nothing is newly credited.
fn exploited(arm: &Arm) -> Measure {
    let reads = [NEW_CREDIT.read(arm), EXPLOITATION.read_rare(arm)];
    Measure::computed("exploitation rate of new credit", reads, |read| match read[1] {
        [rate] if read[0][0] != 0.0 => Ok(*rate),
        _ => Err(ProtocolError::Undefined("nothing new is credited".into())),
    })
}

fn controls() -> Vec<Control> {
    vec![
        Control::new(
            "a judge that magic does not fool: P(magic) by R3 + rubric, end - start",
            end_less_start(&MAGIC, &UNFOOLED),
            0.1,
        ),
        Control::new(
            "rubric permuted over the batch: P(magic), end - start",
            end_less_start(&MAGIC, &PERMUTED),
            0.1,
        ),
        Control::new("rubric permuted over the batch: Q, end - peak", after_peak(&PERMUTED), 0.1),
    ]
}

fn quality_inside() -> Claim {
    let kept = Measure::computed(
        "Q of gate / Q at its peak - 1",
        [QUALITY.read(GATE), PEAK.read(GATE)],
        |read| match (read[0][0], read[1][0]) {
            (quality, peak) if peak > 0.0 => Ok((quality - peak) / peak),
            (_, peak) => Err(ProtocolError::Undefined(format!("a ratio to a peak of {peak}"))),
        },
    );
    Claim {
        id: "rubric-gates/quality-inside",
        sentence: "Inside the gate token-level reward goes on improving answers.",
        contrasts: vec![
            Contrast::increase(
                "Q at equal used groups: gate - R3 + rubric",
                at_used_groups_of_gate(&QUALITY, &ADDITIVE),
                0.05,
            ),
            Contrast::not_below("Q: gate, end / peak - 1", kept, 0.1),
            Contrast::increase(
                "Q at equal used groups: gate - R3 alone",
                at_used_groups_of_gate(&QUALITY, &R3_ALONE),
                0.05,
            ),
        ],
        controls: controls(),
    }
}

fn dense_is_hacked() -> Claim {
    Claim {
        id: "rubric-gates/dense-is-hacked",
        sentence: "A rubric as dense reward is hacked, as a gate it is not.",
        contrasts: vec![
            Contrast::increase(
                "judge: R3 + rubric, end - start",
                end_less_start(&JUDGE, &ADDITIVE),
                0.2,
            ),
            Contrast::decrease("Q: R3 + rubric, end - peak", after_peak(&ADDITIVE), 0.05),
            Contrast::increase(
                "P(magic): R3 + rubric - gate",
                MAGIC.difference(ADDITIVE, GATE),
                0.3,
            ),
            Contrast::increase(
                "exploitation rate: R3 + rubric - gate",
                exploited(&ADDITIVE) - exploited(&GATE),
                0.1,
            ),
        ],
        controls: controls(),
    }
}

/// What a gate does not do.
fn of_limits() -> Vec<Contrast> {
    let share = Measure::computed(
        "share accepted: poor start / mediocre start - 1",
        [SHARE_ACCEPTED.read(POOR_GATE), SHARE_ACCEPTED.read(GATE)],
        |read| match (read[0][0], read[1][0]) {
            (poor, mediocre) if mediocre > 0.0 => Ok(poor / mediocre - 1.0),
            _ => Err(ProtocolError::Undefined("no group was accepted".into())),
        },
    );
    vec![
        Contrast::decrease("Q: R3 alone, end - peak", after_peak(&R3_ALONE), 0.05),
        Contrast::decrease(
            "Q, rubric silent on the answer: gate - gate of the other rubric",
            QUALITY.difference(GATE_SILENT, GATE),
            0.05,
        ),
        Contrast::decrease("share of groups accepted: poor start / mediocre start - 1", share, 0.5),
    ]
}

fn of_dilution() -> Vec<Contrast> {
    let base = &dilution::BASE;
    let from_short_to_long = |reading| area(reading).change(base);
    let longest = |reading| area(reading).last(base);
    let r3 = trained("R3", dilution::LONGEST);
    vec![
        Contrast::decrease(
            "AUC of mean probability: T = 64 - T = 4",
            from_short_to_long("mean probability"),
            0.1,
        ),
        Contrast::not_below(
            "AUC of R3 less that of the oracle: T = 64 - T = 4",
            from_short_to_long("R3") - from_short_to_long("oracle slots"),
            0.1,
        ),
        Contrast::increase(
            "AUC at T = 64: R3 - mean probability",
            longest("R3") - longest("mean probability"),
            0.1,
        ),
        // The pilot had shown that these two do not hold; they are about R3, not about gates.
        Contrast::decrease(
            "steps to 80% at T = 64: R3 - mean probability",
            STEPS_TO_80.difference(&r3, trained("mean probability", dilution::LONGEST)),
            10.0,
        )
        .registered(Registered::PostHoc),
        Contrast::decrease(
            "accuracy at T = 64: R3 at omega 8 - omega 2",
            dilution::ACCURACY.difference(with_omega(8.0), &r3),
            0.05,
        )
        .registered(Registered::PostHoc),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_read_between_their_points() {
        let (xs, ys) = ([10.0, 20.0, 40.0], [1.0, 3.0, -1.0]);
        assert_eq!(interpolated(&xs, &ys, 5.0), Some(1.0));
        assert_eq!(interpolated(&xs, &ys, 15.0), Some(2.0));
        assert_eq!(interpolated(&xs, &ys, 20.0), Some(3.0));
        assert_eq!(interpolated(&xs, &ys, 30.0), Some(1.0));
        assert_eq!(interpolated(&xs, &ys, 40.0), Some(-1.0));
        assert_eq!(interpolated(&xs, &ys, 50.0), None);
    }
}
