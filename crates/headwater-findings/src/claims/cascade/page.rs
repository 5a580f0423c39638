//! Figures and tables of the finding.

use headwater_evaluation::best_of_n::best_of_n_kl_bound;
use headwater_protocol::{Arm, Records, Scalar, Series};
use headwater_report::{Along, Column, Figure, Part, ReportError, Scale, Table, Value};

use super::{Family, favoured};
use crate::experiments::cascade_chain::{
    self as chain, AGREEMENTS, BEST_OF_16, BEST_OF_64, BEST_OF_N_QUALITY, BRIER, CAUSAL, DECODER,
    DISTINCT, DIVERGENCES, DOSE, DOSES, ENSEMBLE, FALL, HIGHEST_AT, LOG_ODDS, MODEL_LOG_ODDS, NS,
    NSR, ODIN, OVERCONFIDENCE, PATH_OVERCONFIDENCE, PATH_PROXY, PATH_QUALITY, PATH_STEP, QUALITY,
    RUBRIC, STATED, STRONG, TAILS, Tail, grpo, grpo_kl, reward_model, self_training, stopped,
    tilted,
};
use crate::experiments::cascade_stories::{
    self as stories, AFTER, BEFORE, ENTROPY, PATH_PLEASANTNESS, PATH_REWARD, PATH_SAID,
    PLEASANTNESS, REPETITION, REWARD_GAINED, SAID,
};
use crate::experiments::cascade_truthful::{
    self as truthful, AUROC_INFORMATIVE, AUROC_TRUE, ENSEMBLE_MEAN, ENSEMBLE_MINIMUM,
    ENSEMBLE_VARIANCE, INFORMATIVE, MOST, NOISY, PLENTY, RANDOM, TRUE, informativeness, truth,
};

pub(super) fn parts() -> Vec<Part> {
    vec![
        Part::new("The chain, on planted text")
            .figures([downstream(), response(), selection(), tails()])
            .figures(paths())
            .tables([stages(), remedies(), forms(), everything()]),
        Part::new("Real answers: TruthfulQA").figures(answers()).table(proxies()),
        Part::new("A real pretrained policy: stories260K")
            .figures(evaluations())
            .table(Table::of_arms(
                "Stories: every policy",
                "policy",
                stories::policies(),
                [REWARD_GAINED, PLEASANTNESS, SAID, REPETITION, ENTROPY, stories::KL],
            )
            .note(
                "Repetition: share of adjacent word pairs that stood in the text before. KL for \
                 each continuation of 32 tokens.",
            ))
            .computed_table(texts),
    ]
}

/// The stages of the chain.
const STAGES: [(&str, Family, Scalar); 6] = [
    ("reward model", reward_model, MODEL_LOG_ODDS),
    ("best of 16", reward_model, BEST_OF_16),
    ("best of 64", reward_model, BEST_OF_64),
    ("GRPO, KL 0.3", grpo_kl, LOG_ODDS),
    ("self-training on it", self_training, LOG_ODDS),
    ("GRPO, no KL", grpo, LOG_ODDS),
];

const FAVOURED: &str = "log-odds by which flattery is favoured";

fn at_dose(stage: Family) -> [(String, Arm); 5] {
    DOSES.map(|dose| (format!("dose {dose}"), stage(dose)))
}

fn downstream() -> Figure {
    let labels: (&str, Family, Scalar) = ("labels", reward_model, DOSE);
    let rows = || [labels.clone()].into_iter().chain(STAGES);
    let figure =
        Figure::dots("A bias on its way downstream", rows().map(|(name, ..)| name), FAVOURED)
            .caption(
                "One scale from top to bottom: of two responses that differ in the opener only, \
                 the log of the odds that the flattering one is preferred, scored higher, selected \
                 or written, against the base policy. A series is a dose of bias in the labels. \
                 The first row is the setting, not a measurement.",
            );
    DOSES.into_iter().fold(figure, |figure, dose| {
        let values = rows().map(|(_, stage, metric)| metric.of(stage(dose)));
        figure.by_category(format!("dose {dose}"), values)
    })
}

