//! What a loop that learns from its own outputs gains, and what it has to import to go on gaining.
//!
//! A synthesis: every method that keeps improving imports information its own samples do not carry;
//! anchors that carry none only slow the loop or cap it at their own level. Sources: Song et al.
//! 2024 (the generation-verification gap), Shafayat et al. 2025 (rise and sudden collapse under
//! majority rewards), Gerstgrasser et al. 2024 (accumulate against replace).
//!
//! Controls: labels by chance, a judge who knows nothing, verdicts and votes dealt out at random,
//! real rows and texts in every round, and facts, which cannot be verified.
//!
//! Contrasts were fixed after pilots on other data, those of regressions before any run. Coverage
//! of the policy that verifies is compared at k = 16: with at most 42 answers to a question 64
//! random ones nearly always hold a right one, whatever a policy has lost.

use headwater_protocol::{Claim, Contrast, Control, Finding, Measure, Registered, Scalar};
use headwater_report::Chapter;

use crate::experiments::self_improvement_classifier::{
    self as classifier, ACCURACY, CHANCE, FROZEN, OWN_MAJORITY, SelfImprovementClassifier,
    corrections, judge, tool,
};
use crate::experiments::self_improvement_collapse::{self as collapse, SelfImprovementCollapse};
use crate::experiments::self_improvement_facts::{self as facts, SelfImprovementFacts};
use crate::experiments::self_improvement_language::{
    self as language, EXCESS, SelfImprovementLanguage, first, last, middle, second_half,
};
use crate::experiments::self_improvement_policy::{
    self as policy, GAP, PASS_1, PASS_16, SelfImprovementPolicy,
};

mod further;
mod measures;
mod page;

use measures::{
    above_cap, contrast, gain, gained_last, guessed, since, tail_first, top_share_gained,
};

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "self-improvement",
            claim: "Self-reward stalls and collapses; every method that keeps improving imports \
                    information its own samples do not carry, and anchors that carry none only \
                    slow the loop or cap it.",
            source: "Song et al. 2024, Mind the Gap, arXiv 2412.02674; Shafayat et al. 2025, Can \
                     Large Reasoning Models Self-Train?, arXiv 2505.21444; Gerstgrasser et al. \
                     2024, arXiv 2404.01413; Shumailov et al. 2023, arXiv 2305.17493",
            experiments: vec![
                Box::new(SelfImprovementClassifier),
                Box::new(SelfImprovementPolicy),
                Box::new(SelfImprovementFacts),
                Box::new(SelfImprovementLanguage),
                Box::new(SelfImprovementCollapse),
            ],
            claims: vec![stalls(), restarted_by_judge(), by_users(), by_tool(), by_past_self()],
            further: further::further(),
            controls: of_facts(),
        },
        differs: &[
            "A network of 2,300 weights and ten answers to a prompt, instead of language models on \
             mathematics: answers are sampled without reasoning, so that what is measured is the \
             loop and not what it is a loop of.",
            "The published early rise under majority rewards is 5 to 10 points; a base fitted to \
             300 labels agrees with itself about as often as it is right, and has little to gain \
             from its majority.",
            "KL to the base is exact, over all answers, not an estimate from samples.",
            "The published loops that collapse are of pretrained models on natural text; here they \
             are a regression, which has a formula and no text, and a decoder of 7,300 weights on \
             text from a source of 64 symbols, whose every probability is known.",
            "The decoder trains new weights in every round and samples without a prompt; OPT-125m \
             was fine-tuned, and prompted with real text.",
            "Judges, users and tools are simulated at a stated accuracy, correlation, share or \
             coverage; what each imported is counted.",
        ],
        parts: page::parts(),
    }
}

fn stalls() -> Claim {
    Claim {
        id: "self-improvement/stalls",
        sentence: "Pure self-improvement stalls: the gap closes, diversity goes, and the own \
                   reward is hacked.",
        contrasts: [majority_stalls(), rows_stall(), text_stalls(), policy_stalls()].concat(),
        controls: vec![
            by_chance(),
            Control::new(
                "all rows real and new: error, round 20 over round 1 - 1",
                collapse::OVER_FIRST.of(collapse::REAL) - 1.0,
                0.2,
            ),
            Control::new(
                "own text, all real and new: excess, round 8 - round 1",
                since(first, language::REAL),
                0.05,
            ),
            permuted("policy, verdicts permuted: pass@1 - base", &PASS_1, 0.05),
            permuted("policy, verdicts permuted: pass@16 - base", &PASS_16, 0.03),
            Control::new(
                "policy, rewards by votes permuted within each question: pass@16 - base",
                PASS_16.difference(policy::MAJORITY_PERMUTED, policy::BASE),
                0.03,
            ),
        ],
    }
}

