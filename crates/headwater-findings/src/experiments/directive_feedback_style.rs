//! Experiment `directive-feedback-style`: what votes and hints teach of a hidden house style.
//!
//! The task ([`headwater_tasks::house_style`]) is to sort digits and write three style tokens as a
//! hidden user wants them. The base knows how to obey hints in its prompt and nothing of the user.
//! After each response the user says OK or REDO, and at times names a wrong slot and its value,
//! truly or falsely. Arms fork one base per seed and differ in what they make of votes and hints,
//! or in the user; all have the same number of interactions (responses with a reaction). Success is
//! measured without hints, except for the arm that only keeps hints in its prompt. Nobody rewards
//! sorting: it must survive.
//!
//! In one arm hints are drawn blindly.

use headwater_nn::{AdamWConfig, Checkpoint};
use headwater_optimizers::Objective;
use headwater_optimizers::directive::{HybridConfig, Signal};
use headwater_optimizers::distillation::Divergence;
use headwater_optimizers::top_k::TopK;
use headwater_protocol::{
    Arm, ArmPlan, Cell, CellContext, CellError, CellOutcome, Experiment, Metric, Plan, Preset,
    ProtocolError, Settings, metrics,
};
use serde::{Deserialize, Serialize};

use super::directive::{
    LOSS, LearnerConfig, Pretraining, REVERSE, SAMPLED, decoder, grpo, hints_only, hybrid,
    pretrain, votes_only,
};
use crate::device::device;
use headwater_tasks::house_style::{CONTEXT, Judge, Request, SLOTS, User, UserConfig, vocabulary};

mod course;
mod credit;
mod measure;

pub use course::{
    AREA, HINTS, INTERACTIONS_TO_90, LOG_INTERACTIONS_TO_90, REACHED_90, SORTED_BY_INTERACTIONS,
    SUCCESS_BY_INTERACTIONS, TEACHER_OBEDIENCE,
};
pub use credit::{SHARES, SIGNALS};
pub use measure::{
    GREEDY_SORTED, GREEDY_SUCCESS, OBEDIENCE, SAMPLED_SUCCESS, SLOTS_AS_WANTED, SORTED, SUCCESS,
    WHOLE,
};

use course::Course;

/// The experiment.
#[derive(Debug, Clone, Copy)]
pub struct DirectiveFeedbackStyle;

/// The base, which every other arm is forked from.
pub const BASE: Arm = Arm::new("base");
/// Votes alone, by GRPO.
pub const GRPO: Arm = Arm::new("grpo");
/// Hints alone, by the reverse KL over the whole vocabulary.
pub const OPD_REVERSE: Arm = Arm::new("opd-reverse");
/// Hints alone, by the four likeliest tokens.
pub const OPD_TOP_4: Arm = Arm::new("opd-top4");
/// Both, by GRPO and the reverse KL.
pub const HYBRID: Arm = Arm::new("hybrid");
/// Nothing is learnt: hints are kept in the prompt.
pub const MEMORY: Arm = Arm::new("memory");
/// Hints read by the frozen base.
pub const FROZEN_TEACHER: Arm = Arm::new("opd-reverse.frozen-teacher");
/// Hints read by the policy itself.
pub const CURRENT_TEACHER: Arm = Arm::new("opd-reverse.current-teacher");
/// A judge of one vote that errs often.
pub const ONE_VOTE: Arm = Arm::new("sparse.hybrid.1-votes");
/// A judge of five votes that err often.
pub const FIVE_VOTES: Arm = Arm::new("sparse.hybrid.5-votes");
/// Hints that name any slot and any value.
pub const BLIND_HINTS: Arm = Arm::new("blind-hints.opd-reverse");

/// The arm of a method where hints are rare, and hints and votes err.
#[must_use]
pub fn sparse(method: &Arm) -> Arm {
    Arm::from(format!("sparse.{method}"))
}

/// The arm of a method at the highest learning rate of the pilots.
#[must_use]
pub fn fast(method: &Arm) -> Arm {
    Arm::from(format!("{method}.fast"))
}

