//! The interactions of one arm with its user, and what comes of them.

use headwater_core::{Check, Streams};
use headwater_nn::{Decoder, Sampling, sample};
use headwater_protocol::{CellError, Metric, Metrics, Scalar, Series, metrics};
use serde::{Deserialize, Serialize};

use super::measure::{Test, sampling};
use crate::experiments::directive::{Interaction, Learner, LearnerConfig};
use headwater_tasks::house_style::{Hint, Judge, Request, SLOTS, User, UserConfig};

/// Interactions until success reaches 90%, all of them where it does not.
pub const INTERACTIONS_TO_90: Scalar = Scalar::new("interactions to 90%");
/// Their logarithm to base 2.
pub const LOG_INTERACTIONS_TO_90: Scalar = Scalar::new("log2 interactions to 90%");
/// 1 where success reached 90%.
pub const REACHED_90: Scalar = Scalar::labelled("reached 90%", "seeds that got there");
/// Mean success over the looks up to where arms are compared.
pub const AREA: Scalar = Scalar::labelled("area", "area under the curve");
/// Interactions with a hint up to there.
pub const HINTS: Scalar = Scalar::labelled("hints", "hints heard");
/// Share of the responses up to there that were as wanted.
const SATISFIED: Scalar = Scalar::new("satisfied");
/// Probability that the teacher obeys a hint.
pub const TEACHER_OBEDIENCE: Scalar = Scalar::labelled("teacher obedience", "teacher obeys a hint");
/// Success, by evaluation.
pub const SUCCESS_BY_INTERACTIONS: Series = Series::new("success by interactions");
/// Probability that the digits are sorted, by evaluation.
pub const SORTED_BY_INTERACTIONS: Series = Series::new("sorted by interactions");

/// Everything that [`run`] records beside the test.
pub(super) fn metrics() -> Vec<Metric> {
    metrics![
        INTERACTIONS_TO_90,
        LOG_INTERACTIONS_TO_90,
        REACHED_90,
        AREA,
        HINTS,
        SATISFIED,
        TEACHER_OBEDIENCE,
        SUCCESS_BY_INTERACTIONS,
        SORTED_BY_INTERACTIONS,
    ]
}

/// Interactions of one arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Course {
    pub(super) user: UserConfig,
    pub(super) judge: Judge,
    /// `None`: nothing is learnt; the last hint about each slot stays in the prompt.
    pub(super) learner: Option<LearnerConfig>,
    /// Updates after which the policy is measured, a multiple of `evaluate_every`.
    pub(super) compared: usize,
    /// Updates in all: what comes after is only looked at for the interactions to 90%.
    pub(super) updates: usize,
    /// Prompts per update.
    pub(super) prompts: usize,
    /// Responses per prompt.
    pub(super) group_size: usize,
    /// Updates from evaluation to evaluation.
    pub(super) evaluate_every: usize,
    /// Held-out requests.
    pub(super) test: usize,
}

impl Course {
    /// Interactions per update.
    pub(super) fn batch(&self) -> usize {
        self.prompts * self.group_size
    }
}

/// Responses of `policy` to fresh requests with `hints` in the prompt, and the user's reactions to
/// them.
pub(super) fn interact(
    policy: &Decoder,
    hints: &[Hint],
    user: &User,
    course: &Course,
    update: u64,
    streams: &Streams,
) -> Result<Vec<(Interaction, Option<Hint>)>, CellError> {
    let mut stream = streams.stream("requests", &[update]);
    let requests: Vec<Request> = (0..course.prompts).map(|_| Request::draw(&mut stream)).collect();
    let read: Vec<Vec<u32>> = requests.iter().map(|request| request.prompt(hints)).collect();
    let sampling: Sampling = sampling().check()?;
    let streams = streams.child("interactions", &[update]);
    let groups = sample(policy, &read, course.group_size, &sampling, &streams)?;
    let mut interactions = Vec::with_capacity(course.batch());
    for ((request, prompt), group) in requests.iter().zip(&read).zip(groups) {
        for completion in group {
            let row = interactions.len() as u64;
            let next = user.reply(&completion.tokens, &mut streams.stream("reply", &[row]));
            let vote = course.judge.read(next, &mut streams.stream("votes", &[row]));
            let interaction = Interaction {
                prompt: prompt.clone(),
                response: completion.tokens,
                vote,
                informed: next.hint.map(|hint| request.prompt(&[hint])),
            };
            interactions.push((interaction, next.hint));
        }
    }
    Ok(interactions)
}

/// The last hint about each slot.
#[derive(Debug, Default)]
struct Memory {
    last: [Option<Hint>; SLOTS],
}

impl Memory {
    fn note(&mut self, hint: Hint) {
        self.last[hint.slot] = Some(hint);
    }

    fn hints(&self) -> Vec<Hint> {
        self.last.iter().copied().flatten().collect()
    }
}