fn restarted_by_judge() -> Claim {
    use policy::{BOTH, OWN, THIRD_PARTY};
    Claim {
        id: "self-improvement/judge",
        sentence: "A loop that stalls is restarted by a judge.",
        contrasts: vec![
            Contrast::increase(
                "accuracy: independent judge right in 7 of 10 - frozen checkpoint",
                ACCURACY.difference(judge(0.7, 0.0), FROZEN),
                0.05,
            ),
            Contrast::increase(
                "policy, pass@1: third party - own verifier",
                PASS_1.difference(THIRD_PARTY, OWN),
                0.03,
            ),
            Contrast::increase(
                "policy, pass@1: frozen self and third party - third party",
                PASS_1.difference(BOTH, THIRD_PARTY),
                0.01,
            )
            .published("gap 5.46 for all verifiers against 4.66 for the best (Qwen-2 7B)"),
        ],
        controls: vec![
            // It imports a label for every prompt, and they tell nothing.
            Control::new(
                "a judge right in 1 of 10: accuracy, less that under labels by chance",
                ACCURACY.difference(judge(0.1, 0.0), CHANCE),
                0.05,
            ),
            permuted("policy, verdicts permuted: pass@1 - base", &PASS_1, 0.05),
        ],
    }
}

fn by_users() -> Claim {
    Claim {
        id: "self-improvement/users",
        sentence: "A loop that stalls is restarted by its users.",
        contrasts: vec![Contrast::increase(
            "accuracy, users correct 3 of 10 wrong majorities: end - base",
            gain(corrections(0.3)),
            0.02,
        )],
        controls: vec![by_chance()],
    }
}

fn by_tool() -> Claim {
    use policy::{BASE, GOLD, OWN, PROPOSER_SOLVER};
    Claim {
        id: "self-improvement/tool",
        sentence: "A loop that stalls is restarted by a tool.",
        contrasts: vec![
            Contrast::increase(
                "accuracy, a tool checks 3 of 10 prompts: end - base",
                gain(tool(0.3)),
                0.02,
            ),
            Contrast::not_below(
                "policy, pass@16: gold - base",
                PASS_16.difference(GOLD, BASE),
                0.03,
            )
            .published("no loss with gold labels"),
            Contrast::increase(
                "policy, pass@1: gold - own verifier",
                PASS_1.difference(GOLD, OWN),
                0.05,
            )
            .room(1.0 - PASS_1.of(OWN)),
            Contrast::increase(
                "policy, pass@1 gained in the last round: gold - own verifier",
                gained_last(GOLD) - gained_last(OWN),
                0.01,
            ),
            Contrast::increase(
                "policy, pass@1: proposer and solver - base",
                PASS_1.difference(PROPOSER_SOLVER, BASE),
                0.05,
            ),
            Contrast::increase(
                "facts, accuracy on unknown keys: learning from the table - base",
                facts::ACCURACY_UNKNOWN.difference(facts::TABLE, facts::BASE),
                0.05,
            )
            .room(1.0 - facts::ACCURACY_UNKNOWN.of(facts::BASE)),
        ],
        controls: vec![
            by_chance(),
            permuted("policy, verdicts permuted: pass@1 - base", &PASS_1, 0.05),
            permuted("policy, verdicts permuted: pass@16 - base", &PASS_16, 0.03),
        ],
    }
}

fn by_past_self() -> Claim {
    use policy::{SELF_JUDGING, TEMPORAL};
    Claim {
        id: "self-improvement/past-self",
        sentence: "A loop that stalls is restarted by its own past self.",
        contrasts: vec![Contrast::increase(
            "policy, right chosen less right rejected: temporal - self-judging",
            contrast("contrast of policy-temporal, of its pairs", TEMPORAL)
                - contrast("contrast of policy-self-judging, of its pairs", SELF_JUDGING),
            0.05,
        )],
        controls: vec![permuted("policy, verdicts permuted: pass@1 - base", &PASS_1, 0.05)],
    }
}

fn by_chance() -> Control {
    let name = "labels by chance: top-answer share, end - base";
    Control::new(name, top_share_gained(CHANCE), 0.05)
}

fn permuted(name: &str, metric: &Scalar, margin: f64) -> Control {
    Control::new(name, metric.difference(policy::PERMUTED, policy::BASE), margin)
}

