//! Figures and tables of the finding.

use headwater_protocol::{Arm, Scalar};
use headwater_report::{Along, Column, Figure, Part, Table, Value};

use super::measures::gain;
use crate::experiments::self_improvement_classifier::{
    self as classifier, ACCURACIES, CORRELATIONS, SHARES, corrections, judge, tool,
};
use crate::experiments::self_improvement_collapse::{self as collapse, regressions};
use crate::experiments::self_improvement_facts as facts;
use crate::experiments::self_improvement_language::{
    self as language, courses, first, last, middle,
};
use crate::experiments::self_improvement_policy::{
    self as policy, BY_VERIFIER, GAP, MAJORITIES, PASS_1, PASS_16, ROUNDS, Source, by_round,
    learners,
};

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::new("A classifier that learns from its own answers")
            .figures([accuracy_by_step(), alike_by_step(), coverage_by_step()])
            .figures([judges(), strengths()])
            .table(classifiers()),
        Part::new("Regressions on their own outputs").figure(errors_by_round()).table(errors()),
        Part::new("A decoder on its own text").figures([excess(), tails()]).table(decoders()),
        Part::new("A policy that verifies its own answers")
            .figures([policies_by_verifier(), gaps(), policies_coverage()])
            .tables(policies())
            .table(learnt_from()),
        Part::new("Facts, which cannot be verified").table(of_facts()),
    ]
}

/// Places of what is recorded after every round.
fn rounds() -> Along {
    Along::Index { first: 1.0, step: 1.0 }
}

/// Places of what is seen of a classifier.
fn evaluations() -> Along {
    Along::Index { first: 0.0, step: classifier::STEPS as f64 / classifier::EVALUATIONS as f64 }
}

