//! Training on demonstrations of answers and of verdicts.

use headwater_core::{Check, Example, Streams};
use headwater_nn::{AdamW, AdamWConfig, Decoder, Schedule, supervised_training};
use headwater_protocol::CellError;
use headwater_self_improvement::verification::VerificationFormat;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use headwater_tasks::countdown::Split;
use headwater_tasks::two_sum::{TwoSum, VERIFICATION};

/// How the policy is asked for verdicts.
pub(super) fn format() -> VerificationFormat {
    let [query, right, wrong] = VERIFICATION;
    VerificationFormat { query, right, wrong }
}

/// What a decoder is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Supervision {
    pub(super) steps: usize,
    /// Demonstrated answers per step, each to a fresh question.
    pub(super) demonstrations: usize,
    /// Share of them that are wrong.
    pub(super) slip: f64,
    /// Demonstrated targets per step, each to the numbers of a fresh question: how questions are
    /// proposed.
    pub(super) proposals: usize,
    /// Demonstrated verdicts per step; 0 for a decoder that never learns to verify.
    pub(super) verdicts: usize,
    /// Labelled answers that these are drawn from; `None` for fresh ones every time.
    pub(super) labelled: Option<usize>,
    pub(super) adamw: AdamWConfig,
    /// Name of the streams of weights and data: decoders of one name see the same demonstrations.
    pub(super) streams: String,
}

/// Trains `start`; returns it and the losses.
pub(super) fn supervise(
    start: Decoder,
    supervision: &Supervision,
    streams: &Streams,
) -> Result<(Decoder, Vec<f64>), CellError> {
    let streams = streams.child(&supervision.streams, &[]);
    let labelled = labelled(supervision.labelled.unwrap_or(0), &streams.child("labelled", &[]));
    let mut policy = start;
    let mut optimizer = AdamW::new(supervision.adamw.clone().check()?);
    let schedule = Schedule::cosine(supervision.steps);
    let losses = supervised_training(&mut policy, &mut optimizer, schedule, |step| {
        let mut stream = streams.stream("demonstrations", &[step as u64]);
        let mut examples: Vec<Example> = (0..supervision.demonstrations)
            .map(|_| {
                let question = TwoSum::draw(Split::Demonstrated, &mut stream);
                question.demonstration(supervision.slip, &mut stream)
            })
            .collect();
        let mut stream = streams.stream("proposals", &[step as u64]);
        let proposed = (0..supervision.proposals)
            .map(|_| TwoSum::draw(Split::Demonstrated, &mut stream).proposal());
        examples.extend(proposed);
        // A stream of its own: whether verdicts are taught changes no demonstration.
        let verdicts = streams.child("verdicts", &[step as u64]);
        if supervision.labelled.is_none() {
            examples.extend(self::labelled(supervision.verdicts, &verdicts));
        } else {
            let mut stream = verdicts.stream("which", &[]);
            let drawn = (0..supervision.verdicts).filter_map(|_| labelled.choose(&mut stream));
            examples.extend(drawn.cloned());
        }
        Ok::<_, CellError>(examples)
    })?;
    Ok((policy, losses))
}

/// Answers to demonstrated questions with the right verdict, every other one right.
fn labelled(count: usize, streams: &Streams) -> Vec<Example> {
    let mut stream = streams.stream("answers", &[]);
    let answers = (0..count).map(|at| {
        let question = TwoSum::draw(Split::Demonstrated, &mut stream);
        let is_right = at % 2 == 0;
        format().example(&question.tokens(), &question.answer(is_right, &mut stream), is_right)
    });
    answers.collect()
}