fn majority_stalls() -> Vec<Contrast> {
    use classifier::{BASE_ACCURACY, EARLY_ACCURACY, FIXED_16, GROUP_4, KL};
    let imports_nothing = [OWN_MAJORITY, GROUP_4, FIXED_16, KL, FROZEN];
    vec![
        Contrast::decrease("accuracy, own majority: end - base", gain(OWN_MAJORITY), 0.1),
        Contrast::increase(
            "top-answer share, own majority: end - base",
            top_share_gained(OWN_MAJORITY),
            0.2,
        ),
        Contrast::decrease(
            "accuracy: own majority - labels by chance",
            ACCURACY.difference(OWN_MAJORITY, CHANCE),
            0.1,
        ),
        Contrast::increase(
            "accuracy, own majority: after 100 steps - base",
            EARLY_ACCURACY.of(OWN_MAJORITY) - BASE_ACCURACY.of(OWN_MAJORITY),
            0.01,
        )
        .published("+.05 to +.10 before the collapse (Reasoning Gym tasks)"),
        // Known not to hold at this size.
        Contrast::unchanged(
            "accuracy: own majority with KL 0.3 - without",
            ACCURACY.difference(KL, OWN_MAJORITY),
            0.05,
        )
        .published("a larger KL coefficient does not prevent the collapse"),
        Contrast::unchanged(
            "accuracy, frozen checkpoint's labels, less the base's greedy",
            above_cap(FROZEN),
            0.03,
        ),
        Contrast::unchanged(
            "what imports nothing, the best accuracy less the base's greedy",
            Measure::largest(imports_nothing.map(above_cap)),
            0.03,
        ),
    ]
}

fn rows_stall() -> Vec<Contrast> {
    vec![
        Contrast::increase(
            "error, rows replaced: round 20 over round 1 - 1",
            collapse::OVER_FIRST.of(collapse::REPLACE) - 1.0,
            10.0,
        )
        .published("n times the first error: 19 here; loss 2.85 to 3.45 in 10 rounds (125M model)")
        .registered(Registered::Before),
        Contrast::unchanged(
            "Gaussian: variance left after 20 rounds, less its formula",
            collapse::LAST.of(collapse::GAUSSIAN) - collapse::variance_left(),
            0.05,
        )
        .published("(1 - 1/20)^20 = 0.358")
        .registered(Registered::Before),
    ]
}

fn text_stalls() -> Vec<Contrast> {
    use language::{COOL, ENTROPY, REAL, REPLACE};
    vec![
        Contrast::increase(
            "own text: excess, replaced - all real, round 8",
            last(&EXCESS).difference(REPLACE, REAL),
            0.1,
        )
        .published("loss 2.85 to 3.45 in 10 rounds (125M model)"),
        Contrast::increase(
            "own text: excess, replaced, round 8 - round 4",
            since(middle, REPLACE),
            0.05,
        ),
        Contrast::decrease(
            "own text: log of what is left, rare - frequent, replaced, rounds 5 to 8",
            tail_first(second_half, REPLACE),
            0.1,
        )
        .published("tails vanish first"),
        Contrast::decrease(
            "own text: log of what is left, rare - frequent, temperature 0.8, round 4",
            tail_first(middle, COOL),
            0.5,
        ),
        Contrast::decrease(
            "own text: entropy, temperature 0.8 - 1, round 8",
            last(&ENTROPY).difference(COOL, REPLACE),
            0.5,
        )
        .published("cherry-picking keeps quality and loses diversity"),
    ]
}

fn policy_stalls() -> Vec<Contrast> {
    use policy::{BASE, MAJORITY, OWN, SPIN};
    vec![
        Contrast::decrease(
            "policy, gap of the own verifier: after 4 rounds - before",
            GAP.difference(OWN, BASE),
            0.1,
        )
        .published("to below .005 in 2-3 rounds (GSM8K, 7B to 72B)"),
        Contrast::unchanged("policy, gap of the own verifier after 4 rounds", GAP.of(OWN), 0.05),
        Contrast::increase(
            "policy, pass@1: own verifier - base",
            PASS_1.difference(OWN, BASE),
            0.05,
        ),
        Contrast::decrease(
            "policy, pass@16: own verifier - base",
            PASS_16.difference(OWN, BASE),
            0.03,
        )
        .published("pass@k falls at large k"),
        Contrast::decrease(
            "policy, pass@16: own majority - base",
            PASS_16.difference(MAJORITY, BASE),
            0.03,
        ),
        Contrast::unchanged(
            "policy, pass@1: SPIN - base, on data like the base's",
            PASS_1.difference(SPIN, BASE),
            0.03,
        ),
    ]
}

/// What a policy does not know it cannot verify: of the whole finding.
fn of_facts() -> Vec<Control> {
    use facts::{ACCURACY_UNKNOWN, AUROC_UNKNOWN, BASE, OWN};
    vec![
        // Not the gap, which is 0 for a verifier that accepts nothing, too.
        Control::new(
            "facts, AUROC of own scores for right values of unknown keys - 1/2",
            guessed("AUROC of facts-base, if it guesses", &AUROC_UNKNOWN, BASE) - 0.5,
            0.03,
        ),
        Control::new(
            "facts, accuracy on unknown keys: learning from one's own verdicts - base",
            guessed("accuracy of facts-self, if it guesses", &ACCURACY_UNKNOWN, OWN)
                - guessed("accuracy of facts-base, if it guesses", &ACCURACY_UNKNOWN, BASE),
            0.02,
        ),
    ]
}
