//! The arms: which method hears which user, and for how long.

use headwater_nn::{AdamWConfig, DecoderConfig};
use headwater_optimizers::directive::{HybridConfig, Signal};
use headwater_optimizers::distillation::Divergence;
use headwater_optimizers::top_k::TopK;
use headwater_optimizers::{Objective, ObjectiveConfig};

use super::learner::LearnerConfig;
use super::operator::{self, Traces};
use super::style::{Course, Pretraining};
use super::{MAP_DENSITIES, MAP_NOISES};
use crate::tasks::house_style::{self, Judge, SLOTS, UserConfig};
use crate::tasks::operator as operator_task;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amounts {
    pub(super) style_base_steps: usize,
    pub(super) operator_base_steps: usize,
    /// Updates after which arms are compared.
    pub(super) updates: usize,
    /// Updates of the two arms whose interactions to 90% are compared, so that they are not cut off at once.
    pub(super) long_updates: usize,
    pub(super) operator_updates: usize,
    pub(super) test: usize,
}

impl Amounts {
    pub(super) const SMOKE: Self = Self {
        style_base_steps: 4,
        operator_base_steps: 4,
        updates: 5,
        long_updates: 10,
        operator_updates: 4,
        test: 8,
    };
    pub(super) const QUICK: Self = Self {
        style_base_steps: 1400,
        operator_base_steps: 900,
        updates: 200,
        long_updates: 600,
        operator_updates: 250,
        test: 64,
    };
}

/// Share of its distance to the policy that the teacher goes after every update (SDPO's moving average).
const TEACHER_RATE: f64 = 0.05;
/// Learning rates by pilots of two users at 1e-4, 3e-4, 1e-3 and 3e-3: the highest at which they kept the digits sorted, of GRPO
/// on three slots and of all others.
const GRPO_RATE: f64 = 1e-3;
const RATE: f64 = 3e-4;
/// The highest of the pilots, at which every method is soonest as wanted and forgets to sort.
const FAST_RATE: f64 = 3e-3;
/// Votes as the user meant them.
const TRUE_VOTES: Judge = Judge { votes: 1, error: 0.0 };
/// Votes of which three in four hundred are the opposite.
const NOISY_VOTES: Judge = Judge { votes: 3, error: 0.05 };
/// Frequent, true hints.
pub(super) const CLEAR: UserConfig = user(SLOTS, 1.0, 0.0);
/// One hint in ten replies, half of them false.
pub(super) const SPARSE: UserConfig = user(SLOTS, 0.1, 0.5);

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

/// Supervised training of the policy that knows how to obey hints.
pub(super) fn style_pretraining(steps: usize) -> Pretraining {
    Pretraining {
        decoder: DecoderConfig {
            vocabulary: house_style::vocabulary().size(),
            width: 48,
            hidden: 96,
            context: house_style::CONTEXT,
            ..decoder()
        },
        // At 5e-3 one base in eight did not learn to obey when sums were taken in another order.
        adamw: AdamWConfig { learning_rate: 3.5e-3, ..AdamWConfig::default() },
        steps,
        batch: 48,
    }
}

/// Supervised training of the policy that knows how to use a trace.
pub(super) fn operator_pretraining(steps: usize) -> Pretraining {
    Pretraining {
        decoder: DecoderConfig {
            vocabulary: operator_task::vocabulary().size(),
            width: 48,
            hidden: 96,
            context: operator_task::CONTEXT,
            ..decoder()
        },
        adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
        steps,
        batch: 64,
    }
}

fn decoder() -> DecoderConfig {
    DecoderConfig {
        layers: 2,
        heads: 4,
        key_value_heads: 4,
        rotary_base: 100.0,
        ..DecoderConfig::default()
    }
}

/// GRPO without its penalty: there is no reference here, for any method.
fn grpo() -> Objective {
    ObjectiveConfig { kl: None, ..Objective::grpo().config() }
        .try_into()
        .expect("GRPO's other settings do not depend on its penalty")
}

const SAMPLED: Signal = Signal::SampledGap { limit: None };
const REVERSE: Signal = Signal::Divergence(Divergence::ReverseKl);

fn votes_only(objective: Objective) -> HybridConfig {
    HybridConfig { objective, directive_weight: 0.0, ..HybridConfig::new(REVERSE) }
}

/// Hints only; the objective says how tokens are weighted.
fn hints_only(signal: Signal) -> HybridConfig {
    HybridConfig { objective: grpo(), scalar_weight: 0.0, ..HybridConfig::new(signal) }
}

/// The full-vocabulary directive loss beside GRPO's.
fn hybrid() -> HybridConfig {
    HybridConfig { objective: grpo(), ..HybridConfig::new(REVERSE) }
}

