//! What a correctness reward does to a policy's confidence, and what a proper scoring rule does
//! about it.
//!
//! Damani et al. 2025 (arXiv 2507.16806): a binary correctness reward makes the policy
//! overconfident; adding the Brier score keeps accuracy and repairs calibration; the log score and
//! an over-weighted Brier score can be hacked by answering wrongly on purpose and saying so.

use headwater_protocol::{Arm, Claim, Contrast, Control, Finding};
use headwater_report::{Along, Chapter, Column, Figure, Part, Table, Value};

use crate::experiments::calibration::{
    ACCURACY, ACCURACY_LIKELY, ACCURACY_UNLIKELY, AUROC, BASE, BINARY, BINARY_PERMUTED, BRIER,
    BRIER_ONLY, BY_LEVEL, Calibration, DETERMINED_BINARY, DETERMINED_BRIER, DOUBLE_BRIER, ECE,
    IMPOSSIBLE, LEARNERS, LOG, OVERCONFIDENCE, OVERCONFIDENCE_OF_LIKELIHOOD, STATED_BY_LEVEL,
    WITH_BRIER,
};
use crate::experiments::calibration_bandits::{
    BANDITS, BANDITS_ARM, CalibrationBandits, SCHEMES, accuracy, never_right, stated,
};
use headwater_tasks::masked_sum::LEVELS;

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "calibration",
            claim: "A binary correctness reward makes the policy overconfident; adding the Brier \
                    score keeps accuracy and repairs calibration; the log score and an \
                    over-weighted Brier score are hackable.",
            source: "Damani et al. 2025, Beyond Binary Rewards: Training LMs to Reason about Their \
                     Uncertainty, arXiv 2507.16806",
            experiments: vec![Box::new(Calibration), Box::new(CalibrationBandits)],
            claims: vec![confident_guessing(), brier_repairs(), proper_and_bounded()],
            further: vec![],
            controls: vec![],
        },
        differs: &[
            "A 21,000-parameter decoder trained here on sums with an uncertain operand, instead of \
             Qwen2.5-7B on HotpotQA and mathematics; confidence is one token of eleven, and no \
             analysis is written before it.",
            "The base is overconfident in words because half of the authors it imitates state full \
             confidence whatever the prompt; what makes the published base models so is not known.",
            "A binary reward is independent of the stated confidence, so it cannot train it here. \
             The published policies state theirs after reasoning, through the same weights that \
             the reward sharpens.",
            "Advantages are centred but not divided by the group's standard deviation, as \
             published; updates are strictly on-policy, 8 prompts x 8 samples.",
        ],
        parts: vec![part()],
    }
}

fn confident_guessing() -> Claim {
    Claim {
        id: "calibration/confident-guessing",
        sentence: "A binary reward breeds confident guessing.",
        contrasts: vec![
            Contrast::increase(
                "overconfidence of the answer's likelihood: binary - base",
                OVERCONFIDENCE_OF_LIKELIHOOD.difference(BINARY, BASE),
                0.1,
            ),
            Contrast::increase(
                "overconfidence of the stated confidence: binary - base",
                OVERCONFIDENCE.difference(BINARY, BASE),
                0.05,
            )
            .published("ECE out of domain .400 to .460, in domain .535 to .370 (Qwen2.5-7B)"),
        ],
        controls: vec![Control::new(
            "rewards permuted: overconfidence of the answer's likelihood, binary - base",
            OVERCONFIDENCE_OF_LIKELIHOOD.difference(BINARY_PERMUTED, BASE),
            0.05,
        )],
    }
}

fn brier_repairs() -> Claim {
    Claim {
        id: "calibration/brier-repairs",
        sentence: "The Brier term repairs calibration without costing accuracy.",
        contrasts: vec![
            Contrast::decrease(
                "ECE of the stated confidence: with Brier - binary",
                ECE.difference(WITH_BRIER, BINARY),
                0.05,
            )
            .published("-.34 in domain (.370 to .030), -.25 out of domain")
            .room(ECE.of(BINARY)),
            Contrast::increase(
                "AUROC of the stated confidence: with Brier - binary",
                AUROC.difference(WITH_BRIER, BINARY),
                0.03,
            )
            .published("+.19 in domain (.500 to .687)")
            .room(1.0 - AUROC.of(BINARY)),
            Contrast::not_below(
                "accuracy: with Brier - binary",
                ACCURACY.difference(WITH_BRIER, BINARY),
                0.03,
            )
            .published("-.009 in domain (.630 to .621)"),
        ],
        controls: vec![Control::new(
            "fully determined prompts: ECE of the stated confidence, with Brier - binary",
            ECE.difference(DETERMINED_BRIER, DETERMINED_BINARY),
            0.05,
        )],
    }
}

