//! Learning from right answers alone loses pass@k, learning from wrong ones alone keeps it.
//!
//! Zhu et al. 2025 (arXiv 2506.01347): positive sample reinforcement (PSR) raises pass@1 and loses
//! pass@k at large k; negative sample reinforcement (NSR) raises pass@1 and keeps pass@k, and the
//! policy's entropy; W-REINFORCE (positives at weight 0.1) is best of both.
//!
//! The control gives PSR and NSR verdicts permuted at random within each batch. What separates the
//! two must then vanish.

use headwater_protocol::{Arm, Claim, Contrast, Control, Finding};
use headwater_report::{Along, Chapter, Column, Figure, Part, Scale, Table};

use crate::experiments::negative_reinforcement::{
    BASE, ENTROPY, KS, NSR, NSR_PERMUTED, NegativeReinforcement, PASS_1, PASS_1_EQUAL_ENTROPY,
    PASS_16, PASS_256, PASS_256_EQUAL_ENTROPY, PASS_AT, PASS_AT_EQUAL_ENTROPY, PSR, PSR_PERMUTED,
    ROWS, TEMPERATURE, TRAINING_ENTROPY, UNIQUE, learners,
};

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "negative-reinforcement",
            claim: "Learning from wrong answers alone raises pass@1 and keeps pass@k, where \
                    learning from right answers alone loses it.",
            source: "Zhu et al. 2025, The Surprising Effectiveness of Negative Reinforcement in \
                     LLM Reasoning, arXiv 2506.01347",
            experiments: vec![Box::new(NegativeReinforcement)],
            claims: vec![pass_at_k(), positives_lose()],
            further: vec![],
            controls: vec![],
        },
        differs: &[
            "A decoder of about 100,000 parameters trained here on countdown puzzles, instead of \
             Qwen2.5-Math-7B on MATH; answers are seven tokens long.",
            "Strictly on-policy with one optimiser step per batch for every arm; the published code \
             takes up to four, fewer for PSR and NSR because rows are dropped.",
            "Token means are taken over the rows kept in the whole batch, not per micro-batch.",
        ],
        parts: vec![part()],
    }
}

fn pass_at_k() -> Claim {
    Claim {
        id: "negative-reinforcement/pass-at-k",
        sentence: "Negatives alone raise pass@k across the spectrum, as far as PPO and GRPO.",
        contrasts: vec![
            Contrast::increase("pass@256: NSR - PSR", PASS_256.difference(NSR, PSR), 0.03)
                .published("+.057 (MATH, .912 to .969)")
                .room(1.0 - PASS_256.of(PSR)),
            Contrast::not_below("pass@256: NSR - base", PASS_256.difference(NSR, BASE), 0.03)
                .published("0 (MATH, .969 both)"),
            Contrast::increase("pass@1: NSR - base", PASS_1.difference(NSR, BASE), 0.03)
                .published("+.125 (MATH, .632 to .757)")
                .room(1.0 - PASS_1.of(BASE)),
        ],
        controls: vec![
            permuted(),
            Control::new(
                "verdicts permuted: pass@1, NSR - base",
                PASS_1.difference(NSR_PERMUTED, BASE),
                0.03,
            ),
        ],
    }
}

fn positives_lose() -> Claim {
    Claim {
        id: "negative-reinforcement/positives-lose",
        sentence: "Positives alone lose large k by piling probability on a few answers.",
        contrasts: vec![
            Contrast::decrease("pass@256: PSR - base", PASS_256.difference(PSR, BASE), 0.03)
                .published("-.057 (MATH, .969 to .912)"),
            Contrast::increase("pass@1: PSR - base", PASS_1.difference(PSR, BASE), 0.03)
                .published("+.109 (MATH, .632 to .741)")
                .room(1.0 - PASS_1.of(BASE)),
            Contrast::increase(
                "token entropy (nats): NSR - PSR",
                ENTROPY.difference(NSR, PSR),
                0.02,
            )
            .published("NSR stays near the base, PSR falls fastest")
            .room(ENTROPY.of(BASE)),
        ],
        controls: vec![permuted()],
    }
}

fn permuted() -> Control {
    Control::new(
        "verdicts permuted: pass@256, NSR - PSR",
        PASS_256.difference(NSR_PERMUTED, PSR_PERMUTED),
        0.03,
    )
}

fn part() -> Part {
    // The permuted arms answer one question, in the table.
    let honest: Vec<Arm> =
        learners().into_iter().filter(|(.., permuted)| !permuted).map(|(arm, ..)| arm).collect();
    let everyone = || [BASE].into_iter().chain(learners().into_iter().map(|(arm, ..)| arm));
    let curve = |title: &str, caption: &str| {
        Figure::lines(title, "k", "pass@k on held-out puzzles")
            .x_scale(Scale::Log2)
            .value_range(0.0, 1.0)
            .caption(caption)
            .curve("base", &PASS_AT, &Along::counts(KS), BASE)
    };
    let mut entropy = Figure::lines("Entropy in training", "step", "token entropy, nats").caption(
        "Mean entropy of the distributions the rollouts were sampled from, every 20th step.",
    );
    for arm in &honest {
        let (label, steps) = (arm.to_string(), Along::steps());
        entropy = entropy.thinned_curve(label, &TRAINING_ENTROPY, &steps, arm, 20);
    }
    let columns = [
        PASS_1,
        PASS_16,
        PASS_256,
        ENTROPY,
        UNIQUE,
        TEMPERATURE,
        PASS_1_EQUAL_ENTROPY,
        PASS_256_EQUAL_ENTROPY,
        ROWS,
    ];
    Part::new("")
        .figure(
            curve("pass@k at temperature 1", "256 samples per puzzle, unbiased estimate.").curves(
                &PASS_AT,
                &Along::counts(KS),
                &honest,
            ),
        )
        .figure(
            curve(
                "pass@k at equal entropy",
                "Every arm sampled at the temperature at which its token entropy equals the \
                 base's.",
            )
            .curves(&PASS_AT_EQUAL_ENTROPY, &Along::counts(KS), &honest),
        )
        .figure(entropy)
        .table(Table::of_arms("Every arm", "arm", everyone(), columns.map(Column::from)).note(
            "Held-out puzzles. Rows used is the share of rollouts that carried a gradient: PSR \
             drops wrong answers, NSR right ones; every arm takes one optimiser step per batch.",
        ))
}
