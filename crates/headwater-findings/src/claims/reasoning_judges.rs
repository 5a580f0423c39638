//! What a judge gains by reasoning before its verdict, and by more compute per verdict.
//!
//! Guo et al. 2025 (arXiv 2505.14674), Chen et al. 2025 (arXiv 2505.02387), Liu et al. 2025 (arXiv
//! 2504.02495): a judge that reasons before its verdict is right more often than one that scores
//! directly, and test-time compute helps.
//!
//! Control: judges of chains of one step, where one look suffices.

use headwater_protocol::{Claim, Contrast, Control, Finding, Registered};
use headwater_report::Chapter;

use crate::experiments::reasoning_judges::{
    ACCURACY_DEEP, ACCURACY_LONGER, ACCURACY_TRAINED, BEST_OF_16, BEST_OF_N, BY_LENGTH, DIRECT,
    FOREIGN, MOST_FILTERED, MOST_VOTES, ONE_STEP_DIRECT, ONE_STEP_REASONING, PLAIN, REASONING,
    REASONING_RL, RL_ONLY, ReasoningJudges, SCALAR, STOPPED, TAG_ON_WRONG,
};

mod page;

/// The finding.
pub(super) fn chapter() -> Chapter {
    Chapter {
        finding: Finding {
            id: "reasoning-judges",
            claim: "A judge that reasons before its verdict is right more often than one that \
                    scores directly, and test-time compute helps.",
            source: "Guo et al. 2025, Reward Reasoning Model, arXiv 2505.14674; Chen et al. 2025, \
                     RM-R1, arXiv 2505.02387; Liu et al. 2025, Inference-Time Scaling for \
                     Generalist Reward Modeling, arXiv 2504.02495",
            experiments: vec![Box::new(ReasoningJudges)],
            claims: vec![ceiling(), scales(), fewer_blind_spots()],
            further: vec![],
            controls: vec![],
        },
        differs: &[
            "Decoders of about 28,000 parameters trained here on chains of arithmetic modulo 5, \
             instead of language models of 7 to 32 billion on human preferences: this shows the \
             mechanism (serial compute and sampling), not that the gains on benchmarks transfer.",
            "Demonstrated derivations come from a generator that slips with probability 0.05 at a \
             step and states the labelled verdict in the end; the published ones are written by \
             larger models and filtered by the label.",
            "Reinforcement without a supervised stage starts from the base, which has seen \
             derivations of one step only; the published runs start from a model that can already \
             reason at length. It has the same number of rollouts as after a supervised stage, \
             1600 labels in all.",
            "The filter is a logistic regression on five numbers about a judgement (its length, \
             how sure of its tokens the judge was, whether the verdict names what the derivation \
             came to), instead of a reward model that reads it.",
            "Stopping at a lead is this project's addition: none of the three sources stops by \
             confidence.",
            "Candidates for selection are made by chains with random slips, not by a policy; \
             identical ones are not judged against each other. Ratings are Bradley-Terry \
             strengths of a round robin of distinct candidates, where the source says Elo.",
        ],
        parts: vec![page::part()],
    }
}

fn one_look_suffices() -> Control {
    Control::new(
        "one look suffices (chains of one step): accuracy, reasoning - direct",
        BY_LENGTH.first(ONE_STEP_REASONING) - BY_LENGTH.first(ONE_STEP_DIRECT),
        0.03,
    )
}