fn learner(method: HybridConfig, learning_rate: f64, teacher_rate: f64) -> LearnerConfig {
    let adamw = AdamWConfig { learning_rate, weight_decay: 0.0, ..AdamWConfig::default() };
    LearnerConfig { method, teacher_rate, adamw, warmup: 20 }
}

/// Name and course of every house-style arm but those of the phase map.
pub(super) fn style_arms(amounts: &Amounts) -> Vec<(String, Course)> {
    let at_rate = |rate, method| Some(learner(method, rate, TEACHER_RATE));
    let usual = |method| at_rate(RATE, method);
    let course = |(user, judge), learner| Course {
        user,
        judge,
        learner,
        compared: amounts.updates,
        updates: amounts.updates,
        prompts: 2,
        group_size: 8,
        look_every: 5,
        test: amounts.test,
    };
    let divergence = |divergence| hints_only(Signal::Divergence(divergence));
    let jensen_shannon = Divergence::JensenShannon { beta: 0.5 };
    let sum = HybridConfig::new(SAMPLED);
    let mut arms = Vec::new();
    // Either every signal is true, or votes and hints both err.
    for (prefix, heard) in [("", (CLEAR, TRUE_VOTES)), ("sparse.", (SPARSE, NOISY_VOTES))] {
        let mut add = |name: &str, course| arms.push((format!("{prefix}{name}"), course));
        add("scalar", course(heard, usual(votes_only(Objective::binary_rl()))));
        add("grpo", course(heard, at_rate(GRPO_RATE, votes_only(grpo()))));
        add("opd-reverse", course(heard, usual(hints_only(REVERSE))));
        add("opd-sampled", course(heard, usual(hints_only(SAMPLED))));
        add("opd-forward", course(heard, usual(divergence(Divergence::ForwardKl))));
        add("opd-jsd", course(heard, usual(divergence(jensen_shannon))));
        // v1 and v2 differ in the baseline of the votes and in the hint's loss: all four combinations.
        add("hybrid-sum", course(heard, usual(sum)));
        add("hybrid-sum-grpo", course(heard, usual(HybridConfig { objective: grpo(), ..sum })));
        add("hybrid-votes", course(heard, usual(HybridConfig::new(REVERSE))));
        add("hybrid", course(heard, usual(hybrid())));
        add("memory", course(heard, None));
    }
    for (name, course) in &mut arms {
        if ["grpo", "opd-reverse"].contains(&name.as_str()) {
            course.updates = amounts.long_updates;
        }
    }
    let clear = (CLEAR, TRUE_VOTES);
    let top_4 = hints_only(Signal::TopK(TopK::personal()));
    arms.push(("opd-top4".to_string(), course(clear, usual(top_4))));
    for (name, method) in
        [("grpo", votes_only(grpo())), ("opd-reverse", hints_only(REVERSE)), ("hybrid", hybrid())]
    {
        arms.push((format!("{name}.fast"), course(clear, at_rate(FAST_RATE, method))));
    }
    for (name, rate) in [("frozen", 0.0), ("current", 1.0)] {
        let learner = learner(hints_only(REVERSE), RATE, rate);
        arms.push((format!("opd-reverse.{name}-teacher"), course(clear, Some(learner))));
    }
    for votes in [1, 5] {
        let judge = Judge { votes, error: 0.2 };
        arms.push((
            format!("sparse.hybrid.{votes}-votes"),
            course((SPARSE, judge), usual(hybrid())),
        ));
    }
    let blind = UserConfig { blind_hints: true, ..CLEAR };
    let blind = course((blind, TRUE_VOTES), usual(hints_only(REVERSE)));
    arms.push(("blind-hints.opd-reverse".to_string(), blind));

    // Users who care about one slot, where chance is 1/8 and votes alone can teach.
    let both = user(1, 1.0, 0.0);
    let polite = UserConfig { evaluates: false, ..both };
    let neither = UserConfig { hint_density: 0.0, ..polite };
    let sparse = user(1, 0.1, 0.5);
    for (name, user, learner) in [
        // Votes are the same with hints and without, and hints with votes and without.
        ("one.votes.grpo", both, usual(votes_only(grpo()))),
        ("one.praise.grpo", polite, usual(votes_only(grpo()))),
        ("one.hints.opd-reverse", polite, usual(hints_only(REVERSE))),
        ("one.silence.opd-reverse", neither, usual(hints_only(REVERSE))),
        ("one.both.hybrid", both, usual(hybrid())),
        ("one.polite.hybrid", polite, usual(hybrid())),
        ("one.neither.hybrid", neither, usual(hybrid())),
        ("one.sparse.grpo", sparse, usual(votes_only(grpo()))),
        ("one.sparse.opd-reverse", sparse, usual(hints_only(REVERSE))),
        ("one.sparse.hybrid", sparse, usual(hybrid())),
    ] {
        let judge = if user == sparse { NOISY_VOTES } else { TRUE_VOTES };
        arms.push((name.to_string(), course((user, judge), learner)));
    }
    arms
}