/// Learning rates by pilots of two users at 1e-4, 3e-4, 1e-3 and 3e-3: the highest at which they
/// kept the digits sorted, of GRPO on three slots and of all others.
const GRPO_RATE: f64 = 1e-3;
const RATE: f64 = 3e-4;
/// The highest of the pilots, at which every method is soonest as wanted and forgets to sort.
const FAST_RATE: f64 = 3e-3;

/// What an arm makes of votes and hints.
#[derive(Debug, Clone)]
pub struct Method {
    /// Its arm where every signal is true.
    pub arm: Arm,
    /// What tables call it.
    pub label: &'static str,
    /// It is also run where hints are rare, and hints and votes err.
    pub also_sparse: bool,
    /// Where there is none, nothing is learnt; the last hint about each slot stays in the prompt.
    learner: Option<LearnerConfig>,
}

/// Every method. v1 and v2 differ in the baseline of the votes and in the hint's loss: all four
/// combinations.
#[must_use]
pub fn methods() -> Vec<Method> {
    let at_rate = |arm, label, method, rate| {
        let learner = Some(LearnerConfig::new(method, rate));
        Method { arm, label, also_sparse: true, learner }
    };
    let usual = |arm, label, method| at_rate(Arm::new(arm), label, method, RATE);
    let divergence = |divergence| hints_only(Signal::Divergence(divergence));
    let jensen_shannon = Divergence::JensenShannon { beta: 0.5 };
    let votes = votes_only(Objective::binary_rl());
    let sum = HybridConfig::new(SAMPLED);
    let sum_grpo = HybridConfig { objective: grpo(), ..sum };
    let top_4 = hints_only(Signal::TopK(TopK::personal()));
    vec![
        usual("scalar", "votes of 1 and -1", votes),
        at_rate(GRPO, "GRPO", votes_only(grpo()), GRPO_RATE),
        usual("opd-sampled", "hints, sampled token", hints_only(SAMPLED)),
        at_rate(OPD_REVERSE, "hints, reverse KL", hints_only(REVERSE), RATE),
        usual("opd-forward", "hints, forward KL", divergence(Divergence::ForwardKl)),
        usual("opd-jsd", "hints, Jensen-Shannon", divergence(jensen_shannon)),
        usual("hybrid-sum", "hybrid, votes and sampled token (v1)", sum),
        usual("hybrid-sum-grpo", "hybrid, GRPO and sampled token", sum_grpo),
        usual("hybrid-votes", "hybrid, votes and reverse KL", HybridConfig::new(REVERSE)),
        at_rate(HYBRID, "hybrid, GRPO and reverse KL (v2)", hybrid(), RATE),
        Method { arm: MEMORY, label: "hints kept in the prompt", also_sparse: true, learner: None },
        Method {
            also_sparse: false,
            ..at_rate(OPD_TOP_4, "hints, top 4 limited (v2)", top_4, RATE)
        },
    ]
}

/// A user, and the judge who reads the replies.
type Heard = (UserConfig, Judge);

const fn user(cares: usize, hint_density: f64, hint_noise: f64) -> UserConfig {
    UserConfig {
        cares,
        evaluates: true,
        verdict_noise: 0.0,
        hint_density,
        hint_noise,
        blind_hints: false,
    }
}

/// Votes as the user meant them.
const TRUE_VOTES: Judge = Judge { votes: 1, error: 0.0 };
/// Votes of which three in four hundred are the opposite.
const NOISY_VOTES: Judge = Judge { votes: 3, error: 0.05 };
/// Frequent, true hints, and true votes.
const CLEAR: Heard = (user(SLOTS, 1.0, 0.0), TRUE_VOTES);
/// One hint in ten replies, half of them false, and votes that err.
const SPARSE: Heard = (user(SLOTS, 0.1, 0.5), NOISY_VOTES);

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Amounts {
    base_steps: usize,
    /// Updates after which arms are compared.
    updates: usize,
    /// Updates of the two arms whose interactions to 90% are compared, so that they are not cut off
    /// at once.
    long_updates: usize,
    test: usize,
}

impl Amounts {
    const SMOKE: Self = Self { base_steps: 4, updates: 5, long_updates: 10, test: 8 };
    const QUICK: Self = Self { base_steps: 1400, updates: 200, long_updates: 600, test: 64 };

