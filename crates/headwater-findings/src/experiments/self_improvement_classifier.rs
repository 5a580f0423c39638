//! Experiment `self-improvement-classifier`: a classifier with shared weights that learns from
//! labels by itself, by a past checkpoint, by chance, by a judge, by users, by a tool or by gold;
//! and how strong each anchor has to be.
//!
//! Arms share task, base, prompts, answers per prompt and steps. They differ in what answers are
//! rewarded by, or in one setting. In two arms labels carry nothing: those by chance, and those of
//! a judge who knows nothing.

use headwater_core::{Check, Streams};
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Metrics, Plan,
    Preset, ProtocolError, Scalar, Series, Settings, metrics,
};
use headwater_self_improvement::anchor::AnchorConfig;
use headwater_self_improvement::classifier::{
    self, ClassifierLoopConfig, ClassifierWorld, ClassifierWorldConfig, Evaluation, Voters,
};
use serde::{Deserialize, Serialize};

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct SelfImprovementClassifier;

/// Agreement with the group's own majority.
pub const OWN_MAJORITY: Arm = Arm::new("own-majority");
/// The same in groups of 4 answers, not 16.
pub const GROUP_4: Arm = Arm::new("group-4");
/// The same on 16 prompts that come again and again.
pub const FIXED_16: Arm = Arm::new("fixed-16");
/// The same with a KL penalty to the base.
pub const KL: Arm = Arm::new("kl-0.3");
/// The majority of a checkpoint that never changes: the base.
pub const FROZEN: Arm = Arm::new("frozen");
/// Labels by chance.
pub const CHANCE: Arm = Arm::new("chance");
/// True labels.
pub const GOLD: Arm = Arm::new("gold");
/// True labels for one prompt in ten, the own majority's for the others.
pub const GOLD_TENTH: Arm = Arm::new("gold-0.1");

/// A judge right with probability `accuracy`, whose errors go with the majority's.
#[must_use]
pub fn judge(accuracy: f64, correlation: f64) -> Arm {
    format!("judge-{accuracy}-{correlation}").into()
}

/// The own majority, of whose wrong labels users correct a share.
#[must_use]
pub fn corrections(share: f64) -> Arm {
    format!("corrections-{share}").into()
}

/// The own majority, but on a share of prompts that a tool checks.
#[must_use]
pub fn tool(share: f64) -> Arm {
    format!("tool-{share}").into()
}

/// Accuracies of the judges.
pub const ACCURACIES: [f64; 4] = [0.3, 0.5, 0.7, 0.9];
/// Correlations of the judges' errors with the majority's.
pub const CORRELATIONS: [f64; 3] = [0.0, 0.4, 0.8];
/// Shares of wrong majorities corrected, or of prompts checked.
pub const SHARES: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 0.5];

/// Evaluations after the first, at equal distances.
pub const EVALUATIONS: usize = 20;
/// Steps of every loop.
pub const STEPS: usize = 2000;
/// Small steps: Adam moves every weight by about the rate times the root of the steps whatever the
/// reward says, which labels by chance show. At four times the rate that alone costs as much
/// accuracy as half of the collapse.
const RATE: f64 = 5e-4;
/// One in a hundred of the labels a supervised run would see of as many prompts as fit an evaluation,
/// rounded up.
const SPLIT: usize = 20;

/// Every arm with its loop.
fn courses() -> Vec<(Arm, ClassifierLoopConfig)> {
    let own = ClassifierLoopConfig {
        learning_rate: RATE,
        steps: STEPS,
        ..ClassifierLoopConfig::default()
    };
    let anchored = |anchor| ClassifierLoopConfig { anchor, ..own };
    let checkpoint =
        |voters| ClassifierLoopConfig { voters, anchor: AnchorConfig::Checkpoint, ..own };
    let judged = |accuracy, correlation| {
        (judge(accuracy, correlation), anchored(AnchorConfig::Judge { accuracy, correlation }))
    };
    let gold = |share| anchored(AnchorConfig::Gold { share });
    let mut courses = vec![
        (OWN_MAJORITY, own),
        (GROUP_4, ClassifierLoopConfig { group: 4, ..own }),
        (FIXED_16, ClassifierLoopConfig { pool: Some(16), ..own }),
        (KL, ClassifierLoopConfig { kl: 0.3, ..own }),
        (FROZEN, checkpoint(Voters::Base)),
        (CHANCE, anchored(AnchorConfig::Chance)),
        judged(0.1, 0.0),
        (GOLD, gold(1.0)),
        (GOLD_TENTH, gold(0.1)),
        (Arm::new("moving-average"), checkpoint(Voters::Average { rate: 0.005 })),
        (Arm::new("kl-0.05"), ClassifierLoopConfig { kl: 0.05, ..own }),
        (Arm::new("entropy-bonus"), ClassifierLoopConfig { entropy: 0.05, ..own }),
        (Arm::new("agreement-0.6"), ClassifierLoopConfig { least_agreement: 0.6, ..own }),
        (Arm::new("easy"), ClassifierLoopConfig { least_confidence: 0.6, ..own }),
        (Arm::new("rate-x4"), ClassifierLoopConfig { learning_rate: 4.0 * RATE, ..own }),
        (Arm::new("gold-0.3"), gold(0.3)),
        (Arm::new("gold-0.6"), gold(0.6)),
    ];
    for accuracy in ACCURACIES {
        courses.extend(CORRELATIONS.map(|correlation| judged(accuracy, correlation)));
    }
    for share in SHARES {
        courses.push((corrections(share), anchored(AnchorConfig::Corrections { share })));
        courses.push((tool(share), anchored(AnchorConfig::Tool { coverage: share })));
    }
    courses
}

