//! A judge cut short: what it decides when it may write no more than so many partial results.

use headwater_core::{Check, EOS, Streams};
use headwater_nn::{Decoder, NnError, SamplingConfig, SequenceBatch, sample};
use headwater_protocol::{CellError, Metrics};

use super::measure::mean;
use super::train::Judge;
use super::{BY_CAP, TRAINED, TestConfig};
use headwater_tasks::chains::{COMPLETION_TOKENS, Pair, Shown, Tags, VERDICT};

/// Accuracy on the longest trained chains after 0, 1, ... of the judge's own (greedy) partial
/// results: the verdict that is then the more likely one. Whatever the judge meant to write next is
/// not asked. Nothing for judges that write no derivation.
pub(super) fn cap(
    metrics: Metrics,
    judge: &Judge,
    config: &TestConfig,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let (Judge::Writing(judge), true) = (judge, config.lengths.contains(TRAINED.end())) else {
        return Ok(metrics);
    };
    let streams = streams.child("cap", &[]);
    let mut stream = streams.stream("pairs", &[]);
    let draw = |at| Pair::draw(*TRAINED.end(), Tags::OnRight(at % 2 == 0), &mut stream);
    let pairs: Vec<Pair> = (0..config.pairs).map(draw).collect();
    let shown: Vec<Shown<'_>> = pairs.iter().flat_map(|p| [p.shown(0), p.shown(1)]).collect();
    let prompts: Vec<Vec<u32>> = shown.iter().map(Shown::tokens).collect();
    let sampling = SamplingConfig {
        max_new_tokens: COMPLETION_TOKENS,
        stop: Some(EOS),
        greedy: true,
        ..SamplingConfig::default()
    };
    let written = sample(judge, &prompts, 1, &sampling.check()?, &streams)?;
    let results: Vec<&[u32]> = written
        .iter()
        .map(|group| {
            let tokens = &group[0].tokens;
            let end = tokens.iter().position(|token| *token >= VERDICT || *token == EOS);
            &tokens[..end.unwrap_or(tokens.len())]
        })
        .collect();
    let mut curve = Vec::new();
    for most in 0..=*TRAINED.end() {
        let cut = prompts.iter().zip(&results).map(|(prompt, results)| {
            [prompt.as_slice(), &results[..most.min(results.len())]].concat()
        });
        let verdicts = likelier_verdicts(judge, &cut.collect::<Vec<_>>())?;
        // Places of the right candidate alternate.
        let right = verdicts.into_iter().enumerate();
        curve.extend(mean(right.map(|(at, verdict)| f64::from(verdict == at % 2))));
    }
    Ok(metrics.series(&BY_CAP, curve))
}

/// The likelier of the two verdicts, 0 or 1, as the next token after each of `texts`.
fn likelier_verdicts(judge: &Decoder, texts: &[Vec<u32>]) -> Result<Vec<usize>, NnError> {
    const VERDICTS: [[u32; 1]; 2] = [[VERDICT], [VERDICT + 1]];
    let both = texts.iter().flat_map(|text| VERDICTS.each_ref().map(|v| (&text[..], &v[..])));
    let scores = SequenceBatch::new(both, judge.shape())?.scores(judge, 1.0).log_probs;
    let scores = scores.inner().try_into_vec_as::<f32>().expect("log-probabilities are f32");
    Ok(scores.chunks_exact(2).map(|pair| usize::from(pair[1] > pair[0])).collect())
}