/// Classifiers of the figures by step.
fn shown() -> [(&'static str, Arm); 9] {
    [
        ("own majority", classifier::OWN_MAJORITY),
        ("own majority, KL 0.3", classifier::KL),
        ("own majority, 16 prompts", classifier::FIXED_16),
        ("frozen checkpoint", classifier::FROZEN),
        ("labels by chance", classifier::CHANCE),
        ("judge, 7 of 10", judge(0.7, 0.0)),
        ("users, 3 of 10", corrections(0.3)),
        ("gold, 1 of 10", classifier::GOLD_TENTH),
        ("gold", classifier::GOLD),
    ]
}

fn accuracy_by_step() -> Figure {
    Figure::lines("Accuracy by source of labels", "steps", "probability of the right answer")
        .value_range(0.0, 1.0)
        .caption("On prompts that no step saw. Everything starts from one base per seed.")
        .curves(&classifier::ACCURACY_BY_EVALUATION, &evaluations(), shown())
}

fn alike_by_step() -> Figure {
    let label = "share of prompts with the most common likeliest answer";
    Figure::lines("How alike prompts are answered", "steps", label)
        .value_range(0.0, 1.0)
        .caption("At 1 all prompts are answered alike, and agreement is perfect.")
        .curves(&classifier::TOP_SHARE_BY_EVALUATION, &evaluations(), shown())
}

fn coverage_by_step() -> Figure {
    Figure::lines("Coverage", "steps", "probability that one of 16 answers is right")
        .value_range(0.0, 1.0)
        .caption("What the variety of answers is worth: a policy may gain accuracy and lose this.")
        .curves(&classifier::PASS_16_BY_EVALUATION, &evaluations(), shown())
}

fn judges() -> Figure {
    let figure = Figure::lines(
        "A judge's accuracy and its correlation with the policy's errors",
        "probability that the judge's label is right",
        "accuracy after 2,000 steps, less the base's",
    )
    .reference("base", 0.0)
    .caption(
        "Above the line the loop improves, below it falls. The base's majority is right in about \
         half of the prompts.",
    );
    CORRELATIONS.into_iter().fold(figure, |figure, correlation| {
        let gains = ACCURACIES.map(|accuracy| (accuracy, gain(judge(accuracy, correlation))));
        figure.points(format!("correlation {correlation}"), gains)
    })
}

fn strengths() -> Figure {
    Figure::lines(
        "How much has to be corrected or checked",
        "share of wrong majorities corrected, or of prompts checked",
        "accuracy after 2,000 steps, less the base's",
    )
    .reference("base", 0.0)
    .caption("Where a line crosses the base's, collapse turns into improvement.")
    .points("user corrections", SHARES.map(|share| (share, gain(corrections(share)))))
    .points("tool", SHARES.map(|share| (share, gain(tool(share)))))
}

fn classifiers() -> Table {
    let columns = [
        classifier::ACCURACY,
        classifier::BEST_ACCURACY,
        classifier::EARLY_ACCURACY,
        classifier::STOPPED_ACCURACY,
        classifier::GREEDY,
        classifier::PASS_16,
        classifier::TOP_SHARE,
        classifier::EXCESS,
        classifier::KL_TO_BASE,
        classifier::GAP,
        classifier::LABELS,
        classifier::VERDICTS,
    ];
    Table::of_arms("Every arm after 2,000 steps", "arm", classifier::arms(), columns).note(
        "Exact expectations over answers at temperature 1. Gap: what weighing answers by their own \
         probability would gain. A label is a right answer given away, a verdict says of one \
         answer whether it is right. Highest is over evaluations, and needs the truth to be found.",
    )
}

fn errors_by_round() -> Figure {
    let arms = regressions().map(|(arm, label, _)| (label, arm));
    let theory = (1..=collapse::ROUNDS).map(|round| round as f64);
    Figure::lines(
        "Error of a regression on its own outputs",
        "round",
        "squared distance of the weights from the truth",
    )
    .caption(
        "10 features, 60 rows a round, mean of 200 runs a seed. Theory: n times the first error \
         where rows are replaced.",
    )
    .curves(&collapse::BY_ROUND, &rounds(), arms)
    .points("theory, replaced", theory.map(|round| (round, round * collapse::error_of_real())))
}

fn errors() -> Table {
    let metrics = [collapse::FIRST, collapse::LAST, collapse::OVER_FIRST, collapse::OVER_MIDDLE];
    let labels = metrics.each_ref().map(|metric| metric.label().to_owned());
    let headings = ["rows".to_owned()].into_iter().chain(labels);
    let row = |label: &str, arm: &Arm, theory: Option<f64>| {
        let values = metrics.each_ref().map(|metric| Value::from(metric.of(arm)));
        let theory = theory.map_or(Value::Blank, |value| Value::Number(value, 3));
        [label.into()].into_iter().chain(values).chain([theory]).collect::<Vec<_>>()
    };
    let table = Table::new(
        "Errors, and the Gaussian's variance",
        headings.chain(["theory, round 20".to_owned()]),
    )
    .note(
        "Theory: exact where rows are replaced and all real, a bound where they accumulate, none \
         for shares.",
    );
    let table = regressions().iter().fold(table, |table, (arm, label, data)| {
        table.row(row(label, arm, collapse::theory(*data)))
    });
    let left = collapse::variance_left();
    table.row(row("Gaussian, its own draws", &collapse::GAUSSIAN, Some(left)))
}

fn excess() -> Figure {
    let label = "KL of the source from the model, nats a symbol";
    Figure::lines("A decoder on its own text", "round", label)
        .value_range(0.0, 1.0)
        .caption(
            "Each round trains new weights. At temperature 0.8 the line leaves the figure: the \
             table has its end.",
        )
        .curves(&language::EXCESS, &rounds(), courses().map(|(arm, label, _)| (label, arm)))
}

fn tails() -> Figure {
    let label = "mean log of the model's probability over the source's";
    let mut figure = Figure::lines("Rare and frequent symbols", "round", label).caption(
        "Rare: the least common quarter of the symbols; frequent: the most common one. 0 is the \
         source.",
    );
    for (label, arm) in [
        ("replaced", language::REPLACE),
        ("temperature 0.8", language::COOL),
        ("all real", language::REAL),
    ] {
        for series in [language::RARE, language::FREQUENT] {
            let label = format!("{label}, {}", series.name());
            figure = figure.curve(label, &series, &rounds(), &arm);
        }
    }
    figure
}

fn decoders() -> Table {
    let columns = [
        first(&language::EXCESS).shown_as("excess, round 1"),
        middle(&language::EXCESS).shown_as("round 4"),
        last(&language::EXCESS).shown_as("round 8"),
        last(&language::RARE),
        last(&language::FREQUENT),
        last(&language::RARE_MASS),
        last(&language::ENTROPY),
        last(&language::QUALITY),
        language::SOURCE_ENTROPY,
    ];
    let arms = courses().map(|(arm, label, _)| (label, arm));
    Table::of_arms("A decoder on its own text", "text", arms, columns).note(
        "Excess: KL of the source from the model, nats a symbol. After round 8: log of the model's \
         probability over the source's, a mean over rare or frequent symbols; the rare symbols' \
         mass over the source's; entropy of the next symbol; quality, the log-probability under \
         the source of what the model writes (the source's own text has minus its entropy).",
    )
}

/// A metric of policies by round; their labels leave out what all begin with.
fn policies_by_round(title: &str, metric: &Scalar, arms: impl IntoIterator<Item = Arm>) -> Figure {
    let labelled = |arm: Arm| (arm.name().trim_start_matches("policy-").to_owned(), arm);
    Figure::lines(title, "round", metric.label()).curves(
        &by_round(metric),
        &Along::steps(),
        arms.into_iter().map(labelled),
    )
}

fn policies_by_verifier() -> Figure {
    let arms = BY_VERIFIER.map(|filtered| filtered.arm);
    policies_by_round("Accuracy by who verifies", &PASS_1, arms).caption(
        "Rejection fine-tuning; equal generations and updates. Restart fits from the base in every \
         round; permuted is the own verifier with its verdicts dealt out at random.",
    )
}

fn gaps() -> Figure {
    let verifies = |source| !matches!(source, Source::Tool | Source::Permuted);
    let arms = BY_VERIFIER.into_iter().filter(|filtered| verifies(filtered.source));
    let arms = arms.map(|filtered| filtered.arm);
    policies_by_round("The gap by round", &GAP, arms).caption(
        "What accuracy would gain if only answers were kept that the arm's own verifier accepts, \
         held-out questions.",
    )
}

fn policies_coverage() -> Figure {
    let filtered = [policy::OWN, policy::THIRD_PARTY, policy::GOLD];
    let arms = filtered.into_iter().chain(MAJORITIES.map(|(arm, ..)| arm));
    policies_by_round("Coverage by round", &PASS_16, arms).caption(
        "The majority arms are policy-gradient runs of as many generations. Fixed asks the \
         questions of the first round again.",
    )
}

fn policies() -> [Table; 3] {
    let table = |title: &str, columns: &[Scalar]| {
        let arms = policy::SUPERVISED.into_iter().chain(learners());
        Table::of_arms(title, "arm", arms, columns.iter().map(Column::from))
    };
    let at_the_end = [
        PASS_1,
        policy::PASS_4,
        PASS_16,
        policy::PASS_64,
        policy::DISTINCT,
        policy::MAJORITY_RIGHT,
        policy::CONSENSUS,
        policy::TOP_ANSWER,
        policy::KL,
    ];
    let verdicts = [GAP, policy::RELATIVE_GAP, policy::TPR, policy::FPR, policy::BIAS];
    [
        table("Every policy at the end", &at_the_end).note(
            "128 answers to each of 64 held-out questions, unbiased estimates. Majority right is \
             the share of questions whose commonest answer is right, consensus the mean share of \
             that answer, top answer the share of the commonest answer over all questions. KL is \
             from the base, nats per answer.",
        ),
        table("Verdicts at the end", &verdicts).note(
            "Of the verifier that the arm asks, and of the policy itself where it asks none or the \
             exact checker. Score - truth is the mean score less the accuracy.",
        ),
        table("Accuracy by numbers shown", &policy::BY_SIZE),
    ]
}

fn learnt_from() -> Table {
    let second = [policy::KEPT, policy::SECOND, policy::ATTEMPTS];
    let pairs = [policy::CONTRAST_BY_ROUND, policy::SCORE_CONTRAST_BY_ROUND];
    let proposed = [policy::VALID, policy::SOLVED];
    let rounds = (1..=ROUNDS).map(|round| format!("round {round}"));
    let headings = ["arm", "what"].map(str::to_owned).into_iter().chain(rounds);
    let mut table = Table::new("What the loops learn from, by round", headings).note(
        "Of pairs: share right, and self-score, of the chosen answers minus those of the rejected \
         ones. Kept: share of the answers to plain questions that the filter keeps; from second \
         attempts: share of all that is learnt; attempts: of both kinds. Valid: share of proposed \
         targets that have an answer; solved: of those times the share of right attempts at them.",
    );
    for (arm, shown) in [
        (policy::OWN, &second[..1]),
        (policy::GOLD, &second[..1]),
        (policy::STAR, &second),
        (policy::STAR_NO_HINT, &second),
        (policy::SELF_JUDGING, &pairs),
        (policy::TEMPORAL, &pairs),
        (policy::PROPOSER_SOLVER, &proposed),
    ] {
        for series in shown {
            let values = (0..ROUNDS).map(|round| Value::from(series.at(round, &arm)));
            let labels = [Value::from(arm.name()), series.label().into()];
            table = table.row(labels.into_iter().chain(values));
        }
    }
    table
}

fn of_facts() -> Table {
    let columns = [
        facts::ACCURACY_KNOWN,
        facts::ACCURACY_UNKNOWN,
        facts::VALUES_UNKNOWN,
        facts::GAP_KNOWN,
        facts::GAP_UNKNOWN,
        facts::AUROC_UNKNOWN,
        facts::TPR_UNKNOWN,
        facts::FPR_UNKNOWN,
    ];
    Table::of_arms("Facts", "arm", [facts::BASE, facts::OWN, facts::TABLE], columns).note(
        "128 keys are known; values of the 512 others were guesses in training, of which 1 in 16 \
         is right. Their accuracy is among answers that are values, whose share stands beside it. \
         The gap is what accuracy would gain from keeping accepted answers alone, 0 where none is; \
         AUROC is of own scores for right among all values.",
    )
}
