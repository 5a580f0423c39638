//! Contrasts, controls, figures and tables of the part.
//!
//! Contrasts were fixed after pilots on other data: budgets and learning rates came from those. Coverage is compared at k = 16: with at
//! most 42 answers to a question 64 random ones nearly always hold a right one, whatever a policy has lost.

use headwater_protocol::{
    Contrast, Control, Direction, Figure, PerSeed, Point, ProtocolError, Records, Registered,
    SeedRecords, Table, TableValue,
};

use super::{BASE, JUDGE, ROUNDS, UNVERIFIED};

/// Arms that learn, in the order of the tables.
const LOOPS: [&str; 18] = [
    "policy-self",
    "policy-self-restart",
    "policy-frozen",
    "policy-third-party",
    "policy-both",
    "policy-gold",
    "policy-permuted",
    "policy-gold-restart",
    "policy-star",
    "policy-star-no-hint",
    "policy-single",
    "policy-majority",
    "policy-majority-fixed",
    "policy-majority-permuted",
    "policy-self-judging",
    "policy-temporal",
    "policy-spin",
    "policy-proposer-solver",
];

/// What the last round added to pass@1.
fn last_gain(seed: &SeedRecords<'_>, arm: &str) -> Result<f64, ProtocolError> {
    let rounds = seed.series(arm, "pass@1/rounds")?;
    Ok(rounds.windows(2).last().map_or(0.0, |two| two[1] - two[0]))
}

pub(in super::super) fn contrasts() -> Vec<Contrast> {
    use Direction::{Decrease, Increase, NotBelow, Unchanged};
    let contrast = |name, direction, smallest, per_seed: PerSeed| {
        Contrast::new(name, direction, smallest, Registered::AfterPilot, per_seed)
    };
    vec![
        Contrast {
            published: Some("to below .005 in 2-3 rounds (GSM8K, 7B to 72B)"),
            ..contrast(
                "policy, gap of the own verifier: after 4 rounds - before",
                Decrease,
                0.1,
                |seed| seed.difference("gap", "policy-self", BASE),
            )
        },
        contrast("policy, gap of the own verifier after 4 rounds", Unchanged, 0.05, |seed| {
            seed.scalar("policy-self", "gap")
        }),
        contrast("policy, pass@1: own verifier - base", Increase, 0.05, |seed| {
            seed.difference("pass@1", "policy-self", BASE)
        }),
        Contrast {
            published: Some("pass@k falls at large k"),
            ..contrast("policy, pass@16: own verifier - base", Decrease, 0.03, |seed| {
                seed.difference("pass@16", "policy-self", BASE)
            })
        },
        Contrast {
            published: Some("the loss remains with a 72B verifier of a 7B policy"),
            ..contrast("policy, pass@16: third party - base", Decrease, 0.03, |seed| {
                seed.difference("pass@16", "policy-third-party", BASE)
            })
        },
        contrast("policy, pass@16: own majority - base", Decrease, 0.03, |seed| {
            seed.difference("pass@16", "policy-majority", BASE)
        }),
        Contrast {
            published: Some("no loss with gold labels"),
            ..contrast("policy, pass@16: gold - base", NotBelow, 0.03, |seed| {
                seed.difference("pass@16", "policy-gold", BASE)
            })
        },
        Contrast {
            attainable: Some(|seed| Ok(1.0 - seed.scalar("policy-self", "pass@1")?)),
            ..contrast("policy, pass@1: gold - own verifier", Increase, 0.05, |seed| {
                seed.difference("pass@1", "policy-gold", "policy-self")
            })
        },
        contrast(
            "policy, pass@1 gained in the last round: gold - own verifier",
            Increase,
            0.01,
            |seed| Ok(last_gain(seed, "policy-gold")? - last_gain(seed, "policy-self")?),
        ),
        contrast(
            "policy, pass@1, fits from the base: second attempts with a hint - without",
            Increase,
            0.01,
            |seed| seed.difference("pass@1", "policy-star", "policy-star-no-hint"),
        ),
        contrast("policy, pass@1: third party - own verifier", Increase, 0.03, |seed| {
            seed.difference("pass@1", "policy-third-party", "policy-self")
        }),
        Contrast {
            published: Some("gap 5.46 for all verifiers against 4.66 for the best (Qwen-2 7B)"),
            ..contrast(
                "policy, pass@1: frozen self and third party - third party",
                Increase,
                0.01,
                |seed| seed.difference("pass@1", "policy-both", "policy-third-party"),
            )
        },
        contrast(
            "policy, right chosen less right rejected: temporal - self-judging",
            Increase,
            0.05,
            |seed| {
                let of = |arm: &str| match seed.scalar(arm, "pairs")? {
                    0.0 => {
                        Err(ProtocolError::Undefined(format!("{arm} has no pair to learn from")))
                    }
                    _ => seed.scalar(arm, "contrast"),
                };
                Ok(of("policy-temporal")? - of("policy-self-judging")?)
            },
        ),
        contrast("policy, pass@1: SPIN - base, on data like the base's", Unchanged, 0.03, |seed| {
            seed.difference("pass@1", "policy-spin", BASE)
        }),
        contrast("policy, pass@1: proposer and solver - base", Increase, 0.05, |seed| {
            seed.difference("pass@1", "policy-proposer-solver", BASE)
        }),
        contrast("policy, gap: verification learnt - not learnt", Increase, 0.1, |seed| {
            seed.difference("gap", BASE, UNVERIFIED)
        }),
        contrast("policy, gap where verification was not learnt", Unchanged, 0.1, |seed| {
            seed.scalar(UNVERIFIED, "gap")
        }),
    ]
}

