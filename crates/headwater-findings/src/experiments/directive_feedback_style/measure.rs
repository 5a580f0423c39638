//! What is measured of a policy: exact expectations over its responses, and some that are sampled.

use headwater_core::{Check, Streams};
use headwater_nn::{Decoder, SamplingConfig, SequenceBatch, sample};
use headwater_protocol::{CellError, Metric, Metrics, Scalar, metrics};

use headwater_tasks::house_style::{
    Hint, RESPONSE_TOKENS, Request, SLOT_AT, SLOTS, User, any_style,
};

/// Probability that all slots the user cares about are as wanted.
pub const SUCCESS: Scalar = Scalar::new("success");
/// Probability of one of them, on average.
pub const SLOTS_AS_WANTED: Scalar = Scalar::new("slots");
/// Probability that the digits are sorted.
pub const SORTED: Scalar = Scalar::new("sorted");
/// Probability of both: slots as wanted and digits sorted.
pub const WHOLE: Scalar = Scalar::labelled("whole", "both");
/// [`SUCCESS`] of one sample for each request.
pub const SAMPLED_SUCCESS: Scalar =
    Scalar::labelled("sampled/success", "success of one sample each");
/// [`SORTED`] likewise.
const SAMPLED_SORTED: Scalar = Scalar::new("sampled/sorted");
/// [`SUCCESS`] of the greedy response.
pub const GREEDY_SUCCESS: Scalar = Scalar::labelled("greedy/success", "success, greedy");
/// [`SORTED`] likewise.
pub const GREEDY_SORTED: Scalar = Scalar::labelled("greedy/sorted", "sorted, greedy");
/// Probability that a hint in the prompt is obeyed.
pub const OBEDIENCE: Scalar = Scalar::labelled("obedience", "obeys a hint");

/// Everything that [`Test::measure`] records.
pub(super) fn metrics() -> Vec<Metric> {
    metrics![
        SUCCESS,
        SLOTS_AS_WANTED,
        SORTED,
        WHOLE,
        SAMPLED_SUCCESS,
        SAMPLED_SORTED,
        GREEDY_SUCCESS,
        GREEDY_SORTED,
        OBEDIENCE,
    ]
}

/// Held-out requests of one seed and the user's wishes about them.
pub(super) struct Test {
    user: User,
    /// Requests, each with a style that is as wanted where the user cares, and random elsewhere.
    cases: Vec<(Request, [u32; SLOTS])>,
    streams: Streams,
}

/// What is measured at every evaluation; the metrics say what each is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evaluation {
    pub(super) success: f64,
    slots: f64,
    pub(super) sorted: f64,
    whole: f64,
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

    /// Evaluates a policy that reads `hints` before it responds, which is none for all that learns.
    pub(super) fn evaluate(
        &self,
        policy: &Decoder,
        hints: &[Hint],
    ) -> Result<Evaluation, CellError> {
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
        Ok(Evaluation {
            success: success / n,
            slots: slots / n,
            sorted: sorted / n,
            whole: whole / n,
        })
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
        let evaluation = self.evaluate(policy, hints)?;
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
            .scalar(&SUCCESS, evaluation.success)
            .scalar(&SLOTS_AS_WANTED, evaluation.slots)
            .scalar(&SORTED, evaluation.sorted)
            .scalar(&WHOLE, evaluation.whole)
            .scalar(&SAMPLED_SUCCESS, shares[0][0])
            .scalar(&SAMPLED_SORTED, shares[0][1])
            .scalar(&GREEDY_SUCCESS, shares[1][0])
            .scalar(&GREEDY_SORTED, shares[1][1])
            .scalar(&OBEDIENCE, self.obedience(policy)?))
    }
}

/// How responses are sampled.
pub(super) fn sampling() -> SamplingConfig {
    SamplingConfig { max_new_tokens: RESPONSE_TOKENS, ..SamplingConfig::default() }
}
