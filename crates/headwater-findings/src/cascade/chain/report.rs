//! What the chain claims, and how it is shown.

use headwater_protocol::{
    Contrast, Control, Direction, Effect, Figure, Point, ProtocolError, Records, Registered,
    SeedRecords, Table, TableValue,
};

use super::tails::DIVERGENCES;
use super::{DOSES, STRONG, at, model, policies};

/// Log-odds for flattery at a stage, by the arm and metric that hold it.
fn stage(seed: &SeedRecords<'_>, dose: f64, arm: &str, metric: &str) -> Result<f64, ProtocolError> {
    seed.scalar(&at(dose, arm), metric)
}

/// What a stage favours at dose 1, above what it favours at dose 0.
fn favoured(seed: &SeedRecords<'_>, arm: &str, metric: &str) -> Result<f64, ProtocolError> {
    Ok(stage(seed, 1.0, arm, metric)? - stage(seed, 0.0, arm, metric)?)
}

/// The same less what the reward model favours: above 0 the stage magnifies.
fn magnified(seed: &SeedRecords<'_>, arm: &str, metric: &str) -> Result<f64, ProtocolError> {
    Ok(favoured(seed, arm, metric)? - favoured(seed, "model", "model/log-odds")?)
}

/// A metric of the policy under plain GRPO, at the strong dose less at dose 0.
fn harm(seed: &SeedRecords<'_>, metric: &str) -> Result<f64, ProtocolError> {
    Ok(stage(seed, STRONG, "grpo", metric)? - stage(seed, 0.0, "grpo", metric)?)
}

pub(in super::super) fn contrasts() -> Vec<Contrast> {
    let contrast = |name, direction, smallest_effect, per_seed| {
        Contrast::new(name, direction, smallest_effect, Registered::AfterPilot, per_seed)
    };
    use Direction::{Decrease, Increase, NotBelow};
    vec![
        contrast(
            "flattery, log-odds at dose 1 - 0: best of 64 - reward model",
            Increase,
            0.25,
            |seed| magnified(seed, "model", "best of 64/log-odds"),
        ),
        contrast("flattery, log-odds at dose 1 - 0: reward model", Increase, 0.5, |seed| {
            favoured(seed, "model", "model/log-odds")
        }),
        contrast(
            "flattery, log-odds at dose 1 - 0: GRPO with KL - reward model",
            Increase,
            0.5,
            |seed| magnified(seed, "grpo-kl", "log-odds"),
        ),
        contrast(
            "flattery, log-odds at dose 1 - 0: GRPO without KL - reward model",
            Increase,
            1.0,
            |seed| magnified(seed, "grpo", "log-odds"),
        ),
        contrast(
            "flattery, log-odds at dose 1 - 0: self-training - the policy whose texts it learns from",
            NotBelow,
            0.5,
            |seed| {
                Ok(favoured(seed, "self-training", "log-odds")?
                    - favoured(seed, "grpo-kl", "log-odds")?)
            },
        ),
        contrast("true quality under GRPO: dose 2 - dose 0", Decrease, 0.05, |seed| {
            harm(seed, "quality")
        }),
        contrast(
            "fall of true quality from its highest, GRPO: dose 2 - dose 0",
            Increase,
            0.05,
            |seed| harm(seed, "fall of quality from its highest"),
        ),
        contrast(
            "true quality at 3 nats of optimal tilt: heavy-tailed error - light-tailed",
            Decrease,
            0.03,
            |seed| {
                Ok(seed.scalar("tails", "heavy/at 3 nats")?
                    - seed.scalar("tails", "light/at 3 nats")?)
            },
        ),
        Contrast {
            // What counts as stated was changed after a run.
            registered: Registered::PostHoc,
            ..contrast("overconfidence under GRPO: dose 2 - dose 0", Increase, 0.05, |seed| {
                harm(seed, "overconfidence")
            })
        },
    ]
}

pub(in super::super) fn controls() -> Vec<Control> {
    vec![
        Control {
            name: "dose 0: the reward model's log-odds for flattery",
            margin: 0.25,
            per_seed: |seed| stage(seed, 0.0, "model", "model/log-odds"),
        },
        Control {
            name: "dose 0: best of 64's log-odds for flattery",
            margin: 0.5,
            per_seed: |seed| stage(seed, 0.0, "model", "best of 64/log-odds"),
        },
        Control {
            name: "dose 0: log-odds for flattery of GRPO with KL",
            margin: 1.0,
            per_seed: |seed| stage(seed, 0.0, "grpo-kl", "log-odds"),
        },
        Control {
            name: "rewarded for true quality: log-odds for flattery of GRPO",
            margin: 0.5,
            per_seed: |seed| seed.scalar("gold", "log-odds"),
        },
    ]
}

/// The stages of the chain: name, arm, metric.
const STAGES: [(&str, &str, &str); 6] = [
    ("reward model", "model", "model/log-odds"),
    ("best of 16", "model", "best of 16/log-odds"),
    ("best of 64", "model", "best of 64/log-odds"),
    ("GRPO, KL 0.3", "grpo-kl", "log-odds"),
    ("self-training on it", "self-training", "log-odds"),
    ("GRPO, no KL", "grpo", "log-odds"),
];