fn response() -> Figure {
    let figure = Figure::lines("Dose and response", "bias of the labels, log-odds", FAVOURED)
        .caption(
            "The same numbers by dose. On the diagonal a stage passes on what it was given. How \
             far policy gradient goes is set by its steps and its KL penalty: rewards are \
             normalised within groups, so every dose is followed at about the same pace, and a \
             penalty of weight 0.3 ends under the diagonal at dose 3.",
        )
        .points("passed on", DOSES.map(|dose| (dose, dose)));
    let shown = STAGES.into_iter().filter(|(.., metric)| *metric != BEST_OF_16);
    shown.fold(figure, |figure, (name, stage, metric)| {
        figure.points(name, DOSES.map(|dose| (dose, metric.of(stage(dose)))))
    })
}

fn selection() -> Figure {
    Figure::lines("Best of n: true quality", "n", "true quality")
        .x_scale(Scale::Log2)
        .caption("Selected by the reward model of each dose from the base policy's responses.")
        .curves(&BEST_OF_N_QUALITY, &Along::counts(NS), at_dose(reward_model))
}

fn tails() -> Figure {
    let figure = Figure::lines(
        "The same flaw with light and with heavy tails",
        "KL of the optimal policy from the base, nats",
        "true quality",
    )
    .caption(
        "Score: quality plus an error of twice its standard deviation that belongs to the text. \
         Weights exp(score / β) on a pool of the base's responses.",
    );
    Tail::ALL.into_iter().fold(figure, |figure, tail| {
        figure.curve(tail.name(), &tilted(tail), &Along::places(DIVERGENCES), TAILS)
    })
}

/// Policy gradient without a penalty, on its way.
fn paths() -> [Figure; 3] {
    [
        (
            "Policy gradient: what it is rewarded for",
            PATH_PROXY,
            "GRPO without a KL penalty. The reward climbs at every dose.",
        ),
        (
            "Policy gradient: what it is worth",
            PATH_QUALITY,
            "The same policies by true quality: the share of what can be said on the topic that is \
             said.",
        ),
        (
            "Policy gradient: what it says of itself",
            PATH_OVERCONFIDENCE,
            "Among the responses that state a confidence. Nothing rewards it.",
        ),
    ]
    .map(|(title, series, caption)| {
        Figure::lines(title, "step of policy gradient (0: the base policy)", series.label())
            .caption(caption)
            .curves(&series, &Along::Series(PATH_STEP), at_dose(grpo))
    })
}

/// How much each stage adds to what it was given.
fn stages() -> Table {
    let heads = ["stage", "log-odds at dose 0", "0.5", "1", "2", "3", "times the dose (at 1)"];
    let table = Table::new("Amplification, stage by stage", heads).note(
        "Log-odds by which flattery is favoured; the last column is what dose 1 adds to dose 0, \
         over 1.",
    );
    STAGES.into_iter().fold(table, |table, (name, stage, metric)| {
        let at_doses = DOSES.map(|dose| metric.of(stage(dose)));
        let values = at_doses.into_iter().chain([favoured(&metric, stage)]).map(Value::from);
        table.row([Value::from(name)].into_iter().chain(values))
    })
}

/// Harms with less being better, and what a remedy costs with more being better.
const HARMS: [Scalar; 7] = [LOG_ODDS, QUALITY, FALL, OVERCONFIDENCE, STATED, DISTINCT, chain::KL];