/// Every arm.
pub fn arms() -> impl Iterator<Item = Arm> {
    courses().into_iter().map(|(arm, _)| arm)
}

/// Mean probability of the right answer at the end.
pub const ACCURACY: Scalar = Scalar::new("accuracy");
/// The same at the start.
pub const BASE_ACCURACY: Scalar = Scalar::new("base accuracy");
/// The highest over evaluations, which needs the truth to be found.
pub const BEST_ACCURACY: Scalar = Scalar::labelled("best accuracy", "highest");
/// The same at the first evaluation after the start.
pub const EARLY_ACCURACY: Scalar = Scalar::labelled("early accuracy", "after 100 steps");
/// The same at the look at which the labelled prompts are answered best.
pub const STOPPED_ACCURACY: Scalar = Scalar::labelled("stopped accuracy", "stopped by 20 labels");
/// Share of prompts whose likeliest answer is right, at the end.
pub const GREEDY: Scalar = Scalar::new("greedy");
/// The same at the start: the level of the base's own majority.
pub const BASE_GREEDY: Scalar = Scalar::new("base greedy");
/// Probability that one of 16 answers is right, at the end.
pub const PASS_16: Scalar = Scalar::new("pass@16");
/// Share of prompts with the most common likeliest answer, at the end.
pub const TOP_SHARE: Scalar = Scalar::labelled("top share", "top-answer share");
/// The same at the start.
pub const BASE_TOP_SHARE: Scalar = Scalar::new("base top share");
/// Mean probability of the likeliest answer less the accuracy, at the end.
pub const EXCESS: Scalar = Scalar::labelled("self-score excess", "self-score less accuracy");
/// KL from the base, nats, at the end.
pub const KL_TO_BASE: Scalar = Scalar::labelled("kl", "KL to base");
/// What weighing answers by their own probability would gain, at the end.
pub const GAP: Scalar = Scalar::new("gap");
/// The same at the start.
pub const BASE_GAP: Scalar = Scalar::new("base gap");
/// Right answers given away.
pub const LABELS: Scalar = Scalar::labelled("labels", "labels imported");
/// Answers said to be right or wrong.
pub const VERDICTS: Scalar = Scalar::labelled("verdicts", "verdicts imported");
/// Accuracy by evaluation.
pub const ACCURACY_BY_EVALUATION: Series = Series::new("accuracy");
/// Top-answer share by evaluation.
pub const TOP_SHARE_BY_EVALUATION: Series = Series::new("top share");
/// pass@16 by evaluation.
pub const PASS_16_BY_EVALUATION: Series = Series::new("pass@16");

type Seen = (Series, fn(&Evaluation) -> f64);

/// What is recorded of every evaluation.
const BY_EVALUATION: [Seen; 4] = [
    (ACCURACY_BY_EVALUATION, |evaluation| evaluation.accuracy),
    (TOP_SHARE_BY_EVALUATION, |evaluation| evaluation.top_share),
    (PASS_16_BY_EVALUATION, |evaluation| evaluation.pass_at_16),
    (Series::new("self-score excess"), |evaluation| evaluation.self_score_excess),
];

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassifierConfig {
    world: ClassifierWorldConfig,
    course: ClassifierLoopConfig,
    /// Evaluations after the first, at equal distances.
    evaluations: usize,
    /// Held-out prompts, and labelled ones for early stopping.
    test: usize,
    split: usize,
}

