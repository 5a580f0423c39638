//! Figures and tables of the finding.

use headwater_protocol::{Effect, Figure, Point, ProtocolError, Records, Scale, Table, TableValue};

use super::{KNOCKOUT_VOTES, LEADS, LENGTHS, MOST, TRAINED, VOTES};

/// The judges of the figures.
const JUDGES: [&str; 6] =
    ["scalar", "direct", "reasoning", "reasoning-foreign", "reasoning-rl", "rl-only"];

/// A series of one arm over the given x.
fn points(
    records: &Records,
    arm: &str,
    series: &str,
    at: impl IntoIterator<Item = usize>,
) -> Result<Vec<Point>, ProtocolError> {
    let effects = records.series_effect(arm, series)?;
    let points = at.into_iter().zip(&effects);
    Ok(points.filter_map(|(x, effect)| Point::measured(x as f64, effect)).collect())
}

fn estimate(effect: Effect) -> f64 {
    effect.estimate.unwrap_or(f64::NAN)
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut lengths =
        Figure::lines("Accuracy by depth", "steps of the chain", "accuracy, greedy", n)
            .value_range(0.4, 1.0)
            .reference("chance", 0.5)
            .caption(
                "Trained on 1 to 6 steps. The tag tells nothing here; both orders of a pair are judged. Direct and scalar judges \
                 had at least as many training tokens and labels as the reasoning one.",
            );
    for arm in JUDGES {
        lengths = lengths.series(arm, points(records, arm, "accuracy/length", LENGTHS)?);
    }

    let mut votes = Figure::lines(
        "The reasoning judge by number of votes",
        "votes per pair",
        "accuracy, chains of 4 to 12 steps",
        n,
    )
    .reference("greedy", estimate(records.effect("reasoning", "accuracy/deep")?))
    .reference("limit of votes", estimate(records.effect("reasoning", "votes/ceiling")?))
    .caption(
        "Every vote in an order of its own. Condorcet: what independent votes would give if each pair's share of right \
         votes, estimated from 32 judgements, were its probability; the limit is the share of pairs where it is above one \
         half. Filtered: the better half of the votes by what a classifier says of each judgement. Stopped: the x is the mean \
         number of votes until a lead of 1 to 4, at most 15.",
    );
    for (label, series) in [
        ("votes", "votes/plain"),
        ("Condorcet", "votes/condorcet"),
        ("filtered votes", "votes/filtered"),
    ] {
        votes = votes.series(label, points(records, "reasoning", series, VOTES)?);
    }
    let calls = records.series_effect("reasoning", "votes/stopped calls")?;
    let stopped = records.series_effect("reasoning", "votes/stopped")?;
    let stopped = calls.iter().zip(&stopped);
    votes = votes.series(
        "stopped at a lead",
        stopped.filter_map(|(calls, effect)| Point::measured(calls.estimate?, effect)),
    );

    let mut cut = Figure::lines(
        "The derivation cut short, chains of 6 steps",
        "partial results that the judge may write",
        "accuracy of the likelier verdict",
        n,
    )
    .value_range(0.4, 1.0)
    .reference("chance", 0.5)
    .caption(
        "Its own greedy partial results up to the limit, then whichever verdict is the likelier next token. What comes \
         before the last result is no answer to the question.",
    );
    for arm in ["reasoning", "reasoning-foreign", "reasoning-rl", "rl-only"] {
        cut = cut.series(arm, points(records, arm, "accuracy/cap", 0..=*TRAINED.end())?);
    }

    let selection = |title: &str, series: &str, label: &str, caption: &str| {
        let mut figure = Figure::lines(title, "n of best-of-n", label, n)
            .x_scale(Scale::Log2)
            .value_range(0.0, 1.0)
            .caption(caption);
        for arm in JUDGES {
            figure = figure.series(arm, points(records, arm, series, 1..=MOST)?);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    Ok(vec![
        lengths,
        cut,
        votes,
        selection(
            "Each judge as the reward of best-of-n",
            "best of n",
            "share right of the selected",
            "Candidates of chains of 6 steps from a generator that slips with probability 0.15 at each step; ratings from a round \
             robin with 5 votes per pair of distinct candidates. A rating that tells nothing picks one of the distinct candidates \
             of a pool at random; wrong ones are many, so it selects worse than no selection.",
        )?
        .reference("blind rating of all 16", estimate(records.effect("scalar", "best of 16/blind")?)),
        selection(
            "What selection does to the tag",
            "best of n/tagged",
            "share of the selected with the tag",
            "The generator tags at random, so 1/2 is no preference. In training the tag went with the right candidate in 80% of \
             the pairs that had one tag. A judge that knows the answer may still prefer the tag between two equal answers.",
        )?
        .reference("no preference", 0.5),
    ])
}

const ARMS: [&str; 11] = [
    "base",
    "scalar",
    "direct",
    "direct-equal-labels",
    "reasoning",
    "reasoning-foreign",
    "direct-rl",
    "reasoning-rl",
    "rl-only",
    "one-step-direct",
    "one-step-reasoning",
];

pub(super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let scalars = |title: &str, arms: &[&str], metrics: &[(&str, &str)]| {
        let mut columns = vec!["judge"];
        columns.extend(metrics.iter().map(|(_, heading)| *heading));
        let mut table = Table::new(title, columns);
        for arm in arms {
            let mut row = vec![TableValue::from(*arm)];
            row.extend(metrics.iter().map(|(metric, _)| records.value(arm, metric)));
            table = table.row(row);
        }
        table
    };
    let accuracy = scalars(
        "Every judge",
        &ARMS[1..9],
        &[
            ("accuracy/trained", "accuracy, 4 to 6 steps"),
            ("accuracy/tag on right", "tag on the right one"),
            ("accuracy/tag on wrong", "tag on the wrong one"),
            ("accuracy/longer", "accuracy, 8 to 12 steps"),
            ("consistent", "same in both orders"),
            ("no verdict", "no verdict"),
        ],
    )
    .note(
        "Greedy; a judgement without a verdict counts one half. Columns with a tag are on 4 to 6 steps. The judges with equal labels and \
         with policy gradient on the direct one have three seeds.",
    );

    let cost = scalars(
        "What training cost",
        &ARMS,
        &[
            ("training/labels", "labels"),
            ("training/tokens", "tokens, supervised"),
            ("training/loss at the end", "loss at the end"),
            ("training/generated tokens", "tokens generated in reinforcement"),
        ],
    )
    .note(
        "Tokens are those of prompt and completion, without padding. A scalar judge reads both candidates apart. Losses of \
         different judges are of different tokens. Reinforced judges: in addition to the judge they start from.",
    );

    let columns = ["judge", "greedy", "1 vote", "15 votes", "limit of votes", "best 8 of 15"];
    let mut compute = Table::new("Test-time compute, chains of 4 to 12 steps", columns).note(
        "Votes at temperature 1, each in an order of its own. The limit is what ever more votes would tend to.",
    );
    let last = VOTES.len() - 1;
    for arm in &ARMS[1..9] {
        compute = compute.row([
            TableValue::from(*arm),
            records.value(arm, "accuracy/deep"),
            records.value_at(arm, "votes/plain", 0),
            records.value_at(arm, "votes/plain", last),
            records.value(arm, "votes/ceiling"),
            records.value_at(arm, "votes/filtered", last),
        ]);
    }
    let mut stopping =
        Table::new("The reasoning judge stopped at a lead", ["lead", "accuracy", "mean votes"]);
    for (at, lead) in LEADS.iter().enumerate() {
        stopping = stopping.row([
            TableValue::Number(*lead as f64, 0),
            records.value_at("reasoning", "votes/stopped", at),
            records.value_at("reasoning", "votes/stopped calls", at),
        ]);
    }

    let mut columns = vec![
        "judge".to_string(),
        "one candidate".into(),
        "best of 16".into(),
        "calls".into(),
        "tagged".into(),
    ];
    columns.extend(KNOCKOUT_VOTES.map(|votes| {
        let calls = (MOST - 1) * votes;
        format!("knockout, {votes} per match ({calls} calls)")
    }));
    let mut selection = Table::new("Selection from 16 candidates", columns).note(
        "Share of right answers. Best of 16 by ratings from a round robin of distinct candidates; tagged is the share of its \
         choices that carry the tag.",
    );
    for arm in &ARMS[1..9] {
        let mut row = vec![
            TableValue::from(*arm),
            records.value_at(arm, "best of n", 0),
            records.value(arm, "best of 16"),
            records.value(arm, "best of 16/calls"),
            records.value_at(arm, "best of n/tagged", MOST - 1),
        ];
        row.extend((0..KNOCKOUT_VOTES.len()).map(|at| records.value_at(arm, "knockout", at)));
        selection = selection.row(row);
    }

    let mut tokens = Table::new(
        "Tokens written per verdict, by steps of the chain",
        std::iter::once("judge".to_string()).chain(LENGTHS.map(|length| length.to_string())),
    );
    for arm in ["direct", "reasoning", "reasoning-foreign", "reasoning-rl", "rl-only"] {
        let mut row = vec![TableValue::from(arm)];
        row.extend((0..LENGTHS.len()).map(|at| records.value_at(arm, "tokens/length", at)));
        tokens = tokens.row(row);
    }
    Ok(vec![accuracy, compute, stopping, selection, tokens, cost])
}