    fn course(&self, (user, judge): Heard, learner: Option<LearnerConfig>) -> Course {
        Course {
            user,
            judge,
            learner,
            compared: self.updates,
            updates: self.updates,
            prompts: 2,
            group_size: 8,
            evaluate_every: 5,
            test: self.test,
        }
    }
}

/// Every method with users who care about all slots.
fn by_method(amounts: &Amounts) -> Vec<(Arm, Course)> {
    let mut arms = Vec::new();
    for Method { arm, learner, also_sparse, .. } in methods() {
        if also_sparse {
            arms.push((sparse(&arm), amounts.course(SPARSE, learner.clone())));
        }
        let mut course = amounts.course(CLEAR, learner);
        if [GRPO, OPD_REVERSE].contains(&arm) {
            course.updates = amounts.long_updates;
        }
        arms.push((arm, course));
    }
    arms
}

/// One thing changed from a method: rate, teacher, judge, or what hints say.
fn variants(amounts: &Amounts) -> Vec<(Arm, Course)> {
    let mut arms = Vec::new();
    let reverse = || LearnerConfig::new(hints_only(REVERSE), RATE);
    let at_fast_rate =
        [(GRPO, votes_only(grpo())), (OPD_REVERSE, hints_only(REVERSE)), (HYBRID, hybrid())];
    for (arm, method) in at_fast_rate {
        let learner = LearnerConfig::new(method, FAST_RATE);
        arms.push((fast(&arm), amounts.course(CLEAR, Some(learner))));
    }
    for (arm, teacher_rate) in [(FROZEN_TEACHER, 0.0), (CURRENT_TEACHER, 1.0)] {
        let learner = LearnerConfig { teacher_rate, ..reverse() };
        arms.push((arm, amounts.course(CLEAR, Some(learner))));
    }
    for (arm, votes) in [(ONE_VOTE, 1), (FIVE_VOTES, 5)] {
        let heard = (SPARSE.0, Judge { votes, error: 0.2 });
        let learner = LearnerConfig::new(hybrid(), RATE);
        arms.push((arm, amounts.course(heard, Some(learner))));
    }
    let blind = UserConfig { blind_hints: true, ..CLEAR.0 };
    arms.push((BLIND_HINTS, amounts.course((blind, TRUE_VOTES), Some(reverse()))));
    arms
}

/// GRPO, true votes.
pub const ONE_VOTES_GRPO: Arm = Arm::new("one.votes.grpo");
/// GRPO, a user who always says OK.
pub const ONE_PRAISE_GRPO: Arm = Arm::new("one.praise.grpo");
/// Reverse KL, always OK and true hints.
pub const ONE_HINTS_OPD: Arm = Arm::new("one.hints.opd-reverse");
/// Reverse KL, always OK and no hints.
pub const ONE_SILENCE_OPD: Arm = Arm::new("one.silence.opd-reverse");
/// Hybrid, true votes and hints.
pub const ONE_BOTH_HYBRID: Arm = Arm::new("one.both.hybrid");
/// Hybrid, always OK and true hints.
pub const ONE_POLITE_HYBRID: Arm = Arm::new("one.polite.hybrid");
/// Hybrid, always OK and no hints.
pub const ONE_NEITHER_HYBRID: Arm = Arm::new("one.neither.hybrid");
/// GRPO, rare hints, and hints and votes that err.
pub const ONE_SPARSE_GRPO: Arm = Arm::new("one.sparse.grpo");
/// Reverse KL, likewise.
pub const ONE_SPARSE_OPD: Arm = Arm::new("one.sparse.opd-reverse");
/// Hybrid, likewise.
pub const ONE_SPARSE_HYBRID: Arm = Arm::new("one.sparse.hybrid");

