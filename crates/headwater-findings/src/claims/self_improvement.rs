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

use headwater_protocol::{
    Arm, Claim, Contrast, Control, Finding, Measure, ProtocolError, Registered, Scalar, Series,
};
use headwater_report::Chapter;

use crate::experiments::self_improvement_classifier::{
    self as classifier, CHANCE, FIXED_16, FROZEN, GOLD_TENTH, GROUP_4, OWN_MAJORITY,
    SelfImprovementClassifier, corrections, judge, tool,
};
use crate::experiments::self_improvement_collapse::{self as collapse, SelfImprovementCollapse};
use crate::experiments::self_improvement_facts::{self as facts, SelfImprovementFacts};
use crate::experiments::self_improvement_language::{
    self as language, EXCESS, SelfImprovementLanguage, first, last, middle, second_half,
};
use crate::experiments::self_improvement_policy::{
    self as policy, GAP, PASS_1, PASS_16, SelfImprovementPolicy, by_round,
};

mod page;

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "self-improvement",
            claim: "Self-reward stalls and collapses; every method that keeps improving imports \
                    information its own samples do not carry, and anchors that carry none only slow \
                    the loop or cap it.",
            source: "Song et al. 2024, Mind the Gap, arXiv 2412.02674; Shafayat et al. 2025, Can \
                     Large Reasoning Models Self-Train?, arXiv 2505.21444; Gerstgrasser et al. 2024, \
                     arXiv 2404.01413; Shumailov et al. 2023, arXiv 2305.17493",
            experiments: vec![
                Box::new(SelfImprovementClassifier),
                Box::new(SelfImprovementPolicy),
                Box::new(SelfImprovementFacts),
                Box::new(SelfImprovementLanguage),
                Box::new(SelfImprovementCollapse),
            ],
            claims: vec![stalls(), restarted_by_judge(), by_users(), by_tool(), by_past_self()],
            further: [of_labels(), of_rows(), of_text(), of_verifying()].concat(),
            controls: of_facts(),
        },
        differs: &[
            "A network of 2,300 weights and ten answers to a prompt, instead of language models on \
             mathematics: answers are sampled without reasoning, so that what is measured is the \
             loop and not what it is a loop of.",
            "The published early rise under majority rewards is 5 to 10 points; a base fitted to 300 \
             labels agrees with itself about as often as it is right, and has little to gain from \
             its majority.",
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
        sentence: "Pure self-improvement stalls: the gap closes, diversity goes, and the own reward \
                   is hacked.",
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
    Claim {
        id: "self-improvement/judge",
        sentence: "A loop that stalls is restarted by a judge.",
        contrasts: vec![
            Contrast::increase(
                "accuracy: independent judge right in 7 of 10 - frozen checkpoint",
                classifier::ACCURACY.difference(judge(0.7, 0.0), FROZEN),
                0.05,
            ),
            Contrast::increase(
                "policy, pass@1: third party - own verifier",
                PASS_1.difference(policy::THIRD_PARTY, policy::OWN),
                0.03,
            ),
            Contrast::increase(
                "policy, pass@1: frozen self and third party - third party",
                PASS_1.difference(policy::BOTH, policy::THIRD_PARTY),
                0.01,
            )
            .published("gap 5.46 for all verifiers against 4.66 for the best (Qwen-2 7B)"),
        ],
        controls: vec![
            // It imports a label for every prompt, and they tell nothing.
            Control::new(
                "a judge right in 1 of 10: accuracy, less that under labels by chance",
                classifier::ACCURACY.difference(judge(0.1, 0.0), CHANCE),
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
    let gained = |arm: Arm| {
        let rounds = by_round(&PASS_1);
        rounds.last(&arm) - rounds.from_end(1, arm)
    };
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
                PASS_16.difference(policy::GOLD, policy::BASE),
                0.03,
            )
            .published("no loss with gold labels"),
            Contrast::increase(
                "policy, pass@1: gold - own verifier",
                PASS_1.difference(policy::GOLD, policy::OWN),
                0.05,
            )
            .room(1.0 - PASS_1.of(policy::OWN)),
            Contrast::increase(
                "policy, pass@1 gained in the last round: gold - own verifier",
                gained(policy::GOLD) - gained(policy::OWN),
                0.01,
            ),
            Contrast::increase(
                "policy, pass@1: proposer and solver - base",
                PASS_1.difference(policy::PROPOSER_SOLVER, policy::BASE),
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
    let paired = |name, arm: Arm| {
        let reads = [policy::PAIRS.read(&arm), policy::CONTRAST.read_rare(arm)];
        Measure::computed(name, reads, |read| match read[1] {
            [contrast] if read[0] != [0.0] => Ok(*contrast),
            _ => Err(ProtocolError::Undefined("there is no pair to learn from".into())),
        })
    };
    Claim {
        id: "self-improvement/past-self",
        sentence: "A loop that stalls is restarted by its own past self.",
        contrasts: vec![Contrast::increase(
            "policy, right chosen less right rejected: temporal - self-judging",
            paired("contrast of policy-temporal, of its pairs", policy::TEMPORAL)
                - paired("contrast of policy-self-judging, of its pairs", policy::SELF_JUDGING),
            0.05,
        )],
        controls: vec![],
    }
}

/// Accuracy of a classifier at the end less that of its base.
fn gain(arm: impl Into<Arm>) -> Measure {
    let arm = arm.into();
    classifier::ACCURACY.of(&arm) - classifier::BASE_ACCURACY.of(arm)
}

/// Accuracy of a classifier less what the base's likeliest answers have: the level of its own
/// majority.
fn above_cap(arm: Arm) -> Measure {
    classifier::ACCURACY.of(&arm) - classifier::BASE_GREEDY.of(arm)
}

fn top_share_gained(arm: Arm) -> Measure {
    classifier::TOP_SHARE.of(&arm) - classifier::BASE_TOP_SHARE.of(arm)
}

/// Excess of a decoder on its own text after the last round less that after an earlier one.
fn since(time: fn(&Series) -> Scalar, arm: Arm) -> Measure {
    last(&EXCESS).of(&arm) - time(&EXCESS).of(arm)
}

/// How much more rare symbols have lost than frequent ones, in an arm less where nothing loops.
fn tail_first(time: fn(&Series) -> Scalar, arm: Arm) -> Measure {
    let lost = |arm: Arm| time(&language::RARE).of(&arm) - time(&language::FREQUENT).of(arm);
    lost(arm) - lost(language::REAL)
}

fn by_chance() -> Control {
    let name = "labels by chance: top-answer share, end - base";
    Control::new(name, top_share_gained(CHANCE), 0.05)
}

fn permuted(name: &str, metric: &Scalar, margin: f64) -> Control {
    Control::new(name, metric.difference(policy::PERMUTED, policy::BASE), margin)
}

fn majority_stalls() -> Vec<Contrast> {
    let accuracy = classifier::ACCURACY;
    let imports_nothing = [OWN_MAJORITY, GROUP_4, FIXED_16, classifier::KL, FROZEN];
    vec![
        Contrast::decrease("accuracy, own majority: end - base", gain(OWN_MAJORITY), 0.1),
        Contrast::increase(
            "top-answer share, own majority: end - base",
            top_share_gained(OWN_MAJORITY),
            0.2,
        ),
        Contrast::decrease(
            "accuracy: own majority - labels by chance",
            accuracy.difference(OWN_MAJORITY, CHANCE),
            0.1,
        ),
        Contrast::increase(
            "accuracy, own majority: after 100 steps - base",
            classifier::EARLY_ACCURACY.of(OWN_MAJORITY)
                - classifier::BASE_ACCURACY.of(OWN_MAJORITY),
            0.01,
        )
        .published("+.05 to +.10 before the collapse (Reasoning Gym tasks)"),
        // Known not to hold at this size.
        Contrast::unchanged(
            "accuracy: own majority with KL 0.3 - without",
            accuracy.difference(classifier::KL, OWN_MAJORITY),
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
    vec![
        Contrast::increase(
            "own text: excess, replaced - all real, round 8",
            last(&EXCESS).difference(language::REPLACE, language::REAL),
            0.1,
        )
        .published("loss 2.85 to 3.45 in 10 rounds (125M model)"),
        Contrast::increase(
            "own text: excess, replaced, round 8 - round 4",
            since(middle, language::REPLACE),
            0.05,
        ),
        Contrast::decrease(
            "own text: log of what is left, rare - frequent, replaced, rounds 5 to 8",
            tail_first(second_half, language::REPLACE),
            0.1,
        )
        .published("tails vanish first"),
        Contrast::decrease(
            "own text: log of what is left, rare - frequent, temperature 0.8, round 4",
            tail_first(middle, language::COOL),
            0.5,
        ),
        Contrast::decrease(
            "own text: entropy, temperature 0.8 - 1, round 8",
            last(&language::ENTROPY).difference(language::COOL, language::REPLACE),
            0.5,
        )
        .published("cherry-picking keeps quality and loses diversity"),
    ]
}

fn policy_stalls() -> Vec<Contrast> {
    vec![
        Contrast::decrease(
            "policy, gap of the own verifier: after 4 rounds - before",
            GAP.difference(policy::OWN, policy::BASE),
            0.1,
        )
        .published("to below .005 in 2-3 rounds (GSM8K, 7B to 72B)"),
        Contrast::unchanged(
            "policy, gap of the own verifier after 4 rounds",
            GAP.of(policy::OWN),
            0.05,
        ),
        Contrast::increase(
            "policy, pass@1: own verifier - base",
            PASS_1.difference(policy::OWN, policy::BASE),
            0.05,
        ),
        Contrast::decrease(
            "policy, pass@16: own verifier - base",
            PASS_16.difference(policy::OWN, policy::BASE),
            0.03,
        )
        .published("pass@k falls at large k"),
        Contrast::decrease(
            "policy, pass@16: own majority - base",
            PASS_16.difference(policy::MAJORITY, policy::BASE),
            0.03,
        ),
        Contrast::unchanged(
            "policy, pass@1: SPIN - base, on data like the base's",
            PASS_1.difference(policy::SPIN, policy::BASE),
            0.03,
        ),
    ]
}

/// Of the classifier: what delays its collapse, and what a few true labels do.
fn of_labels() -> Vec<Contrast> {
    let accuracy = classifier::ACCURACY;
    let stopped = || classifier::STOPPED_ACCURACY.of(OWN_MAJORITY);
    vec![
        // Known not to hold at this size.
        Contrast::increase(
            "accuracy, own majority: groups of 4 - of 16",
            accuracy.difference(GROUP_4, OWN_MAJORITY),
            0.02,
        )
        .published("fewer rollouts per prompt delay it"),
        Contrast::increase(
            "accuracy, own majority: 16 fixed prompts - fresh ones",
            accuracy.difference(FIXED_16, OWN_MAJORITY),
            0.1,
        )
        .published("no collapse on 30 prompts that come again and again"),
        Contrast::increase(
            "accuracy: gold - frozen checkpoint",
            accuracy.difference(classifier::GOLD, FROZEN),
            0.05,
        ),
        Contrast::decrease("accuracy, 1 of 10 labels of gold: end - base", gain(GOLD_TENTH), 0.05),
        Contrast::increase(
            "accuracy, own majority: stopped by 20 labels - at the end",
            stopped() - accuracy.of(OWN_MAJORITY),
            0.1,
        )
        .published("early stopping on 1% labels finds the peak"),
        Contrast::not_below(
            "accuracy, own majority: stopped by 20 labels - base",
            stopped() - classifier::BASE_ACCURACY.of(OWN_MAJORITY),
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
    vec![
        Contrast::decrease(
            "policy, pass@16: third party - base",
            PASS_16.difference(policy::THIRD_PARTY, policy::BASE),
            0.03,
        )
        .published("the loss remains with a 72B verifier of a 7B policy"),
        Contrast::increase(
            "policy, pass@1, fits from the base: second attempts with a hint - without",
            PASS_1.difference(policy::STAR, policy::STAR_NO_HINT),
            0.01,
        ),
        Contrast::increase(
            "policy, gap: verification learnt - not learnt",
            GAP.difference(policy::BASE, policy::UNVERIFIED),
            0.1,
        ),
        Contrast::unchanged(
            "policy, gap where verification was not learnt",
            GAP.of(policy::UNVERIFIED),
            0.1,
        ),
    ]
}

/// Least share of answers to unknown keys that are values where something is said of them.
const LEAST_VALUES: f64 = 0.05;

/// What a policy does not know it cannot verify: of the whole finding.
fn of_facts() -> Vec<Control> {
    use facts::{ACCURACY_UNKNOWN, AUROC_UNKNOWN, BASE, OWN, VALUES_UNKNOWN};
    // A metric of answers to unknown keys, of which some have to be values.
    let guessed = |name, metric: Scalar, arm: Arm| {
        let reads = [VALUES_UNKNOWN.read(&arm), metric.read_rare(arm)];
        Measure::computed(name, reads, |read| match (read[0], read[1]) {
            ([values], [metric]) if *values >= LEAST_VALUES => Ok(*metric),
            (values, _) => Err(ProtocolError::Undefined(format!(
                "{} of its answers to unknown keys are values",
                values[0]
            ))),
        })
    };
    vec![
        // Not the gap, which is 0 for a verifier that accepts nothing, too.
        Control::new(
            "facts, AUROC of own scores for right values of unknown keys - 1/2",
            guessed("AUROC, unknown of facts-base, if it guesses", AUROC_UNKNOWN, BASE) - 0.5,
            0.03,
        ),
        Control::new(
            "facts, accuracy on unknown keys: learning from one's own verdicts - base",
            guessed("accuracy, unknown of facts-self, if it guesses", ACCURACY_UNKNOWN, OWN)
                - guessed("accuracy, unknown of facts-base, if it guesses", ACCURACY_UNKNOWN, BASE),
            0.02,
        ),
    ]
}
