//! What is measured of a policy: accuracy, the confidence it states, and the likelihood it gives
//! its answers.

use headwater_core::{Check, StreamRng, Streams, Vocabulary};
use headwater_evaluation::calibration::{auroc, brier, ece_equal_width};
use headwater_nn::{Decoder, SamplingConfig, sample};
use headwater_protocol::{CellError, Metrics};

use super::{
    ACCURACY, ACCURACY_LIKELY, ACCURACY_UNLIKELY, AUROC, BRIER, BRIER_OF_LIKELIHOOD, BY_LEVEL, ECE,
    ECE_OF_LIKELIHOOD, IMPOSSIBLE, LIKELIHOOD_BY_LEVEL, LIKELY, MALFORMED, OVERCONFIDENCE,
    OVERCONFIDENCE_OF_LIKELIHOOD, STATED_BY_LEVEL, UNLIKELY,
};
use headwater_tasks::masked_sum::{
    COMPLETION_TOKENS, LEVELS, MaskedSum, confidence_format, vocabulary,
};

/// One sampled answer of the test.
struct Answer {
    level: usize,
    correct: bool,
    /// Probability that the answer is right given the prompt: 0 for an impossible one.
    success: f64,
    stated: Option<f64>,
    likelihood: f64,
}

/// Samples every prompt of `levels` several times, each with a truth of its own, and measures.
pub(super) fn measure(
    policy: &Decoder,
    levels: &[usize],
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let answers = answer_all(policy, &vocabulary(), levels, streams)?;
    let of = |keep: &dyn Fn(&Answer) -> bool| -> Vec<&Answer> {
        answers.iter().filter(|answer| keep(answer)).collect()
    };
    let accuracy =
        |of: &[&Answer]| mean(&of.iter().map(|a| f64::from(a.correct)).collect::<Vec<_>>());
    let overconfidence = |of: &[&Answer]| {
        mean(&of.iter().map(|a| a.likelihood - f64::from(a.correct)).collect::<Vec<_>>())
    };
    let all = of(&|_| true);
    let level = |f: &dyn Fn(&[&Answer]) -> f64| -> Vec<f64> {
        (0..LEVELS.len())
            .filter(|l| levels.contains(l))
            .map(|l| f(&of(&|a| a.level == l)))
            .collect()
    };
    let said = of(&|a| a.stated.is_some());
    let stated: Vec<f64> = said.iter().filter_map(|a| a.stated).collect();
    let said_correct: Vec<bool> = said.iter().map(|a| a.correct).collect();
    let correct: Vec<bool> = answers.iter().map(|a| a.correct).collect();
    let likelihood: Vec<f64> = answers.iter().map(|a| a.likelihood).collect();
    let mut metrics = Metrics::new()
        .scalar(&ACCURACY, accuracy(&all))
        .scalar(&MALFORMED, 1.0 - said.len() as f64 / answers.len() as f64)
        .scalar(
            &IMPOSSIBLE,
            mean(&answers.iter().map(|a| f64::from(a.success == 0.0)).collect::<Vec<_>>()),
        )
        .scalar(&OVERCONFIDENCE_OF_LIKELIHOOD, overconfidence(&all))
        .scalar(&ECE_OF_LIKELIHOOD, ece_equal_width(&likelihood, &correct, 10)?)
        .scalar(&BRIER_OF_LIKELIHOOD, brier(&likelihood, &correct)?)
        .series(&BY_LEVEL, level(&accuracy))
        .series(
            &LIKELIHOOD_BY_LEVEL,
            level(&|of| mean(&of.iter().map(|a| a.likelihood).collect::<Vec<_>>())),
        )
        .series(
            &STATED_BY_LEVEL,
            level(&|of| mean(&of.iter().filter_map(|a| a.stated).collect::<Vec<_>>())),
        );
    for (metric, level) in [(ACCURACY_UNLIKELY, UNLIKELY), (ACCURACY_LIKELY, LIKELY)] {
        let answers = of(&|a| a.level == level);
        if !answers.is_empty() {
            metrics = metrics.scalar(&metric, accuracy(&answers));
        }
    }
    if !stated.is_empty() {
        metrics = metrics
            .scalar(&ECE, ece_equal_width(&stated, &said_correct, 10)?)
            .scalar(&BRIER, brier(&stated, &said_correct)?)
            .scalar(&OVERCONFIDENCE, mean(&stated) - accuracy(&said));
        // Without both outcomes there is nothing to rank.
        if let Ok(auroc) = auroc(&stated, &said_correct) {
            metrics = metrics.scalar(&AUROC, auroc);
        }
    }
    Ok(metrics)
}

/// Samples per prompt of the test.
const TEST_SAMPLES: usize = 8;

fn answer_all(
    policy: &Decoder,
    vocabulary: &Vocabulary,
    levels: &[usize],
    streams: &Streams,
) -> Result<Vec<Answer>, CellError> {
    let questions: Vec<(u32, u32, usize)> = levels
        .iter()
        .flat_map(|level| (0..100).map(move |pair| (pair / 10, pair % 10, *level)))
        .collect();
    let mut truths: StreamRng = streams.stream("test truths", &[]);
    let texts = questions.iter().map(|(first, shown, level)| {
        let question = MaskedSum { first: *first, shown: *shown, level: *level, hidden: *shown };
        vocabulary.encode(&question.text())
    });
    let prompts = texts.collect::<Result<Vec<_>, _>>()?;
    let sampling =
        SamplingConfig { max_new_tokens: COMPLETION_TOKENS, stop: None, ..Default::default() };
    let streams = streams.child("test", &[]);
    let groups = sample(policy, &prompts, TEST_SAMPLES, &sampling.check()?, &streams)?;
    let mut answers = Vec::new();
    for ((first, shown, level), group) in questions.into_iter().zip(groups) {
        for completion in group {
            let question = MaskedSum::draw_truth(first, shown, level, &mut truths);
            let text = vocabulary.decode(&completion.tokens);
            let statement = confidence_format().parse(&text);
            answers.push(Answer {
                level,
                correct: statement.answer == question.answer(),
                success: question.success_probability(statement.answer),
                stated: statement.confidence,
                likelihood: completion.log_probs[..2]
                    .iter()
                    .map(|l| f64::from(*l))
                    .sum::<f64>()
                    .exp(),
            });
        }
    }
    Ok(answers)
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