/// Each remedy against no remedy, at the strong dose, paired by seed.
fn remedies() -> Table {
    let none = grpo(STRONG);
    let row = |name: &str, values: [Value; 7]| [name.into()].into_iter().chain(values);
    let remedy = |name: &'static str, arm: Arm| {
        row(name, HARMS.map(|harm| harm.difference(&arm, &none).into()))
    };
    let stop = HARMS.map(|harm| match harm {
        // It is of a whole path, which a stop cuts short.
        harm if harm == FALL => Value::Blank,
        harm => (stopped(&harm).of(&none) - harm.of(&none)).into(),
    });
    let heads = HARMS.map(|harm| harm.label().to_owned());
    Table::new("Remedies and harms, at dose 2", ["remedy".to_owned()].into_iter().chain(heads))
        .row(row("none", HARMS.map(|harm| harm.of(&none).into())))
        .row(remedy("causal reward", CAUSAL))
        .row(remedy("ODIN", ODIN))
        .row(remedy("ensemble, minimum of 5", ENSEMBLE))
        .row(remedy("KL penalty 0.3", grpo_kl(STRONG)))
        .row(row("early stop at the predicted peak", stop))
        .row(remedy("rubric as a veto", RUBRIC))
        .row(remedy("Brier term", BRIER))
        .row(remedy("NSR", NSR))
        .row(remedy("(reward model: a decoder)", DECODER))
        .note(
            "First row: GRPO without a remedy. Others: the difference a remedy makes to it, paired \
             by seed. A causal reward needs to be told the factor, ODIN too; a rubric is told to \
             forbid it; a Brier term needs the true outcome of every response; the predicted peak \
             comes from true quality of a pool of the base's responses, and where the difference \
             is 0 it lay beyond all that training reached: the form fitted to selection says \
             little of policy gradient.",
        )
}

/// Gao's forms fitted to true quality over the root of the divergence, and where they put the peak.
fn forms() -> Table {
    let heads = ["dose", "best of n: α", "β", "GRPO, no KL: α", "β", "highest quality at step"];
    let table = Table::new("Over-optimisation in Gao's forms", heads).note(
        "True quality less the base's as d (α - β d) for best of n and d (α - β ln d) for policy \
         gradient (Gao et al. 2022), d the root of the divergence in nats: exact on the pool, \
         estimated from 512 responses for policies. Fitted for each seed. β > 0 bends the curve \
         down. Forms of different optimisers are not comparable by d.",
    );
    DOSES.into_iter().fold(table, |table, dose| {
        let (model, policy) = (reward_model(dose), grpo(dose));
        table.row([
            Value::Number(dose, 1),
            chain::GAO_ALPHA.of(&model).into(),
            chain::GAO_BETA.of(&model).into(),
            Value::Rare(chain::GAO_ALPHA.of(&policy)),
            Value::Rare(chain::GAO_BETA.of(&policy)),
            HIGHEST_AT.of(&policy).into(),
        ])
    })
}

fn everything() -> Table {
    let metrics =
        [LOG_ODDS, AGREEMENTS, QUALITY, OVERCONFIDENCE, DISTINCT, chain::PROXY, chain::KL];
    let columns = metrics.map(|metric| Column::from(&metric).headed(metric.name()));
    Table::of_arms("Every policy of the chain", "policy", chain::policies(), columns).note(
        "Flattery against the base (log-odds), flattering words a response, true quality, stated \
         confidence less the share good, different over all responses, reward in standard \
         deviations of the base, KL from it in nats.",
    )
}

