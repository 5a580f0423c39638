//! Figures and tables of the finding.

use headwater_protocol::{Effect, Figure, Point, ProtocolError, Records, Table, TableValue};

use super::arms::{MAP_METHODS, map_arm};
use super::{MAP_DENSITIES, MAP_NOISES, SHOWN_SEEDS};

/// Arm and label. With the prefix `sparse.` the same where votes and hints both err.
const ARMS: [(&str, &str); 12] = [
    ("scalar", "votes of 1 and -1"),
    ("grpo", "GRPO"),
    ("opd-sampled", "hints, sampled token"),
    ("opd-reverse", "hints, reverse KL"),
    ("opd-forward", "hints, forward KL"),
    ("opd-jsd", "hints, Jensen-Shannon"),
    ("hybrid-sum", "hybrid, votes and sampled token (v1)"),
    ("hybrid-sum-grpo", "hybrid, GRPO and sampled token"),
    ("hybrid-votes", "hybrid, votes and reverse KL"),
    ("hybrid", "hybrid, GRPO and reverse KL (v2)"),
    ("memory", "hints kept in the prompt"),
    ("opd-top4", "hints, top 4 limited (v2)"),
];

/// Those that were run where votes and hints err, by their names there.
fn sparse_arms() -> Vec<(String, &'static str)> {
    let run = ARMS.iter().filter(|(arm, _)| *arm != "opd-top4");
    run.map(|(arm, label)| (format!("sparse.{arm}"), *label)).collect()
}

/// What each of four users hears of three methods: user, GRPO's arm, the directive arm, the hybrid's. Where a method does
/// not hear a signal its arm is the same for users who give it and who do not; a hybrid without hints is GRPO.
const USERS: [(&str, [&str; 3]); 4] = [
    ("both", ["one.votes.grpo", "one.hints.opd-reverse", "one.both.hybrid"]),
    ("terse: OK and REDO only", ["one.votes.grpo", "one.silence.opd-reverse", "one.votes.grpo"]),
    ("polite: always OK, hints", ["one.praise.grpo", "one.hints.opd-reverse", "one.polite.hybrid"]),
    ("neither", ["one.praise.grpo", "one.silence.opd-reverse", "one.neither.hybrid"]),
];
const USER_METHODS: [&str; 3] = ["GRPO", "hints, reverse KL", "hybrid"];

/// Interactions between looks: five updates of 16.
const PER_LOOK: f64 = 80.0;

/// Mean over the seeds that the map's own arms have, so that all its places have the same.
fn on_map(records: &Records, arm: &str, metric: &str) -> Result<Effect, ProtocolError> {
    let values = records.metric(arm, metric).into_iter().filter(|(seed, _)| *seed < SHOWN_SEEDS);
    let values: Vec<f64> = values.map(|(_, value)| value).collect();
    if values.is_empty() {
        return records.effect(arm, metric);
    }
    Effect::over_seeds(&values)
}