/// Users who care about one slot, where chance is 1/8 and votes alone can teach.
fn one_slot(amounts: &Amounts) -> Vec<(Arm, Course)> {
    let both = user(1, 1.0, 0.0);
    let polite = UserConfig { evaluates: false, ..both };
    let neither = UserConfig { hint_density: 0.0, ..polite };
    let [both, polite, neither] = [both, polite, neither].map(|user| (user, TRUE_VOTES));
    let sparse = (user(1, 0.1, 0.5), NOISY_VOTES);
    let (votes, hints) = (votes_only(grpo()), hints_only(REVERSE));
    let arms = [
        // Votes are the same with hints and without, and hints with votes and without.
        (ONE_VOTES_GRPO, both, votes),
        (ONE_PRAISE_GRPO, polite, votes),
        (ONE_HINTS_OPD, polite, hints),
        (ONE_SILENCE_OPD, neither, hints),
        (ONE_BOTH_HYBRID, both, hybrid()),
        (ONE_POLITE_HYBRID, polite, hybrid()),
        (ONE_NEITHER_HYBRID, neither, hybrid()),
        (ONE_SPARSE_GRPO, sparse, votes),
        (ONE_SPARSE_OPD, sparse, hints),
        (ONE_SPARSE_HYBRID, sparse, hybrid()),
    ];
    let course = |heard, method| amounts.course(heard, Some(LearnerConfig::new(method, RATE)));
    arms.into_iter().map(|(arm, heard, method)| (arm, course(heard, method))).collect()
}

/// Densities of hints on the phase map.
pub const MAP_DENSITIES: [f64; 3] = [1.0, 0.3, 0.1];
/// Noises of hints on the phase map.
pub const MAP_NOISES: [f64; 2] = [0.0, 0.5];
/// The methods of the phase map that hear hints.
pub const MAP_METHODS: [Arm; 2] = [OPD_REVERSE, HYBRID];

/// The arm at one place of the map, where votes are true. One place is that of arms that are there
/// anyway.
#[must_use]
pub fn map_arm(density: f64, noise: f64, method: &Arm) -> Arm {
    if (density, noise) == (CLEAR.0.hint_density, CLEAR.0.hint_noise) {
        method.clone()
    } else {
        Arm::from(format!("map.{density}.{noise}.{method}"))
    }
}

/// The arms that the phase map adds.
fn on_map(amounts: &Amounts) -> Vec<(Arm, Course)> {
    let mut arms = Vec::new();
    for (method, course) in by_method(amounts) {
        if !MAP_METHODS.contains(&method) {
            continue;
        }
        for (density, noise) in MAP_DENSITIES.iter().flat_map(|d| MAP_NOISES.map(|n| (*d, n))) {
            let arm = map_arm(density, noise, &method);
            if arm != method {
                arms.push((arm, Course { user: user(SLOTS, density, noise), ..course.clone() }));
            }
        }
    }
    arms
}

/// Every arm that interacts with a user.
fn arms(amounts: &Amounts) -> Vec<(Arm, Course)> {
    [by_method, variants, one_slot, on_map].iter().flat_map(|arms| arms(amounts)).collect()
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training of the base; `credit` says with whom and in how many interactions the
    /// shares of advantage are measured, in its first update.
    StyleBase { pretraining: Pretraining, credit: Box<Course> },
    /// Interactions with a user, from the base.
    Style(Box<Course>),
}

impl Experiment for DirectiveFeedbackStyle {
    fn id(&self) -> &'static str {
        "directive-feedback-style"
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = metrics![LOSS];
        metrics.extend(measure::metrics());
        metrics.extend(course::metrics());
        metrics.extend(SHARES.into_iter().chain(SIGNALS).map(Metric::from));
        metrics
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let amounts = if smoke { Amounts::SMOKE } else { Amounts::QUICK };
        let base = base(&amounts);
        let arms = arms(&amounts);
        let mut planned = vec![ArmPlan::new(BASE, &base)?.if_shown()];
        for (arm, course) in &arms {
            let config = CellConfig::Style(Box::new(course.clone()));
            planned.push(ArmPlan::new(arm, &config)?.needing([BASE]).if_shown());
        }
        Ok(Plan::of(settings.seed_range(8), planned))
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        let streams = &context
            .streams
            .child("third set of users and tables, after pilots on the others", &[]);
        let device = device(context.device)?.autodiff();
        match cell.config()? {
            CellConfig::StyleBase { pretraining, credit } => {
                let own = streams.child("style base", &[]);
                let (policy, metrics) =
                    pretrain(&pretraining, Request::demonstration, &own, &device)?;
                let user = User::draw(credit.user, &mut streams.stream("user", &[]))?;
                let seen = course::interact(&policy, &[], &user, &credit, 0, &own)?;
                let metrics = credit::credit(metrics, &policy, &seen)?;
                let test = measure::Test::new(user, credit.test, streams);
                let metrics = test.measure(metrics, &policy, &[])?;
                Ok(CellOutcome::with_artifact(metrics, Checkpoint::of(&policy).to_bytes()))
            }
            CellConfig::Style(course) => {
                let base = Checkpoint::from_bytes(context.artifact(&BASE)?)?;
                Ok(course::run(base.decoder(&device)?, &course, streams)?.into())
            }
        }
    }
}