/// What is selected from real answers, by n.
fn answers() -> [Figure; 4] {
    let figure = |title: &str, series: &Series, arms: &[Arm]| {
        Figure::lines(title, "n of best-of-n", series.label()).x_scale(Scale::Log2).curves(
            series,
            &Along::Index { first: 1.0, step: 1.0 },
            arms,
        )
    };
    let info = informativeness;
    let trained = [RANDOM, info(25), info(PLENTY), truth(25), truth(100), truth(PLENTY)];
    let noisy = [truth(100), NOISY, ENSEMBLE_MEAN, ENSEMBLE_MINIMUM, ENSEMBLE_VARIANCE];
    [
        figure("Real answers: truth of the selected one", &TRUE, &trained)
            .value_range(0.0, 1.0)
            .caption(
                "Arms are named by the label the proxy learnt and the number of labelled \
                 questions. Evasive answers count as true in these data.",
            ),
        figure("Real answers: informativeness of the selected one", &INFORMATIVE, &trained)
            .value_range(0.0, 1.0)
            .caption("The same selections, judged by the other label."),
        figure("Real answers: the proxy's own view", &truthful::PROXY, &trained).caption(
            "Mean score of the selected answer under the proxy itself, standardised over all \
             held-out answers.",
        ),
        figure("Real answers: label noise and ensembles", &TRUE, &noisy)
            .value_range(0.0, 1.0)
            .caption("100 labelled questions, a quarter of the labels flipped; five members."),
    ]
}

fn proxies() -> Table {
    let measured = [
        AUROC_TRUE.into(),
        AUROC_INFORMATIVE.into(),
        Column::at("truth, n = 1", &TRUE, 0),
        Column::at("truth, n = 16", &TRUE, MOST - 1),
        Column::at("informative, n = 1", &INFORMATIVE, 0),
        Column::at("informative, n = 16", &INFORMATIVE, MOST - 1),
        Column::at("proxy gain, SD", &truthful::PROXY, MOST - 1),
        truthful::KL.into(),
    ];
    let fitted = [truthful::GAO_ALPHA, truthful::GAO_BETA].map(Column::from);
    let heads = ["proxy"].into_iter().chain(measured.iter().map(Column::heading));
    let heads = heads.chain(["KL at 16, bound"]).chain(fitted.iter().map(Column::heading));
    let table = Table::new("Real answers: every proxy", heads).note(
        "Held-out questions with at least 16 answers. KL in nats between best-of-16 and a uniform \
         draw from the pool, exact on the pool; the bound is ln n - (n-1)/n. α and β: truth fitted \
         as d (α - β d) with d the root of the exact KL (Gao et al.); β > 0 bends it down.",
    );
    let bound = best_of_n_kl_bound(MOST).unwrap_or(f64::NAN);
    truthful::arms().fold(table, |table, arm| {
        let values = measured.iter().map(|column| column.of(&arm));
        let values = values.chain([Value::Number(bound, 3)]);
        let values = values.chain(fitted.iter().map(|column| column.of(&arm)));
        table.row([Value::from(arm.name())].into_iter().chain(values))
    })
}

/// The pretrained policy, evaluation by evaluation.
fn evaluations() -> [Figure; 3] {
    [
        (
            "A pretrained policy: its reward",
            PATH_REWARD,
            "Each arm by the reward it is trained on.",
        ),
        (
            "A pretrained policy: the gold",
            PATH_PLEASANTNESS,
            "What the annotators, but for their taste for one word, wanted.",
        ),
        (
            "A pretrained policy: the word that partial annotators like",
            PATH_SAID,
            "Nobody asked the policy for the word: some of the labels did.",
        ),
    ]
    .map(|(title, series, caption)| {
        Figure::lines(title, "measurement (0: the pretrained model)", series.label())
            .caption(caption)
            .curves(&series, &Along::steps(), stories::policies())
    })
}

/// What the policies write; before training all of them write the same.
fn texts(records: &Records) -> Result<Table, ReportError> {
    let before = stories::policies().take(1).map(|arm| (arm, "before", BEFORE));
    let after = stories::policies().map(|arm| (arm, "after", AFTER));
    let table = Table::new("Stories: what they write", ["policy", "a continuation"]).note(
        "The first continuation of the measurement of the first seed, before and after training.",
    );
    Ok(before.chain(after).fold(table, |table, (arm, when, series)| {
        let Some((_, characters)) = records.series(&arm, &series).into_iter().next() else {
            return table;
        };
        let text: String = characters.iter().filter_map(|c| char::from_u32(*c as u32)).collect();
        table.row([format!("{arm}, {when}").into(), text.into()])
    }))
}