/// Who acts in an arm: one that learns, or the base with a memory of hints.
enum Actor {
    Learning(Box<Learner>),
    Remembering(Box<Decoder>, Memory),
}

impl Actor {
    /// The policy and the hints it reads.
    fn acts(&self) -> (&Decoder, Vec<Hint>) {
        match self {
            Self::Learning(learner) => (learner.policy(), vec![]),
            Self::Remembering(base, memory) => (base, memory.hints()),
        }
    }
}

/// Runs an arm from the base.
pub(super) fn run(base: Decoder, course: &Course, streams: &Streams) -> Result<Metrics, CellError> {
    let user = User::draw(course.user, &mut streams.stream("user", &[]))?;
    let test = Test::new(user.clone(), course.test, streams);
    let mut actor = match &course.learner {
        Some(config) => Actor::Learning(Box::new(Learner::new(base, config.clone())?)),
        None => Actor::Remembering(Box::new(base), Memory::default()),
    };
    let streams = streams.child("course", &[]);
    let (mut evaluations, mut hints, mut satisfied) = (Vec::new(), 0, 0);
    let mut metrics = Metrics::new();
    for update in 0..=course.updates {
        let (policy, kept) = actor.acts();
        if update % course.evaluate_every == 0 {
            evaluations.push(test.evaluate(policy, &kept)?);
        }
        if update == course.compared {
            metrics = test.measure(metrics, policy, &kept)?;
            metrics = metrics
                .scalar(&HINTS, hints as f64)
                .scalar(&SATISFIED, satisfied as f64 / (course.compared * course.batch()) as f64);
            if let Actor::Learning(learner) = &actor {
                let obedience = test.obedience(learner.teacher())?;
                metrics = metrics.scalar(&TEACHER_OBEDIENCE, obedience);
            }
        }
        if update == course.updates {
            break;
        }
        let seen = interact(policy, &kept, &user, course, update as u64, &streams)?;
        hints += seen.iter().filter(|(_, hint)| hint.is_some()).count();
        let is_as_wanted =
            |interaction: &Interaction| user.wrong_slots(&interaction.response).is_empty();
        satisfied += seen.iter().filter(|(interaction, _)| is_as_wanted(interaction)).count();
        match &mut actor {
            Actor::Learning(learner) => {
                let interactions: Vec<Interaction> = seen.into_iter().map(|(i, _)| i).collect();
                learner.update(&interactions, course.group_size)?;
            }
            Actor::Remembering(_, memory) => {
                seen.iter().filter_map(|(_, hint)| *hint).for_each(|hint| memory.note(hint));
            }
        }
    }
    let success: Vec<f64> = evaluations.iter().map(|evaluation| evaluation.success).collect();
    let (needed, reached) =
        interactions_to(0.9, &success, (course.evaluate_every * course.batch()) as f64);
    let compared = &success[..=course.compared / course.evaluate_every];
    Ok(metrics
        .scalar(&INTERACTIONS_TO_90, needed)
        .scalar(&LOG_INTERACTIONS_TO_90, needed.log2())
        .scalar(&REACHED_90, f64::from(reached))
        .scalar(&AREA, compared.iter().sum::<f64>() / compared.len() as f64)
        .series(&SUCCESS_BY_INTERACTIONS, success)
        .series(
            &SORTED_BY_INTERACTIONS,
            evaluations.iter().map(|evaluation| evaluation.sorted).collect::<Vec<_>>(),
        ))
}

/// Interactions until a curve of equidistant looks, the first before any, reaches `level`, linear
/// between evaluations; all of them, and false, where it does not.
fn interactions_to(level: f64, curve: &[f64], per_evaluation: f64) -> (f64, bool) {
    match curve.iter().position(|value| *value >= level) {
        None => ((curve.len() - 1) as f64 * per_evaluation, false),
        // Nothing happened yet: less than an evaluation's worth cannot be told.
        Some(0) => (per_evaluation, true),
        Some(at) => {
            let (before, after) = (curve[at - 1], curve[at]);
            ((at as f64 - (after - level) / (after - before)) * per_evaluation, true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interactions_to_a_level_lie_between_looks_and_are_all_where_it_is_not_reached() {
        let (needed, reached) = interactions_to(0.9, &[0.0, 0.5, 1.0, 0.2], 80.0);
        assert!(reached && (needed - 144.0).abs() < 1e-9, "{needed}");
        assert_eq!(interactions_to(0.9, &[0.0, 0.5, 0.6], 80.0), (160.0, false));
        assert_eq!(interactions_to(0.9, &[0.95, 1.0], 80.0), (80.0, true));
    }

    #[test]
    fn a_memory_keeps_the_last_hint_about_each_slot() {
        let mut memory = Memory::default();
        for (slot, value) in [(2, 1), (0, 4), (2, 7)] {
            memory.note(Hint { slot, value });
        }
        let kept = [Hint { slot: 0, value: 4 }, Hint { slot: 2, value: 7 }];
        assert_eq!(memory.hints(), kept);
    }
}
