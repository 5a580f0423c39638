//! What is shown of the worlds.

use headwater_protocol::{Effect, Figure, Point, ProtocolError, Records, Table, TableValue};
use headwater_recsys::metrics::amplification;

use super::{SETTINGS, Setting, arm, setting};

/// Arms of the figures by round, as far as a world has them.
const BY_ROUND: [&str; 10] = [
    "naive",
    "tower",
    "feature-missing",
    "pal",
    "ips-known",
    "em",
    "frozen",
    "open-loop",
    "relevance",
    "random",
];

/// Remedies that learn a bias curve.
const CURVES: [&str; 7] =
    ["tower", "tower-no-dropout", "tower-fast", "pal", "ips-estimated", "dla", "em"];

/// Worlds that are not controls.
fn measured() -> impl Iterator<Item = &'static Setting> {
    ["a", "b", "c", "d"].into_iter().map(setting)
}

fn points(effects: &[Effect], first: usize) -> impl Iterator<Item = Point> {
    let numbered = effects.iter().enumerate();
    numbered.filter_map(move |(at, effect)| Point::measured((at + first) as f64, effect))
}

/// A metric by round of several servers of a world.
fn by_round(
    records: &Records,
    mut figure: Figure,
    key: &str,
    metric: &str,
    servers: &[&str],
) -> Result<Figure, ProtocolError> {
    for server in servers {
        let arm = arm(key, server);
        // Not every server is run in every world, and exposure that is even has no correlation.
        if !records.series(&arm, metric).is_empty() {
            let effects = records.series_effect(&arm, metric)?;
            figure = figure.series(*server, points(&effects, 0));
        }
    }
    Ok(figure)
}

pub(in super::super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.seeds().len();
    let mut figures = Vec::new();
    for setting in measured() {
        let title = format!("{}: utility by round", setting.title);
        let figure = Figure::lines(title, "round", "utility over that of the ideal lists", n).caption(
            "The first round is the legacy prior's, the same in all arms. Relevance: the naive ranker's loop with fresh draws of \
             whether users would click had they looked, a reference and no bound. Open loop: trained as often on what the legacy prior is told.",
        );
        figures.push(by_round(records, figure, setting.key, "utility", &BY_ROUND)?);
    }
    for key in ["a", "c"] {
        figures.push(curves(records, key, n)?);
    }
    let servers = ["naive", "tower", "ips-known", "epsilon-slot", "frozen", "relevance", "oracle"];
    let label = "correlation of exposure with the legacy prior";
    let figure = Figure::lines("World B: what is left of the head start", "round", label, n)
        .reference("none", 0.0)
        .caption(
            "The prior decides who is shown first and has nothing to do with quality; by chance the two may go together a little in \
             a hundred items, as the oracle shows.",
        );
    figures.push(by_round(records, figure, "b", "legacy", &servers)?);
    figures.push(amplified(records, n)?);
    Ok(figures)
}

/// Learnt bias by slot, relative to the first, as far as the log identified it.
fn curves(records: &Records, key: &str, n: usize) -> Result<Figure, ProtocolError> {
    let title = format!("{}: learnt bias of the slots", setting(key).title);
    let mut figure = Figure::lines(title, "slot", "log θ, less that of the first slot", n).caption(
        "The last curve for which the log connects the slots by items shown on several; without such a log there is none.",
    );
    let truth = records.series_effect(&arm(key, "tower"), "true curve")?;
    let truth = truth.iter().enumerate();
    let truth =
        truth.filter_map(|(at, effect)| Some(Point::bare((at + 1) as f64, effect.estimate?)));
    figure = figure.series("truth", truth);
    for server in CURVES {
        let arm = arm(key, server);
        if !records.series(&arm, "curve").is_empty() {
            figure = figure.series(server, points(&records.series_effect(&arm, "curve")?, 1));
        }
    }
    Ok(figure)
}

/// Gini coefficient of exposure with retraining, over that without.
fn amplified(records: &Records, n: usize) -> Result<Figure, ProtocolError> {
    let label = "Gini coefficient, in the loop over in an open loop";
    let mut figure = Figure::lines("What retraining makes of concentration", "round", label, n)
        .reference("as concentrated", 1.0)
        .caption(
            "The naive ranker, retrained on its own lists, over the same ranker retrained as often on what the legacy prior is told. It also \
             learns who is better: concentration alone is no harm.",
        );
    for setting in measured() {
        let [retrained, open] =
            ["naive", "open-loop"].map(|server| records.series(&arm(setting.key, server), "gini"));
        let mut ratios: Vec<Vec<f64>> = Vec::new();
        for (seed, retrained) in retrained {
            let Some((_, open)) = open.iter().find(|(other, _)| *other == seed) else {
                continue;
            };
            ratios.extend(amplification(retrained, open).ok());
        }
        let length = ratios.iter().map(Vec::len).min().unwrap_or(0);
        let effect = |at: usize| {
            Effect::over_seeds(&ratios.iter().map(|ratio| ratio[at]).collect::<Vec<_>>())
        };
        let effects = (0..length).map(effect).collect::<Result<Vec<_>, _>>()?;
        if !effects.is_empty() {
            figure = figure.series(setting.title, points(&effects, 0));
        }
    }
    Ok(figure)
}