fn ceiling() -> Claim {
    Claim {
        id: "reasoning-judges/ceiling",
        sentence: "Reasoning before scoring raises the ceiling of a judge.",
        contrasts: vec![
            Contrast::increase(
                "accuracy, 4 to 6 steps: reasoning - direct",
                ACCURACY_TRAINED.difference(REASONING, DIRECT),
                0.1,
            )
            .published("+.038 (mean of three benchmarks, .774 to .812; RM-R1, 32B)")
            .room(1.0 - ACCURACY_TRAINED.of(DIRECT)),
            Contrast::increase(
                "accuracy, 4 to 6 steps: reasoning - scalar",
                ACCURACY_TRAINED.difference(REASONING, SCALAR),
                0.1,
            )
            .published("+.013 (mean of four benchmarks, .686 to .699 greedy; DeepSeek-GRM, 27B)")
            .room(1.0 - ACCURACY_TRAINED.of(SCALAR)),
            Contrast::increase(
                "accuracy, untrained 8 to 12 steps: reasoning - direct",
                ACCURACY_LONGER.difference(REASONING, DIRECT),
                0.05,
            )
            .room(1.0 - ACCURACY_LONGER.of(DIRECT)),
            Contrast::increase(
                "accuracy: own derivations - foreign derivations",
                ACCURACY_TRAINED.difference(REASONING, FOREIGN),
                0.1,
            )
            .room(1.0 - ACCURACY_TRAINED.of(FOREIGN)),
            Contrast::increase(
                "accuracy: reinforced with - without supervised derivations",
                ACCURACY_TRAINED.difference(REASONING_RL, RL_ONLY),
                0.05,
            )
            .published("+.006 (RewardBench, .908 to .914; RM-R1, 32B)")
            .room(1.0 - ACCURACY_TRAINED.of(RL_ONLY)),
            Contrast::increase(
                "accuracy, 4 to 12 steps: reinforced - supervised only",
                ACCURACY_DEEP.difference(REASONING_RL, REASONING),
                0.01,
            )
            .room(1.0 - ACCURACY_DEEP.of(REASONING)),
        ],
        controls: vec![one_look_suffices()],
    }
}

fn scales() -> Claim {
    Claim {
        id: "reasoning-judges/scales",
        sentence: "Test-time compute buys accuracy, spent where it is needed.",
        contrasts: vec![
            Contrast::increase(
                "reasoning, 4 to 12 steps: 15 votes - one vote",
                PLAIN.change(REASONING),
                0.01,
            )
            .published("+.031 (32 votes, .679 to .710; DeepSeek-GRM, 27B)")
            .room(1.0 - PLAIN.first(REASONING)),
            Contrast::increase(
                "reasoning, 4 to 12 steps: 15 votes - greedy",
                MOST_VOTES.of(REASONING) - ACCURACY_DEEP.of(REASONING),
                0.01,
            )
            .published("+.011 (32 votes, .699 to .710; DeepSeek-GRM, 27B)")
            .room(1.0 - ACCURACY_DEEP.of(REASONING)),
            Contrast::increase(
                "reasoning, 4 to 12 steps: best 8 of 15 votes - all 15",
                MOST_FILTERED.of(REASONING) - MOST_VOTES.of(REASONING),
                0.01,
            )
            .published("+.018 (best 16 of 32, .710 to .728; DeepSeek-GRM, 27B)")
            .room(1.0 - MOST_VOTES.of(REASONING)),
            Contrast::not_below(
                "reasoning, 4 to 12 steps: stopped at a lead of 3 - 15 votes",
                STOPPED.at(2, REASONING) - MOST_VOTES.of(REASONING),
                0.02,
            ),
        ],
        controls: vec![one_look_suffices()],
    }
}

fn fewer_blind_spots() -> Claim {
    Claim {
        id: "reasoning-judges/fewer-blind-spots",
        sentence: "A judge that reasons leaves fewer blind spots for optimisation to exploit.",
        contrasts: vec![
            Contrast::increase(
                "accuracy, tag on the wrong candidate: reasoning - direct",
                TAG_ON_WRONG.difference(REASONING, DIRECT),
                0.1,
            )
            .room(1.0 - TAG_ON_WRONG.of(DIRECT)),
            Contrast::increase(
                "right answers, best of 16: by reasoning - by direct",
                BEST_OF_16.difference(REASONING, DIRECT),
                0.1,
            )
            .room(1.0 - BEST_OF_16.of(DIRECT)),
            // In place of "best of 16 - peak over n", which is 0 wherever the curve rises to its
            // end.
            Contrast::not_below(
                "right answers, by reasoning: best of 16 - best of 4",
                BEST_OF_N.at(15, REASONING) - BEST_OF_N.at(3, REASONING),
                0.02,
            )
            .registered(Registered::PostHoc),
        ],
        controls: vec![one_look_suffices()],
    }
}