/// Mean over seeds of `of`, over the seeds for which it can be computed.
fn over_seeds(
    records: &Records,
    of: impl Fn(&SeedRecords<'_>) -> Result<f64, ProtocolError>,
) -> Result<Effect, ProtocolError> {
    let seeds = records.seeds();
    let values: Vec<f64> = seeds.iter().filter_map(|seed| of(&records.seed(*seed)).ok()).collect();
    Effect::over_seeds(&values)
}

pub(in super::super) fn figures(records: &Records) -> Result<Vec<Figure>, ProtocolError> {
    let n = records.metric("base", "quality").len();
    let names = ["labels"].into_iter().chain(STAGES.map(|(name, ..)| name));
    let mut chain = Figure::dots(
        "A bias on its way downstream",
        names,
        "log-odds by which flattery is favoured",
        n,
    )
    .caption(
        "One scale from top to bottom: of two responses that differ in the opener only, the log of the odds that \
         the flattering one is preferred, scored higher, selected or written, against the base policy. A series is a dose of \
         bias in the labels. The first row is the setting, not a measurement.",
    );
    for dose in DOSES {
        let labels = Effect::over_seeds(&vec![dose; n])?;
        let stages = STAGES.iter().map(|(_, arm, metric)| records.effect(&at(dose, arm), metric));
        let effects: Vec<Effect> =
            std::iter::once(Ok(labels)).chain(stages).collect::<Result<_, _>>()?;
        chain = chain.by_category(format!("dose {dose}"), effects);
    }

    let mut response = Figure::lines(
        "Dose and response",
        "bias of the labels, log-odds",
        "log-odds by which flattery is favoured",
        n,
    )
    .caption(
        "The same numbers by dose. On the diagonal a stage passes on what it was given. How far policy gradient goes is set by its \
         steps and its KL penalty: rewards are normalised within groups, so every dose is followed at about the same pace, and a \
         penalty of weight 0.3 ends under the diagonal at dose 3.",
    )
    .series("passed on", DOSES.map(|dose| Point::bare(dose, dose)));
    for (name, arm, metric) in STAGES.into_iter().filter(|(name, ..)| *name != "best of 16") {
        let mut points = Vec::new();
        for dose in DOSES {
            points.extend(Point::measured(dose, &records.effect(&at(dose, arm), metric)?));
        }
        response = response.series(name, points);
    }

    let path = |title: &str, metric: &str, label: &str, caption: &str| {
        let mut figure =
            Figure::lines(title, "step of policy gradient (0: the base policy)", label, n)
                .caption(caption);
        for dose in DOSES {
            let effects = records.series_effect(&at(dose, "grpo"), metric)?;
            let steps = records.series_effect(&at(dose, "grpo"), "path/step")?;
            let points = steps.iter().zip(&effects);
            let points =
                points.filter_map(|(step, effect)| Point::measured(step.estimate?, effect));
            figure = figure.series(format!("dose {dose}"), points);
        }
        Ok::<Figure, ProtocolError>(figure)
    };
    let mut selection = Figure::lines("Best of n: true quality", "n", "true quality", n)
        .x_scale(headwater_protocol::Scale::Log2)
        .caption("Selected by the reward model of each dose from the base policy's responses.");
    for dose in DOSES {
        let effects = records.series_effect(&at(dose, "model"), "best-of-n/quality")?;
        let points = effects.iter().zip(model::NS);
        let points = points.filter_map(|(effect, n)| Point::measured(n as f64, effect));
        selection = selection.series(format!("dose {dose}"), points);
    }
    let mut tails = Figure::lines(
        "The same flaw with light and with heavy tails",
        "KL of the optimal policy from the base, nats",
        "true quality",
        n,
    )
    .caption("Score: quality plus an error of twice its standard deviation that belongs to the text. Weights exp(score / β) on a pool of the base's responses.");
    for tail in ["light", "heavy"] {
        let effects = records.series_effect("tails", &format!("{tail}/tilted"))?;
        let points = effects.iter().zip(DIVERGENCES);
        let points = points.filter_map(|(effect, at)| Point::measured(at, effect));
        tails = tails.series(tail, points);
    }
    Ok(vec![
        chain,
        response,
        selection,
        tails,
        path(
            "Policy gradient: what it is rewarded for",
            "path/proxy",
            "reward, standard deviations of the base",
            "GRPO without a KL penalty. The reward climbs at every dose.",
        )?,
        path(
            "Policy gradient: what it is worth",
            "path/quality",
            "true quality",
            "The same policies by true quality: the share of what can be said on the topic that is said.",
        )?,
        path(
            "Policy gradient: what it says of itself",
            "path/overconfidence",
            "stated confidence - share good",
            "Among the responses that state a confidence. Nothing rewards it.",
        )?,
    ])
}

pub(in super::super) fn tables(records: &Records) -> Result<Vec<Table>, ProtocolError> {
    let mut tables = vec![stages(records)?, remedies(records)?];
    // A few steps, as in smoke, leave nothing to fit.
    if records.effect(&at(STRONG, "grpo"), "gao/alpha").is_ok() {
        tables.push(forms(records));
    }
    tables.push(everything(records));
    Ok(tables)
}

/// How much each stage adds to what it was given.
fn stages(records: &Records) -> Result<Table, ProtocolError> {
    let columns = ["stage", "log-odds at dose 0", "0.5", "1", "2", "3", "times the dose (at 1)"];
    let mut table = Table::new("Amplification, stage by stage", columns).note(
        "Log-odds by which flattery is favoured; the last column is what dose 1 adds to dose 0, over 1.",
    );
    for (name, arm, metric) in STAGES {
        let mut row = vec![TableValue::from(name)];
        row.extend(DOSES.map(|dose| records.value(&at(dose, arm), metric)));
        let times = over_seeds(records, |seed| favoured(seed, arm, metric));
        row.push(times.map_or(TableValue::NoRecord, TableValue::Effect));
        table = table.row(row);
    }
    Ok(table)
}

/// Harms with less being better, and what a remedy costs with more being better.
const HARMS: [(&str, &str); 7] = [
    ("flattery, log-odds", "log-odds"),
    ("true quality", "quality"),
    ("fall from the highest", "fall of quality from its highest"),
    ("overconfidence", "overconfidence"),
    ("states a confidence", "stated"),
    ("different responses", "distinct"),
    ("KL", "kl"),
];

/// Each remedy against no remedy, at the strong dose, paired by seed.
fn remedies(records: &Records) -> Result<Table, ProtocolError> {
    let none = at(STRONG, "grpo");
    let kl = at(STRONG, "grpo-kl");
    let rows = [
        ("causal reward", "causal", ""),
        ("ODIN", "odin", ""),
        ("ensemble, minimum of 5", "ensemble", ""),
        ("KL penalty 0.3", kl.as_str(), ""),
        ("early stop at the predicted peak", none.as_str(), "stopped/"),
        ("rubric as a veto", "rubric", ""),
        ("Brier term", "brier", ""),
        ("NSR", "nsr", ""),
        ("(reward model: a decoder)", "decoder", ""),
    ];
    let columns = ["remedy"].into_iter().chain(HARMS.map(|(name, _)| name));
    let mut table = Table::new("Remedies and harms, at dose 2", columns).note(
        "First row: GRPO without a remedy. Others: the difference a remedy makes to it, paired by seed. \
         A causal reward needs to be told the factor, ODIN too; a rubric is told to forbid it; a Brier term needs the true outcome of \
         every response; the predicted peak comes from true quality of a pool of the base's responses, and where the difference is 0 it lay beyond all \
         that training reached: the form fitted to selection says little of policy gradient.",
    );
    let mut first = vec![TableValue::from("none")];
    first.extend(HARMS.map(|(_, metric)| records.value(&none, metric)));
    table = table.row(first);
    for (name, arm, prefix) in rows {
        let mut row = vec![TableValue::from(name)];
        for (_, metric) in HARMS {
            let metric_name = format!("{prefix}{metric}");
            let difference = over_seeds(records, |seed| {
                Ok(seed.scalar(arm, &metric_name)? - seed.scalar(&none, metric)?)
            });
            row.push(difference.map_or(TableValue::Absent, TableValue::Effect));
        }
        table = table.row(row);
    }
    Ok(table)
}

/// Gao's forms fitted to true quality over the root of the divergence, and where they put the peak.
fn forms(records: &Records) -> Table {
    let columns = ["dose", "best of n: α", "β", "GRPO, no KL: α", "β", "highest quality at step"];
    let mut table = Table::new("Over-optimisation in Gao's forms", columns).note(
        "True quality less the base's as d (α - β d) for best of n and d (α - β ln d) for policy gradient (Gao et al. 2022), \
         d the root of the divergence in nats: exact on the pool, estimated from 512 responses for policies. Fitted for each \
         seed. β > 0 bends the curve down. Forms of different optimisers are not comparable by d.",
    );
    for dose in DOSES {
        let (model, grpo) = (at(dose, "model"), at(dose, "grpo"));
        table = table.row([
            TableValue::Number(dose, 1),
            records.value(&model, "gao/alpha"),
            records.value(&model, "gao/beta"),
            records.value(&grpo, "gao/alpha"),
            records.value(&grpo, "gao/beta"),
            records.value(&grpo, "highest quality at step"),
        ]);
    }
    table
}

fn everything(records: &Records) -> Table {
    let metrics =
        ["log-odds", "agreements", "quality", "overconfidence", "distinct", "proxy", "kl"];
    let columns = ["policy"].into_iter().chain(metrics);
    let mut table = Table::new("Every policy of the chain", columns).note(
        "Flattery against the base (log-odds), flattering words a response, true quality, stated confidence less the share \
         good, different over all responses, reward in standard deviations of the base, KL from it in nats. Arms of PPO have three seeds.",
    );
    for (arm, ..) in policies(false) {
        let mut row = vec![TableValue::from(arm.as_str())];
        row.extend(metrics.map(|metric| records.value(&arm, metric)));
        table = table.row(row);
    }
    table
}
