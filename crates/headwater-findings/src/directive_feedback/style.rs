//! The hidden house style: pretraining, the interactions of one arm, and what is measured of a policy.

use headwater_core::{Check, Streams};
use headwater_nn::{
    AdamW, AdamWConfig, Decoder, DecoderConfig, Device, Sampling, SamplingConfig, SequenceBatch,
    sample, supervised_step,
};
use headwater_protocol::{CellError, Metrics};
use serde::{Deserialize, Serialize};

use super::learner::{Interaction, Learner, LearnerConfig};
use crate::schedule::warmup_then_cosine;
use crate::tasks::house_style::{
    Hint, Judge, RESPONSE_TOKENS, Request, SLOT_AT, SLOTS, User, UserConfig, any_style,
};

/// Supervised training of a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pretraining {
    pub(super) decoder: DecoderConfig,
    pub(super) adamw: AdamWConfig,
    pub(super) steps: usize,
    pub(super) batch: usize,
}

/// Interactions of one arm.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Course {
    pub(super) user: UserConfig,
    pub(super) judge: Judge,
    /// `None`: nothing is learnt; the last hint about each slot stays in the prompt.
    pub(super) learner: Option<LearnerConfig>,
    /// Updates after which the policy is measured, a multiple of `look_every`.
    pub(super) compared: usize,
    /// Updates in all: what comes after is only looked at for the interactions to 90%.
    pub(super) updates: usize,
    /// Prompts per update.
    pub(super) prompts: usize,
    /// Responses per prompt.
    pub(super) group_size: usize,
    /// Updates from look to look.
    pub(super) look_every: usize,
    /// Held-out requests.
    pub(super) test: usize,
}

impl Course {
    /// Interactions per update.
    pub(super) fn batch(&self) -> usize {
        self.prompts * self.group_size
    }
}

/// Trains a base on demonstrations.
pub(super) fn pretrain(
    config: &Pretraining,
    draw: impl Fn(&mut headwater_core::StreamRng) -> headwater_nn::Example,
    streams: &Streams,
    device: &Device,
) -> Result<(Decoder, Metrics), CellError> {
    let mut weights = streams.stream("weights", &[]);
    let mut policy = Decoder::initialise(&config.decoder.clone().check()?, &mut weights, device);
    let mut optimizer = AdamW::new(config.adamw.clone().check()?);
    let mut losses = Vec::with_capacity(config.steps);
    for step in 0..config.steps {
        let mut stream = streams.stream("demonstrations", &[step as u64]);
        let examples: Vec<_> = (0..config.batch).map(|_| draw(&mut stream)).collect();
        let rate = warmup_then_cosine(step, config.steps);
        losses.push(supervised_step(&mut policy, &mut optimizer, &examples, rate)?);
    }
    Ok((policy, Metrics::new().series("training/loss", losses)))
}

/// Held-out requests of one seed and the user's wishes about them.
pub(super) struct Test {
    user: User,
    /// Requests, each with a style that is as wanted where the user cares, and random elsewhere.
    cases: Vec<(Request, [u32; SLOTS])>,
    streams: Streams,
}

/// What is measured at every look: exact expectations over responses at temperature 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Probability that all slots the user cares about are as wanted.
    pub(super) success: f64,
    /// Probability of one of them, on average.
    pub(super) slots: f64,
    /// Probability that the digits are sorted.
    pub(super) sorted: f64,
    /// Probability of both: slots as wanted and digits sorted.
    pub(super) whole: f64,
}

impl Test {
    pub(super) fn new(user: User, requests: usize, streams: &Streams) -> Self {
        let mut stream = streams.stream("held-out requests", &[]);
        let wants = user.wants();
        let cases = (0..requests).map(|_| {
            let (request, any) = (Request::draw(&mut stream), any_style(&mut stream));
            (request, std::array::from_fn(|slot| wants[slot].unwrap_or(any[slot])))
        });
        Self { cases: cases.collect(), user, streams: streams.child("test", &[]) }
    }

    /// Looks at a policy that reads `hints` before it responds, which is none for all that learns.
    pub(super) fn look(&self, policy: &Decoder, hints: &[Hint]) -> Result<Look, CellError> {
        let rows = self.cases.iter().map(|(request, style)| (request.prompt(hints), *style));
        let rows: Vec<_> = rows.zip(&self.cases).collect();
        let pairs: Vec<(Vec<u32>, Vec<u32>)> = rows
            .into_iter()
            .map(|((prompt, style), (request, _))| (prompt, request.response(style)))
            .collect();
        let batch = SequenceBatch::new(
            pairs.iter().map(|(prompt, response)| (prompt.as_slice(), response.as_slice())),
            policy.shape(),
        )?;
        let cared: Vec<usize> =
            (0..SLOTS).filter(|slot| self.user.wants()[*slot].is_some()).collect();
        let (mut success, mut slots, mut sorted, mut whole) = (0.0, 0.0, 0.0, 0.0);
        for row in batch.log_probs(policy) {
            let at = |slot: &usize| f64::from(row[SLOT_AT[*slot]]);
            let style = cared.iter().map(at).sum::<f64>();
            success += style.exp();
            slots += cared.iter().map(|slot| at(slot).exp()).sum::<f64>() / cared.len() as f64;
            let digits = &row[SLOT_AT[0] + 1..SLOT_AT[1]];
            let digits = digits.iter().map(|l| f64::from(*l)).sum::<f64>();
            sorted += digits.exp();
            whole += (style + digits).exp();
        }
        let n = self.cases.len() as f64;
        Ok(Look { success: success / n, slots: slots / n, sorted: sorted / n, whole: whole / n })
    }

