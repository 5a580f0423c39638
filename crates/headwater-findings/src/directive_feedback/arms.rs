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
    /// Updates of the arms that learn from votes alone, so that their interactions to 90% are not cut off at once.
    pub(super) scalar_updates: usize,
    pub(super) operator_updates: usize,
    pub(super) test: usize,
}

impl Amounts {
    pub(super) const SMOKE: Self = Self {
        style_base_steps: 4,
        operator_base_steps: 4,
        updates: 5,
        scalar_updates: 10,
        operator_updates: 4,
        test: 8,
    };
    pub(super) const QUICK: Self = Self {
        style_base_steps: 1400,
        operator_base_steps: 900,
        updates: 200,
        scalar_updates: 600,
        operator_updates: 250,
        test: 64,
    };
}

/// Share of its distance to the policy that the teacher goes after every update (SDPO's moving average).
const TEACHER_RATE: f64 = 0.05;
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
        adamw: AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() },
        steps,
        batch: 64,
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
    let style = |method| Some(learner(method, 3e-4, TEACHER_RATE));
    let course = |user, learner| Course {
        user,
        judge: Judge { votes: 3, error: 0.05 },
        learner,
        compared: amounts.updates,
        updates: amounts.updates,
        prompts: 2,
        group_size: 8,
        look_every: 5,
        test: amounts.test,
    };
    let long = |course| Course { updates: amounts.scalar_updates, ..course };
    let divergence = |divergence| hints_only(Signal::Divergence(divergence));
    let jensen_shannon = Divergence::JensenShannon { beta: 0.5 };
    let binary = HybridConfig::new(SAMPLED);
    let mut arms = vec![
        // What votes alone teach does not depend on hints: these stand for every density and noise of them.
        ("scalar".to_string(), long(course(CLEAR, style(votes_only(Objective::binary_rl()))))),
        ("grpo".to_string(), long(course(CLEAR, style(votes_only(grpo()))))),
    ];
    for (prefix, user) in [("", CLEAR), ("sparse.", SPARSE)] {
        let methods = [
            ("opd-sampled", hints_only(SAMPLED)),
            ("opd-reverse", hints_only(REVERSE)),
            ("opd-forward", divergence(Divergence::ForwardKl)),
            ("opd-jsd", divergence(jensen_shannon)),
            ("hybrid-sum", binary),
            ("hybrid", hybrid()),
        ];
        for (name, method) in methods {
            arms.push((format!("{prefix}{name}"), course(user, style(method))));
        }
        arms.push((format!("{prefix}memory"), course(user, None)));
    }
    let top_4 = hints_only(Signal::TopK(TopK::personal()));
    arms.push(("opd-top4".to_string(), course(CLEAR, style(top_4))));
    for (name, rate) in [("frozen", 0.0), ("current", 1.0)] {
        let learner = learner(hints_only(REVERSE), 3e-4, rate);
        arms.push((format!("opd-reverse.{name}-teacher"), course(CLEAR, Some(learner))));
    }
    for votes in [1, 5] {
        let judge = Judge { votes, error: 0.2 };
        let course = Course { judge, ..course(SPARSE, style(hybrid())) };
        arms.push((format!("sparse.hybrid.{votes}-votes"), course));
    }
    let blind = UserConfig { blind_hints: true, ..CLEAR };
    arms.push(("blind-hints.opd-reverse".to_string(), course(blind, style(hints_only(REVERSE)))));

    // Users who care about one slot, where chance is 1/8 and votes alone can teach.
    let both = user(1, 1.0, 0.0);
    let polite = UserConfig { evaluates: false, ..both };
    let neither = UserConfig { hint_density: 0.0, ..polite };
    for (name, user, method) in [
        // Votes are the same with hints and without, and hints with votes and without.
        ("one.votes.grpo", both, votes_only(grpo())),
        ("one.praise.grpo", polite, votes_only(grpo())),
        ("one.hints.opd-reverse", polite, hints_only(REVERSE)),
        ("one.silence.opd-reverse", neither, hints_only(REVERSE)),
        ("one.both.hybrid", both, hybrid()),
        ("one.polite.hybrid", polite, hybrid()),
        ("one.neither.hybrid", neither, hybrid()),
        ("one.sparse.opd-reverse", user(1, 0.1, 0.5), hints_only(REVERSE)),
        ("one.sparse.hybrid", user(1, 0.1, 0.5), hybrid()),
    ] {
        arms.push((name.to_string(), course(user, style(method))));
    }
    arms
}

/// The two methods of the phase map that hear hints.
pub(super) const MAP_METHODS: [&str; 2] = ["opd-reverse", "hybrid"];

/// Name of the arm at one place of the map. Two places are those of arms that are there anyway.
pub(super) fn map_arm(density: f64, noise: f64, method: &str) -> String {
    if (density, noise) == (CLEAR.hint_density, CLEAR.hint_noise) {
        method.to_string()
    } else if (density, noise) == (SPARSE.hint_density, SPARSE.hint_noise) {
        format!("sparse.{method}")
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
        // Three by three places for two methods, less the two places that are arms already.
        assert_eq!(map.len(), 14);
        let names: BTreeSet<&String> = style.iter().chain(&map).map(|(name, _)| name).collect();
        assert_eq!(names.len(), style.len() + map.len());
        for (name, course) in style.iter().chain(&map) {
            course.user.check_ranges().unwrap();
            let Some(learner) = &course.learner else { continue };
            assert!(learner.method.check().is_ok(), "{name}");
            assert!(course.compared <= course.updates && course.compared % course.look_every == 0);
        }
    }

    #[test]
    fn arms_of_one_comparison_differ_in_the_method_only() {
        let arms = style_arms(&Amounts::QUICK);
        let of = |name: &str| arms.iter().find(|(arm, _)| arm == name).unwrap().1.clone();
        let without_method = |name: &str| {
            let mut course = of(name);
            if let Some(learner) = &mut course.learner {
                learner.method = hybrid();
            }
            course.updates = course.compared;
            serde_json::to_string(&course).unwrap()
        };
        for name in ["scalar", "grpo", "opd-sampled", "opd-forward", "hybrid-sum", "opd-top4"] {
            assert_eq!(without_method(name), without_method("hybrid"), "{name}");
        }
        assert_eq!(without_method("sparse.opd-reverse"), without_method("sparse.hybrid"));
        assert_eq!(without_method("one.votes.grpo"), without_method("one.both.hybrid"));
        assert_eq!(without_method("one.hints.opd-reverse"), without_method("one.polite.hybrid"));
    }
}