fn by_interactions(
    records: &Records,
    mut figure: Figure,
    arms: &[(impl AsRef<str>, &'static str)],
    series: &str,
) -> Result<Figure, ProtocolError> {
    for (arm, label) in arms {
        let arm = arm.as_ref();
        let effects = records.series_effect(arm, series)?;
        let points = effects.iter().enumerate();
        let points =
            points.filter_map(|(at, effect)| Point::measured(at as f64 * PER_LOOK, effect));
        figure = figure.series(*label, points);
    }
    Ok(figure)
}

pub(super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let success = |title: &str, caption: &str| {
        Figure::lines(title, "interactions", "probability that all three slots are as wanted", n)
            .value_range(0.0, 1.0)
            .reference("90%", 0.9)
            .caption(caption)
    };
    let frequent = by_interactions(
        records,
        success(
            "Success by interactions, frequent true hints",
            "A true hint after every response that is not as wanted, and every vote true. Without hints in the prompt, except where \
             they are kept in it. Arms are compared at 3200 interactions; GRPO and the reverse KL go on. Arms that no contrast \
             needs have three seeds, here and below.",
        ),
        &ARMS,
        "success by interactions",
    )?;
    let rare = by_interactions(
        records,
        success(
            "Success by interactions, rare and half false hints, votes that err",
            "A hint after one in ten responses that are not as wanted, half of the hints with another value than the wanted one; \
             three votes in four hundred are the opposite of what the user meant.",
        ),
        &sparse_arms(),
        "success by interactions",
    )?;
    let sorted = by_interactions(
        records,
        Figure::lines(
            "Sorting, which nobody asks for",
            "interactions",
            "probability that the digits are sorted",
            n,
        )
        .value_range(0.0, 1.0)
        .caption("Frequent true hints. A skill of the base that no signal speaks of."),
        &ARMS[..10],
        "sorted by interactions",
    )?;

    let places =
        MAP_DENSITIES.iter().flat_map(|p| MAP_NOISES.iter().map(move |noise| (*p, *noise)));
    let places: Vec<(f64, f64)> = places.collect();
    let names = places.iter().map(|(p, noise)| format!("density {p}, false {noise}"));
    let map_seeds = n.min(SHOWN_SEEDS as usize);
    let mut map = Figure::dots(
        "Which signal wins where",
        names,
        "success after 3200 interactions",
        map_seeds,
    )
    .value_range(0.0, 1.0)
    .reference("GRPO", on_map(records, "grpo", "success")?.estimate.unwrap_or(0.0))
    .caption(
        "By the share of wrong responses with a hint and the share of hints that are false; every vote is true. GRPO hears no hints: \
         it is the same everywhere.",
    );
    for (method, label) in MAP_METHODS.iter().zip(["hints, reverse KL", "hybrid"]) {
        let effects = places
            .iter()
            .map(|(p, noise)| on_map(records, &map_arm(*p, *noise, method), "success"));
        map = map.by_category(label, effects.collect::<Result<Vec<_>, _>>()?);
    }

    let mut users = Figure::dots(
        "What users say, and what methods hear",
        USERS.map(|(user, _)| user),
        "success after 3200 interactions, one slot",
        n,
    )
    .value_range(0.0, 1.0)
    .reference("chance", 0.125)
    .caption("Users who care about one slot of eight values, so that votes alone can teach.");
    for (at, method) in USER_METHODS.iter().enumerate() {
        let effects = USERS.iter().map(|(_, arms)| records.effect(arms[at], "success"));
        users = users.by_category(*method, effects.collect::<Result<Vec<_>, _>>()?);
    }

    let kinds = ["votes", "hints, sampled token", "hints, full vocabulary"];
    let shares = ["credit/votes", "credit/sampled", "credit/full"];
    let shares = shares.map(|metric| records.effect("base", metric));
    let credit = Figure::bars(
        "Advantage on the wrong slot",
        kinds,
        "share of the absolute advantage of all tokens",
        n,
    )
    .value_range(0.0, 1.0)
    .reference("1 of 8 tokens", 0.125)
    .by_category("base", shares.into_iter().collect::<Result<Vec<_>, _>>()?)
    .caption("On responses of the base with a hint that names one wrong slot.");

    let mut operator =
        Figure::lines("Entries of the operator by traces", "traces seen", "entries known of 64", n)
            .value_range(-8.0, 64.0)
            .caption(
                "An entry is known when its result has a probability above one half without a trace; sure and wrong ones take off a \
                 seventh each, so that guessing gives 0. Distinct entries: how many \
                 of the 64 the traces had shown by then.",
            );
    let over_traces = |arm: &str, series: &str| -> Result<Vec<Point>, ProtocolError> {
        let traces = records.series_effect(arm, "traces seen")?;
        let known = records.series_effect(arm, series)?;
        let points = traces.iter().zip(&known);
        Ok(points.filter_map(|(x, effect)| Point::measured(x.estimate?, effect)).collect())
    };
    for (arm, label) in OPERATOR {
        operator = operator.series(label, over_traces(arm, "entries by traces")?);
    }
    operator = operator.series(
        "distinct entries in the traces",
        over_traces("operator.opd-reverse", "distinct entries seen")?,
    );
    let style = [frequent, rare, map, users, sorted, credit].map(|figure| figure.part(STYLE_PART));
    Ok(style.into_iter().chain([operator.part(OPERATOR_PART)]).collect())
}

const STYLE_PART: &str = "A hidden house style";
const OPERATOR_PART: &str = "An unknown operator, from error traces";

const OPERATOR: [(&str, &str); 4] = [
    ("operator.grpo", "GRPO"),
    ("operator.opd-reverse", "traces, reverse KL"),
    ("operator.hybrid", "hybrid"),
    ("operator.foreign-traces", "traces of other problems"),
];

pub(super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let scalars = |title: &str, arms: &[(&str, &'static str)], metrics: &[(&str, &str)]| {
        let mut columns = vec!["arm"];
        columns.extend(metrics.iter().map(|(_, heading)| *heading));
        let mut table = Table::new(title, columns);
        for (arm, label) in arms {
            let mut row = vec![TableValue::from(*label)];
            row.extend(metrics.iter().map(|(metric, _)| records.value(arm, metric)));
            table = table.row(row);
        }
        table
    };
    let learning = [
        ("success", "success"),
        ("sampled/success", "success of one sample each"),
        ("area", "area under the curve"),
        ("interactions to 90%", "interactions to 90%"),
        ("reached 90%", "seeds that got there"),
        ("sorted", "sorted"),
        ("whole", "both"),
        ("greedy/success", "success, greedy"),
        ("greedy/sorted", "sorted, greedy"),
        ("obedience", "obeys a hint"),
        ("hints", "hints heard"),
    ];
    let mut frequent = vec![("base", "base, untrained")];
    frequent.extend(ARMS);
    let rare = sparse_arms();
    let rare: Vec<(&str, &str)> = rare.iter().map(|(arm, label)| (&arm[..], *label)).collect();
    let note = "After 3200 interactions, at temperature 1 unless greedy, without hints in the prompt except where they are kept in it. \
                Interactions to 90% are those of the budget where it was not reached: 9600 for GRPO and the reverse KL, 3200 for all others.";
    let frequent = scalars("Frequent true hints", &frequent, &learning).note(note);
    let rare = scalars("Rare and half false hints, votes that err", &rare, &learning).note(note);

    let mut map = Table::new(
        "Which signal wins where",
        ["density", "false", "GRPO", "hints, reverse KL", "hybrid", "highest area"],
    )
    .note(format!(
        "Success after 3200 interactions, three slots; the last column by the area under the curve. The first {SHOWN_SEEDS} seeds."
    ));
    for density in MAP_DENSITIES {
        for noise in MAP_NOISES {
            let [hints, hybrid] = MAP_METHODS.map(|method| map_arm(density, noise, method));
            let named = [("GRPO", "grpo"), ("hints", &hints), ("hybrid", &hybrid)];
            let areas = named.map(|(label, arm)| {
                let area = on_map(records, arm, "area").ok().and_then(|effect| effect.estimate);
                (label, area.unwrap_or(f64::NEG_INFINITY))
            });
            let best = areas.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            let mut row = vec![TableValue::Number(density, 1), TableValue::Number(noise, 2)];
            row.extend(named.map(|(_, arm)| match on_map(records, arm, "success") {
                Ok(effect) => effect.into(),
                Err(_) => records.value(arm, "success"),
            }));
            row.push(best.map_or(TableValue::Absent, |(label, _)| TableValue::from(*label)));
            map = map.row(row);
        }
    }

    let columns = [
        "user",
        "GRPO",
        "hints, reverse KL",
        "hybrid",
        "GRPO, area",
        "hints, area",
        "hybrid, area",
    ];
    let mut users = Table::new("Four users who care about one slot", columns).note(
        "Success after 3200 interactions, then the area under its curve. That polite users teach by hints only and terse ones by \
         votes only is how these users are made: those rows check that nothing else reaches the learner, and are no contrasts. The last row is \
         not one of the four: one hint in ten, half of them false, and votes that err.",
    );
    let sparse = (
        "both, rare and half false hints, votes that err",
        ["one.sparse.grpo", "one.sparse.opd-reverse", "one.sparse.hybrid"],
    );
    for (user, arms) in USERS.into_iter().chain([sparse]) {
        let mut row = vec![TableValue::from(user)];
        row.extend(arms.map(|arm| records.value(arm, "success")));
        row.extend(arms.map(|arm| records.value(arm, "area")));
        users = users.row(row);
    }

    let teachers = [
        ("opd-reverse.frozen-teacher", "frozen base"),
        ("opd-reverse", "moving average, 0.05"),
        ("opd-reverse.current-teacher", "current policy"),
    ];
    let mut of_teachers = learning[..7].to_vec();
    of_teachers.push(("teacher obedience", "teacher obeys a hint"));
    let teachers =
        scalars("Who reads the hint, reverse KL and frequent true hints", &teachers, &of_teachers);
    let rates = [
        ("grpo", "GRPO, 0.001"),
        ("grpo.fast", "GRPO, 0.003"),
        ("opd-reverse", "hints, reverse KL, 0.0003"),
        ("opd-reverse.fast", "hints, reverse KL, 0.003"),
        ("hybrid", "hybrid, 0.0003"),
        ("hybrid.fast", "hybrid, 0.003"),
    ];
    let rates = scalars(
        "What the learning rate decides, frequent true hints",
        &rates,
        &learning[..7],
    )
    .note("The highest rate of pilots at which digits were still sorted, and the highest of all.");
    let judges = [
        ("sparse.hybrid.1-votes", "1 vote, each wrong with probability 0.2"),
        ("sparse.hybrid.5-votes", "5 votes, each wrong with probability 0.2"),
        ("sparse.hybrid", "3 votes, each wrong with probability 0.05"),
    ];
    let judges = scalars("The judge's noise, hybrid and rare hints", &judges, &learning[..7]);

    let credit = [
        ("credit/votes", "votes: share on the wrong slot"),
        ("credit/sampled", "sampled token: share"),
        ("credit/full", "full vocabulary: share"),
        ("signal/sampled at the wrong token", "sampled: at the wrong token"),
        ("signal/full at the wrong token", "full: at the wrong token"),
        ("signal/full at the wanted token", "full: at the wanted token"),
    ];
    let credit = scalars("What a hint says about tokens", &[("base", "base")], &credit).note(
        "Nats for the sampled token, probability times nats over the vocabulary. The sampled token's advantage says nothing about \
         the wanted one unless that was sampled.",
    );

    let mut arms = vec![("operator-base", "base, untrained")];
    arms.extend(OPERATOR);
    let operator = scalars("The unknown operator", &arms, &[
        ("entries", "entries known of 64"),
        ("pass", "chains passed without trace"),
        ("sums", "additions passed"),
        ("obedience", "uses a trace in the prompt"),
        ("traces", "traces"),
        ("distinct entries in traces", "distinct entries in traces"),
        ("passed in training", "passed in training"),
    ])
    .note("Additions are chains of the other operator, which the base knows and the interactions never ask for.");
    let style = [frequent, rare, rates, map, users, teachers, judges, credit];
    let style = style.map(|table| table.part(STYLE_PART));
    Ok(style.into_iter().chain([operator.part(OPERATOR_PART)]).collect())
}