    /// Probability that a hint is obeyed, each slot in turn hinted with a random value.
    pub(super) fn obedience(&self, policy: &Decoder) -> Result<f64, CellError> {
        let mut stream = self.streams.stream("hints to obey", &[]);
        let mut pairs = Vec::new();
        for (at, (request, _)) in self.cases.iter().enumerate() {
            let (slot, style) = (at % SLOTS, any_style(&mut stream));
            let hint = Hint { slot, value: style[slot] };
            pairs.push((request.prompt(&[hint]), request.response(style), SLOT_AT[slot]));
        }
        let rows = pairs.iter().map(|(prompt, response, _)| (prompt.as_slice(), &response[..]));
        let scored = SequenceBatch::new(rows, policy.shape())?.log_probs(policy);
        let obeyed = scored.iter().zip(&pairs).map(|(row, (_, _, at))| f64::from(row[*at]).exp());
        Ok(obeyed.sum::<f64>() / pairs.len() as f64)
    }

    /// The look at the end, and what is sampled from the policy rather than computed.
    pub(super) fn measure(
        &self,
        metrics: Metrics,
        policy: &Decoder,
        hints: &[Hint],
    ) -> Result<Metrics, CellError> {
        let look = self.look(policy, hints)?;
        let prompts: Vec<Vec<u32>> = self.cases.iter().map(|(r, _)| r.prompt(hints)).collect();
        let mut shares = Vec::new();
        for greedy in [false, true] {
            let sampling = SamplingConfig { greedy, ..sampling() }.check()?;
            let sampled = sample(policy, &prompts, 1, &sampling, &self.streams)?;
            let (mut wanted, mut sorted) = (0.0, 0.0);
            for ((request, _), completions) in self.cases.iter().zip(&sampled) {
                let response = &completions[0].tokens;
                wanted += f64::from(self.user.wrong_slots(response).is_empty());
                sorted += f64::from(request.is_sorted_in(response));
            }
            let n = self.cases.len() as f64;
            shares.push([wanted / n, sorted / n]);
        }
        Ok(metrics
            .scalar("success", look.success)
            .scalar("slots", look.slots)
            .scalar("sorted", look.sorted)
            .scalar("whole", look.whole)
            .scalar("sampled/success", shares[0][0])
            .scalar("sampled/sorted", shares[0][1])
            .scalar("greedy/success", shares[1][0])
            .scalar("greedy/sorted", shares[1][1])
            .scalar("obedience", self.obedience(policy)?))
    }
}

fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: RESPONSE_TOKENS, ..SamplingConfig::default() }
}

/// Responses of `policy` to fresh requests with `hints` in the prompt, and the user's reactions to them.
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
    let (mut looks, mut hints, mut satisfied) = (Vec::new(), 0, 0);
    let mut metrics = Metrics::new();
    for update in 0..=course.updates {
        let (policy, kept) = actor.acts();
        if update % course.look_every == 0 {
            looks.push(test.look(policy, &kept)?);
        }
        if update == course.compared {
            metrics = test.measure(metrics, policy, &kept)?;
            metrics = metrics
                .scalar("hints", hints as f64)
                .scalar("satisfied", satisfied as f64 / (course.compared * course.batch()) as f64);
            if let Actor::Learning(learner) = &actor {
                let obedience = test.obedience(learner.teacher())?;
                metrics = metrics.scalar("teacher obedience", obedience);
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
    let success: Vec<f64> = looks.iter().map(|look| look.success).collect();
    let (needed, reached) =
        interactions_to(0.9, &success, (course.look_every * course.batch()) as f64);
    let compared = &success[..=course.compared / course.look_every];
    Ok(metrics
        .scalar("interactions to 90%", needed)
        .scalar("log2 interactions to 90%", needed.log2())
        .scalar("reached 90%", f64::from(reached))
        .scalar("area", compared.iter().sum::<f64>() / compared.len() as f64)
        .series("success by interactions", success)
        .series("sorted by interactions", looks.iter().map(|look| look.sorted).collect()))
}

/// Interactions until a curve of equidistant looks, the first before any, reaches `level`, linear between looks; all of
/// them, and false, where it does not.
fn interactions_to(level: f64, curve: &[f64], per_look: f64) -> (f64, bool) {
    match curve.iter().position(|value| *value >= level) {
        None => ((curve.len() - 1) as f64 * per_look, false),
        // Nothing happened yet: less than a look's worth cannot be told.
        Some(0) => (per_look, true),
        Some(at) => {
            let (before, after) = (curve[at - 1], curve[at]);
            ((at as f64 - (after - level) / (after - before)) * per_look, true)
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