fn proper_and_bounded() -> Claim {
    let likely = |name, arm: Arm| Control::new(name, ACCURACY_LIKELY.difference(arm, BINARY), 0.05);
    Claim {
        id: "calibration/proper-and-bounded",
        sentence: "The log score and a Brier score of weight above the boundary are hacked.",
        contrasts: vec![
            Contrast::decrease(
                "accuracy where p = 0.2: with log score - binary",
                ACCURACY_UNLIKELY.difference(LOG, BINARY),
                0.05,
            )
            .published("accuracy 0 on a five-armed toy task")
            .room(ACCURACY_UNLIKELY.of(BINARY)),
            Contrast::decrease(
                "accuracy where p = 0.2: with twice the Brier score - binary",
                ACCURACY_UNLIKELY.difference(DOUBLE_BRIER, BINARY),
                0.05,
            )
            .room(ACCURACY_UNLIKELY.of(BINARY)),
            Contrast::decrease(
                "accuracy: Brier only - with Brier",
                ACCURACY.difference(BRIER_ONLY, WITH_BRIER),
                0.1,
            )
            .published("accuracy 0")
            .room(ACCURACY.of(WITH_BRIER)),
        ],
        controls: vec![
            likely("p = 0.8, above both thresholds: accuracy, with log score - binary", LOG),
            likely(
                "p = 0.8, above both thresholds: accuracy, with twice the Brier score - binary",
                DOUBLE_BRIER,
            ),
        ],
    }
}

fn part() -> Part {
    let shown = [BINARY, WITH_BRIER, LOG, DOUBLE_BRIER, BRIER_ONLY];
    let known = LEVELS.map(|(_, p)| p);
    let by_level = |title: &str, label: &str| {
        Figure::lines(title, "probability that the digit shown is true", label)
            .value_range(0.0, 1.0)
            .points("Bayes-optimal", known.map(|p| (p, p)))
    };
    let two = [BASE, BINARY, WITH_BRIER];
    let everyone = [BASE].into_iter().chain(LEARNERS.into_iter().map(|(arm, ..)| arm));
    let columns =
        [ACCURACY, ECE, BRIER, AUROC, OVERCONFIDENCE, OVERCONFIDENCE_OF_LIKELIHOOD, IMPOSSIBLE];
    Part::new("")
        .figure(
            by_level("Accuracy by what can be known", "accuracy")
                .caption(
                    "The Bayes-optimal policy lies on the diagonal. Below p = 0.648 (log) and 0.5 \
                     (twice Brier) a wrong answer stated with confidence 0 is worth more than the \
                     best guess.",
                )
                .curves(&BY_LEVEL, &Along::places(known), &shown),
        )
        .figure(
            by_level("Stated confidence by what can be known", "mean stated confidence")
                .caption("Calibrated best guesses lie on the diagonal.")
                .curves(&STATED_BY_LEVEL, &Along::places(known), &shown),
        )
        .figure(
            Figure::dots(
                "Where the overconfidence sits",
                two.each_ref().map(Arm::name),
                "mean confidence - accuracy",
            )
            .reference("calibrated on average", 0.0)
            .by_category(
                "likelihood of the answer",
                two.each_ref().map(|arm| OVERCONFIDENCE_OF_LIKELIHOOD.of(arm)),
            )
            .by_category("stated confidence", two.each_ref().map(|arm| OVERCONFIDENCE.of(arm)))
            .caption(
                "Mean confidence less accuracy, for the two confidences a policy has. In \
                 expectation a binary reward gives the stated confidence no gradient; it moves by \
                 sampling noise and shared weights.",
            ),
        )
        .table(Table::of_arms("Every arm", "arm", everyone, columns.map(Column::from)).note(
            "Sampled at temperature 1 on all prompts of the arm's levels. Overconfidence is mean \
             confidence minus accuracy. Impossible answers have probability 0 of being right. Half \
             of the base's demonstrations state the level's reliability, half full confidence.",
        ))
        .table(bandits())
}

fn bandits() -> Table {
    let heads = ["bandit", "reward", "accuracy", "stated confidence", "answer that is never right"];
    let mut table = Table::new("Exact bandits", heads).note(
        "Expected policy gradient from small random logits. The best accuracy is the largest \
         success probability in the bandit's name. A rule that is hacked ends on the answer that \
         is never right.",
    );
    for (bandit, _) in BANDITS {
        for (reward, _) in SCHEMES {
            let metrics =
                [accuracy(bandit, reward), stated(bandit, reward), never_right(bandit, reward)];
            let values = metrics.map(|metric| Value::from(metric.of(BANDITS_ARM)));
            table = table.row([bandit.into(), reward.into()].into_iter().chain(values));
        }
    }
    table
}