pub(in super::super) fn tables(records: &Records) -> Vec<Table> {
    let metrics = [
        ("utility", "utility, mean"),
        ("last round", "utility, last"),
        ("regret", "regret, last"),
        ("Gini", "gini, last"),
        ("coverage", "coverage, last"),
        ("effective items", "effective items, last"),
        ("legacy correlation", "legacy, last"),
    ];
    let mut tables = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| setting.key != "fixed") {
        let columns = ["server"].into_iter().chain(metrics.map(|(heading, _)| heading));
        let mut table = Table::new(setting.title, columns).note(
            "Utility over that of the ideal lists, mean of all rounds but the first; regret in expected clicks, all rounds; the rest \
             in the last round. Exposure counts an impression by how likely it was looked at, and items never shown.",
        );
        for server in setting.servers {
            let mut row = vec![TableValue::from(*server)];
            row.extend(metrics.map(|(_, metric)| records.value(&arm(setting.key, server), metric)));
            table = table.row(row);
        }
        tables.push(table);
    }
    tables.push(arrived(records));
    tables.push(unchanging(records));
    tables.push(identification(records));
    tables.push(calibration(records));
    tables.push(homogeneity(records));
    tables
}

fn arrived(records: &Records) -> Table {
    let setting = setting("arriving");
    let columns = ["server", "exposure of arrived items"];
    let mut table = Table::new(format!("{}: who is shown", setting.title), columns)
        .note("Share of exposure that falls on items that were not there in the first round, mean of all others.");
    for server in setting.servers {
        let value = records.value(&arm(setting.key, server), "exposure of arrived, mean");
        table = table.row([TableValue::from(*server), value]);
    }
    table
}

/// What is so by construction, and would be no control.
fn unchanging(records: &Records) -> Table {
    let arm = arm("b", "frozen");
    let value = |metric| records.value(&arm, metric);
    Table::new("World B, frozen: change per round", ["utility", "Gini coefficient"])
        .note("A ranker that is not retrained serves every round from the same distribution: both are 0 but for chance.")
        .row([value("utility, slope"), value("gini, slope")])
}

fn identification(records: &Records) -> Table {
    let columns =
        ["world", "remedy", "curves reported", "depth", "true depth", "share of it", "RMSE"];
    let mut table = Table::new("Bias curves, and whether the log identifies them", columns).note(
        "Curves reported: share of trainings whose log connects all slots by five items or more that were shown on both. \
         Depth: log θ of the first slot less that of the last. A log that connects the slots identifies the curve; it does not say that \
         a remedy finds it.",
    );
    for setting in measured() {
        for server in CURVES.into_iter().filter(|server| setting.servers.contains(server)) {
            let arm = arm(setting.key, server);
            let value = |metric| records.value(&arm, metric);
            let truth = records.series_effect(&arm, "true curve").ok();
            let truth = truth.and_then(|curve| curve.last()?.estimate);
            table = table.row([
                setting.title.into(),
                server.into(),
                value("identified"),
                value("curve, depth"),
                truth.map_or(TableValue::NoRecord, |last| TableValue::Number(-last, 2)),
                value("curve, share of depth"),
                value("curve, RMSE"),
            ]);
        }
    }
    let arm = arm("fixed", "frozen-tower");
    let refused = || TableValue::from("refused");
    table.row([
        setting("fixed").title.into(),
        "tower".into(),
        records.value(&arm, "identified"),
        refused(),
        refused(),
        refused(),
        refused(),
    ])
}

fn calibration(records: &Records) -> Table {
    const SLOTS: [usize; 3] = [0, 4, 9];
    let mut columns =
        vec!["server".to_owned(), "ECE, place given".to_owned(), "ECE, served".to_owned()];
    columns.extend(SLOTS.map(|slot| format!("slot {}, place given", slot + 1)));
    columns.extend(SLOTS.map(|slot| format!("slot {}, served", slot + 1)));
    let mut table = Table::new("World A: calibration by slot", columns).note(
        "Mean prediction less click rate in the last round, before it was trained on; errors are means over slots. What is served leaves \
         the place out, so that it should lie above the click rate the further down the more. Dual learning learns an order and no \
         probabilities.",
    );
    let server_has_ranker = |server: &&&str| !["frozen", "relevance", "random"].contains(*server);
    for server in setting("a").servers.iter().filter(server_has_ranker) {
        let arm = arm("a", server);
        let mut row = vec![TableValue::from(*server)];
        row.extend(["ECE, given place", "ECE, served"].map(|metric| records.value(&arm, metric)));
        for series in ["calibration, given place", "calibration, served"] {
            row.extend(SLOTS.map(|slot| records.value_at(&arm, series, slot)));
        }
        table = table.row(row);
    }
    table
}

fn homogeneity(records: &Records) -> Table {
    let setting = setting("lasting");
    let columns = ["server", "second round", "last round", "last round, less the oracle's"];
    let mut table = Table::new(format!("{}: how alike they become", setting.title), columns).note(
        "Mean Jaccard index of what two users have clicked so far, over the same 800 pairs in every arm.",
    );
    for &server in setting.servers {
        let own = arm(setting.key, server);
        let last = records.metric(&own, "homogeneity, last");
        let oracle = records.metric(&arm(setting.key, "oracle"), "homogeneity, last");
        let excess: Vec<f64> = last
            .iter()
            .filter_map(|(seed, own)| {
                let (_, oracle) = oracle.iter().find(|(other, _)| other == seed)?;
                Some(own - oracle)
            })
            .collect();
        let excess = match (server, Effect::over_seeds(&excess)) {
            ("oracle", _) => TableValue::Absent,
            (_, Ok(effect)) => effect.into(),
            (_, Err(_)) => TableValue::NoRecord,
        };
        table = table.row([
            server.into(),
            records.value_at(&own, "homogeneity", 1),
            records.value(&own, "homogeneity, last"),
            excess,
        ]);
    }
    table
}