/// The two methods of the phase map that hear hints.
pub(super) const MAP_METHODS: [&str; 2] = ["opd-reverse", "hybrid"];

/// Name of the arm at one place of the map, where votes are true. One place is that of arms that are there anyway.
pub(super) fn map_arm(density: f64, noise: f64, method: &str) -> String {
    if (density, noise) == (CLEAR.hint_density, CLEAR.hint_noise) {
        method.to_string()
    } else {
        format!("map.{density}.{noise}.{method}")
    }
}

/// Name and course of the arms that the phase map adds.
pub(super) fn map_arms(amounts: &Amounts) -> Vec<(String, Course)> {
    let known = style_arms(amounts);
    let like = |name: &str| known.iter().find(|(arm, _)| arm == name).map(|(_, course)| course);
    let mut arms = Vec::new();
    for density in MAP_DENSITIES {
        for noise in MAP_NOISES {
            for method in MAP_METHODS {
                let name = map_arm(density, noise, method);
                let course = like(method).expect("the map's methods are arms");
                if like(&name).is_none() {
                    arms.push((
                        name,
                        Course { user: user(SLOTS, density, noise), ..course.clone() },
                    ));
                }
            }
        }
    }
    arms
}

/// Name and course of every arm of the unknown operator.
pub(super) fn operator_arms(amounts: &Amounts) -> Vec<(&'static str, operator::Course)> {
    let course = |traces, method| operator::Course {
        traces,
        learner: learner(method, 4e-4, TEACHER_RATE),
        updates: amounts.operator_updates,
        problems: 8,
        group_size: 4,
        look_every: 10,
        test: 2 * amounts.test,
    };
    vec![
        ("operator.grpo", course(Traces::Own, votes_only(grpo()))),
        ("operator.opd-reverse", course(Traces::Own, hints_only(REVERSE))),
        ("operator.hybrid", course(Traces::Own, hybrid())),
        ("operator.foreign-traces", course(Traces::Foreign, hints_only(REVERSE))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::Check;
    use std::collections::BTreeSet;

    #[test]
    fn every_arm_has_a_name_of_its_own_and_settings_that_are_allowed() {
        let (style, map) = (style_arms(&Amounts::QUICK), map_arms(&Amounts::QUICK));
        let names: BTreeSet<&String> = style.iter().chain(&map).map(|(name, _)| name).collect();
        assert_eq!(names.len(), style.len() + map.len());
        // Every place of the map has an arm for each method, and the map adds no other.
        let mut places = BTreeSet::new();
        for (density, noise) in
            MAP_DENSITIES.iter().flat_map(|density| MAP_NOISES.map(|noise| (*density, noise)))
        {
            places.extend(MAP_METHODS.map(|method| map_arm(density, noise, method)));
        }
        assert!(places.iter().all(|place| names.contains(place)), "{places:?}");
        assert!(map.iter().all(|(name, _)| places.contains(name)), "{map:?}");
        for (name, course) in style.iter().chain(&map) {
            course.user.check_ranges().unwrap();
            let Some(learner) = &course.learner else { continue };
            assert!(learner.method.check().is_ok(), "{name}");
            assert!(course.compared <= course.updates && course.compared % course.look_every == 0);
        }
    }

    #[test]
    fn arms_of_one_comparison_differ_in_method_and_learning_rate_only() {
        let arms = style_arms(&Amounts::QUICK);
        let of = |name: &str| arms.iter().find(|(arm, _)| arm == name).unwrap().1.clone();
        let without_method = |name: &str| {
            let mut course = of(name);
            if let Some(learner) = &mut course.learner {
                learner.method = hybrid();
                learner.adamw.learning_rate = RATE;
            }
            course.updates = course.compared;
            serde_json::to_string(&course).unwrap()
        };
        for prefix in ["", "sparse."] {
            let hybrid = without_method(&format!("{prefix}hybrid"));
            for name in
                ["scalar", "grpo", "opd-sampled", "opd-reverse", "hybrid-sum", "hybrid-votes"]
            {
                assert_eq!(without_method(&format!("{prefix}{name}")), hybrid, "{prefix}{name}");
            }
        }
        assert_eq!(of("grpo").updates, of("opd-reverse").updates);
        assert_eq!(without_method("one.votes.grpo"), without_method("one.both.hybrid"));
        assert_eq!(without_method("one.hints.opd-reverse"), without_method("one.polite.hybrid"));
        assert_eq!(without_method("one.sparse.grpo"), without_method("one.sparse.hybrid"));
    }
}