pub(in super::super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "policy, verdicts permuted: pass@1 - base",
            margin: 0.05,
            per_seed: |seed| seed.difference("pass@1", "policy-permuted", BASE),
        },
        Control {
            name: "policy, verdicts permuted: pass@16 - base",
            margin: 0.03,
            per_seed: |seed| seed.difference("pass@16", "policy-permuted", BASE),
        },
        Control {
            name: "policy, rewards by votes permuted within each question: pass@16 - base",
            margin: 0.03,
            per_seed: |seed| seed.difference("pass@16", "policy-majority-permuted", BASE),
        },
    ]
}

pub(in super::super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let by_round = |title: &str, metric: &str, arms: &[&str], caption: &str| {
        let n = records.seeds().len();
        let mut figure = Figure::lines(title, "round", metric, n).caption(caption);
        for arm in arms {
            let effects = records.series_effect(arm, &format!("{metric}/rounds"))?;
            let points = effects.iter().enumerate();
            let points = points.filter_map(|(at, effect)| Point::measured(at as f64, effect));
            figure = figure.series(arm.trim_start_matches("policy-"), points);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    Ok(vec![
        by_round(
            "Accuracy by who verifies",
            "pass@1",
            &LOOPS[..7],
            "Rejection fine-tuning; equal generations and updates. Restart fits from the base in every round; permuted is the \
             own verifier with its verdicts dealt out at random. Restart and frozen have three seeds.",
        )?,
        by_round(
            "The gap by round",
            "gap",
            &LOOPS[..5],
            "What accuracy would gain if only answers were kept that the arm's own verifier accepts, held-out questions. Self-restart and frozen have three seeds.",
        )?,
        by_round(
            "Coverage by round",
            "pass@16",
            &[
                "policy-self",
                "policy-third-party",
                "policy-gold",
                "policy-majority",
                "policy-majority-fixed",
                "policy-majority-permuted",
            ],
            "The majority arms are policy-gradient runs of as many generations. Fixed asks the questions of the first round again, and \
             has three seeds.",
        )?,
    ])
}

fn table(records: &Records, title: &str, arms: &[&str], metrics: &[&str]) -> Table {
    let mut table = Table::new(title, std::iter::once("arm").chain(metrics.iter().copied()));
    for arm in arms {
        let mut row = vec![TableValue::from(*arm)];
        row.extend(metrics.iter().map(|metric| records.value(arm, metric)));
        table = table.row(row);
    }
    table
}

pub(in super::super) fn tables(records: &Records) -> Vec<Table> {
    let all: Vec<&str> = [BASE, JUDGE, UNVERIFIED].into_iter().chain(LOOPS).collect();
    let mut within = Table::new("What the loops learn from, by round", {
        let rounds = (1..=ROUNDS).map(|round| format!("round {round}"));
        ["arm".to_string(), "what".into()].into_iter().chain(rounds)
    })
    .note(
        "Of pairs: share right, and self-score, of the chosen answers minus those of the rejected ones. Kept: share of the answers \
         to plain questions that the filter keeps; from second attempts: share of all that is learnt; attempts: of both kinds. Valid: share of proposed targets \
         that have an answer; solved: of those times the share of right attempts at them.",
    );
    let pairs = [("chosen less rejected, right", "contrast"), ("by score", "score contrast")];
    let second = [("kept", "kept"), ("from second attempts", "second"), ("attempts", "attempts")];
    let proposed = [("valid", "valid"), ("solved", "solved")];
    for (arm, series) in [
        ("policy-self", &second[..1]),
        ("policy-gold", &second[..1]),
        ("policy-star", &second),
        ("policy-star-no-hint", &second),
        ("policy-self-judging", &pairs),
        ("policy-temporal", &pairs),
        ("policy-proposer-solver", &proposed),
    ] {
        for (label, metric) in series {
            let mut row = vec![TableValue::from(arm), TableValue::from(*label)];
            let series = format!("{metric}/rounds");
            row.extend((0..ROUNDS).map(|round| records.value_at(arm, &series, round)));
            within = within.row(row);
        }
    }
    vec![
        table(records, "Every policy at the end", &all, &[
            "pass@1",
            "pass@4",
            "pass@16",
            "pass@64",
            "distinct right",
            "majority right",
            "consensus",
            "top answer",
            "KL",
        ])
        .note(
            "128 answers to each of 64 held-out questions, unbiased estimates. Majority right is the share of questions whose \
             commonest answer is right, consensus the mean share of that answer, top answer the share of the commonest answer over \
             all questions. KL is from the base, nats per answer. Arms that no contrast reads have three seeds.",
        ),
        table(records, "Verdicts at the end", &all, &[
            "gap",
            "relative gap",
            "TPR",
            "FPR",
            "score - truth",
        ])
        .note(
            "Of the verifier that the arm asks, and of the policy itself where it asks none or the exact checker. Score - truth is the \
             mean score less the accuracy.",
        ),
        table(records, "Accuracy by numbers shown", &all, &[
            "pass@1, 5 numbers",
            "pass@1, 6 numbers",
            "pass@1, 7 numbers",
        ]),
        within,
    ]
}