fn base(amounts: &Amounts) -> CellConfig {
    let learner = LearnerConfig::new(hints_only(REVERSE), RATE);
    CellConfig::StyleBase {
        pretraining: Pretraining {
            decoder: decoder(vocabulary().size(), CONTEXT),
            // At 5e-3 one base in eight did not learn to obey when sums were taken in another
            // order.
            adamw: AdamWConfig { learning_rate: 3.5e-3, ..AdamWConfig::default() },
            steps: amounts.base_steps,
            batch: 48,
        },
        credit: Box::new(Course {
            prompts: 4 * amounts.test,
            updates: amounts.long_updates,
            ..amounts.course(CLEAR, Some(learner))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Check;
    use std::collections::BTreeSet;

    #[test]
    fn every_arm_has_a_name_of_its_own_and_settings_that_are_allowed() {
        let arms = arms(&Amounts::QUICK);
        let names: BTreeSet<&Arm> = arms.iter().map(|(arm, _)| arm).collect();
        assert_eq!(names.len(), arms.len());
        // Every place of the map has an arm for each method, and the map adds no other.
        let place = |method: &Arm| {
            MAP_DENSITIES.map(|density| MAP_NOISES.map(|noise| map_arm(density, noise, method)))
        };
        let places: BTreeSet<Arm> = MAP_METHODS.iter().flat_map(place).flatten().collect();
        assert!(places.iter().all(|place| names.contains(place)), "{places:?}");
        assert!(on_map(&Amounts::QUICK).iter().all(|(arm, _)| places.contains(arm)));
        for (arm, course) in &arms {
            course.user.validate().unwrap();
            assert!(
                course.compared <= course.updates && course.compared % course.evaluate_every == 0
            );
            let Some(learner) = &course.learner else { continue };
            assert!(learner.method.check().is_ok(), "{arm}");
        }
    }

    #[test]
    fn arms_of_one_comparison_differ_in_method_and_learning_rate_only() {
        let arms = arms(&Amounts::QUICK);
        let of = |name: &Arm| arms.iter().find(|(arm, _)| arm == name).unwrap().1.clone();
        let without_method = |arm: &Arm| {
            let mut course = of(arm);
            if let Some(learner) = &mut course.learner {
                learner.method = hybrid();
                learner.adamw.learning_rate = RATE;
            }
            course.updates = course.compared;
            serde_json::to_string(&course).unwrap()
        };
        for Method { arm, also_sparse, .. } in methods().iter().filter(|one| one.learner.is_some())
        {
            assert_eq!(without_method(arm), without_method(&HYBRID), "{arm}");
            if *also_sparse {
                assert_eq!(without_method(&sparse(arm)), without_method(&sparse(&HYBRID)), "{arm}");
            }
        }
        assert_eq!(of(&GRPO).updates, of(&OPD_REVERSE).updates);
        for (arm, like) in [
            (ONE_VOTES_GRPO, ONE_BOTH_HYBRID),
            (ONE_HINTS_OPD, ONE_POLITE_HYBRID),
            (ONE_SPARSE_GRPO, ONE_SPARSE_HYBRID),
        ] {
            assert_eq!(without_method(&arm), without_method(&like), "{arm}");
        }
    }

    #[test]
    fn its_smoke_run_has_a_report() {
        crate::testing::smoke("directive-feedback-style");
    }
}