fn config(course: ClassifierLoopConfig, smoke: bool) -> ClassifierConfig {
    ClassifierConfig {
        world: ClassifierWorldConfig {
            fit_steps: if smoke { 5 } else { 60 },
            ..ClassifierWorldConfig::default()
        },
        course: ClassifierLoopConfig { steps: if smoke { 40 } else { course.steps }, ..course },
        evaluations: if smoke { 4 } else { EVALUATIONS },
        test: if smoke { 50 } else { 2000 },
        split: SPLIT,
    }
}

impl Experiment for SelfImprovementClassifier {
    fn id(&self) -> &'static str {
        "self-improvement-classifier"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![
            ACCURACY,
            BASE_ACCURACY,
            BEST_ACCURACY,
            EARLY_ACCURACY,
            STOPPED_ACCURACY,
            GREEDY,
            BASE_GREEDY,
            PASS_16,
            TOP_SHARE,
            BASE_TOP_SHARE,
            EXCESS,
            KL_TO_BASE,
            GAP,
            BASE_GAP,
            LABELS,
            VERDICTS,
        ];
        metrics.extend(BY_EVALUATION.map(|(series, _)| series.into()));
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut planned = Vec::new();
        for (arm, course) in courses() {
            planned.push(ArmPlan::new(arm, &config(course, smoke))?.if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = context.streams.child("tasks that no pilot saw", &[]);
        Ok(run(&cell.config()?, &streams)?.into())
    }
}

/// Runs one loop.
fn run(config: &ClassifierConfig, streams: &Streams) -> Result<Metrics, CellError> {
    let world = ClassifierWorld::new(config.world.check()?, streams);
    let settings = config.course.check()?;
    let sizes = (config.test, config.split);
    let course = classifier::run(&world, &settings, config.evaluations, sizes, streams);
    let (first, last) = (course.evaluations[0], course.evaluations[config.evaluations]);
    // Where the labelled split is best, the earliest of equals.
    let best = (0..=config.evaluations)
        .rev()
        .max_by(|a, b| course.labelled[*a].total_cmp(&course.labelled[*b]));
    let stopped = course.evaluations[best.unwrap_or(0)];
    let metrics = Metrics::new()
        .scalar(&BASE_ACCURACY, first.accuracy)
        .scalar(&BASE_GREEDY, first.greedy)
        .scalar(&BASE_TOP_SHARE, first.top_share)
        .scalar(&ACCURACY, last.accuracy)
        .scalar(&GREEDY, last.greedy)
        .scalar(&PASS_16, last.pass_at_16)
        .scalar(&TOP_SHARE, last.top_share)
        .scalar(&EXCESS, last.self_score_excess)
        .scalar(&KL_TO_BASE, last.kl)
        .scalar(&GAP, last.gap)
        .scalar(&BASE_GAP, first.gap)
        .scalar(&BEST_ACCURACY, course.evaluations.iter().map(|l| l.accuracy).fold(0.0, f64::max))
        .scalar(&EARLY_ACCURACY, course.evaluations[1].accuracy)
        .scalar(&STOPPED_ACCURACY, stopped.accuracy)
        .scalar(&LABELS, course.imported.labels as f64)
        .scalar(&VERDICTS, course.imported.verdicts as f64);
    Ok(BY_EVALUATION.iter().fold(metrics, |metrics, (series, of)| {
        metrics.series(series, course.evaluations.iter().map(of).collect::<Vec<f64>>())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("self-improvement-classifier");
    }

    #[test]
    fn every_arm_is_valid_and_has_a_name_of_its_own() {
        let arms = courses();
        for (at, (name, course)) in arms.iter().enumerate() {
            assert!(arms[..at].iter().all(|(other, _)| other != name), "{name}");
            let config = config(*course, false);
            assert!(config.course.check().is_ok() && config.world.check().is_ok(), "{name}");
        }
    }

    #[test]
    fn arms_differ_in_one_thing() {
        let arms = courses();
        let of = |name: Arm| arms.iter().find(|(arm, _)| *arm == name).unwrap().1;
        let own = of(OWN_MAJORITY);
        assert_eq!(ClassifierLoopConfig { group: 16, ..of(GROUP_4) }, own);
        assert_eq!(ClassifierLoopConfig { kl: 0.0, ..of(KL) }, own);
        assert_eq!(ClassifierLoopConfig { pool: None, ..of(FIXED_16) }, own);
        for arm in [GOLD, CHANCE, corrections(0.3), tool(0.3), judge(0.7, 0.0)] {
            assert_eq!(
                ClassifierLoopConfig { anchor: own.anchor, ..of(arm.clone()) },
                own,
                "{arm}"
            );
        }
    }
}
