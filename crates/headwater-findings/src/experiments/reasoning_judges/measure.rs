//! What is measured of a judge: accuracy by length and tag, and what test-time compute adds.

use headwater_core::{Check, EOS, Streams};
use headwater_nn::{Completion, SamplingConfig, sample};
use headwater_protocol::{CellError, Metrics};
use headwater_reward_models::judging::{
    JudgeChoice, VoteTally, condorcet, filtered_vote, sequential_vote, vote, voting_ceiling,
};
use headwater_reward_models::{Labelled, Logistic, LogisticConfig, SparseFeatures};
use rand::RngExt;

use super::train::Judge;
use super::{
    ACCURACY_DEEP, ACCURACY_LONGER, ACCURACY_TRAINED, BY_LENGTH, CEILING, CONDORCET, CONSISTENT,
    DEEP, FILTERED, LEADS, LONGER, MOST_FILTERED, MOST_VOTES, NO_VERDICT, PLAIN, PLANTED, STOPPED,
    STOPPED_CALLS, TAG_ON_RIGHT, TAG_ON_WRONG, TOKENS_BY_LENGTH, TRAINED, TestConfig, VOTES,
};
use headwater_tasks::chains::{COMPLETION_TOKENS, Pair, Shown, Tags, read_judgement};

/// One judgement of a pair.
#[derive(Clone)]
pub(super) struct Judged {
    pub(super) preference: JudgeChoice,
    /// Tokens written.
    tokens: usize,
    /// What the filter of judgements looks at.
    features: SparseFeatures,
}

impl Judge {
    /// `draws` judgements of every pair at temperature 1, or greedy ones. A scalar judge says the
    /// same every time.
    pub(super) fn judge(
        &self,
        pairs: &[Shown<'_>],
        draws: usize,
        greedy: bool,
        streams: &Streams,
    ) -> Result<Vec<Vec<Judged>>, CellError> {
        match self {
            Self::Scalar(judge) => {
                let score = |place: usize| {
                    let read = pairs.iter().map(|p| p.chain.tokens_with(p.candidates[place]));
                    judge.score(&read.collect::<Vec<_>>())
                };
                let scores = score(0)?.into_iter().zip(score(1)?);
                let judged = scores.map(|(first, second)| {
                    let preference = match first.total_cmp(&second) {
                        std::cmp::Ordering::Greater => JudgeChoice::First,
                        std::cmp::Ordering::Less => JudgeChoice::Second,
                        std::cmp::Ordering::Equal => JudgeChoice::Neither,
                    };
                    vec![Judged { preference, tokens: 0, features: Vec::new() }; draws]
                });
                Ok(judged.collect())
            }
            Self::Writing(judge) => {
                let prompts: Vec<Vec<u32>> = pairs.iter().map(Shown::tokens).collect();
                let sampling = SamplingConfig {
                    max_new_tokens: COMPLETION_TOKENS,
                    stop: Some(EOS),
                    greedy,
                    ..SamplingConfig::default()
                };
                let groups = sample(judge, &prompts, draws, &sampling.check()?, streams)?;
                let judged = pairs.iter().zip(groups).map(|(shown, group)| {
                    group.iter().map(|completion| Judged::read(shown, completion)).collect()
                });
                Ok(judged.collect())
            }
        }
    }
}

impl Judged {
    fn read(shown: &Shown<'_>, completion: &Completion) -> Self {
        let read = read_judgement(&completion.tokens);
        let preference = match &read {
            None => JudgeChoice::Neither,
            Some((_, 0)) => JudgeChoice::First,
            Some(_) => JudgeChoice::Second,
        };
        let agrees = read.is_some_and(|(results, place)| {
            results.last() == Some(&shown.candidates[place].answer)
        });
        let log_probs = || completion.log_probs.iter().copied();
        let tokens = completion.tokens.len();
        let values = [
            tokens as f32 / COMPLETION_TOKENS as f32,
            log_probs().fold(0.0, f32::min),
            log_probs().sum::<f32>() / tokens as f32,
            completion.entropies.iter().copied().fold(0.0, f32::max),
            f32::from(u8::from(agrees)),
        ];
        Self { preference, tokens, features: (0u32..).zip(values).collect() }
    }

    /// 1 when it names the candidate in place `right`, 0 when it names the other, 1/2 when it names
    /// none, as a coin would then be right.
    fn credit(&self, right: usize) -> f64 {
        match self.preference {
            JudgeChoice::Neither => 0.5,
            JudgeChoice::First => f64::from(right == 0),
            JudgeChoice::Second => f64::from(right == 1),
        }
    }
}

/// A pair with its judgements: by the place of the right candidate, then by draw.
struct Tried {
    length: usize,
    right_is_tagged: bool,
    greedy: [Judged; 2],
    drawn: [Vec<Judged>; 2],
}

/// Measures on pairs whose tag tells nothing; votes are measured on deep chains only.
pub(super) fn measure(
    metrics: Metrics,
    judge: &Judge,
    config: &TestConfig,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    let streams = streams.child("test", &[]);
    let tried = try_all(judge, config, &streams)?;
    let mut metrics = accuracy(metrics, &tried, config);
    let deep: Vec<&Tried> = tried.iter().filter(|pair| DEEP.contains(&pair.length)).collect();
    if !deep.is_empty() {
        let filter = Filter::fit(judge, config, &streams)?;
        metrics = votes(metrics, &deep, &filter, &streams)?;
    }
    Ok(metrics)
}

fn try_all(judge: &Judge, config: &TestConfig, streams: &Streams) -> Result<Vec<Tried>, CellError> {
    let mut tried = Vec::new();
    for length in &config.lengths {
        let indices = [*length as u64];
        let mut stream = streams.stream("pairs", &indices);
        // As often on the right candidate as on the wrong one: a judge that follows the tag is
        // right in half of the pairs.
        let pairs: Vec<Pair> = (0..config.pairs)
            .map(|at| Pair::draw(*length, Tags::OnRight(at % 2 == 0), &mut stream))
            .collect();
        let both = pairs.iter().flat_map(|pair| [pair.shown(0), pair.shown(1)]);
        let both: Vec<Shown<'_>> = both.collect();
        let greedy = judge.judge(&both, 1, true, &streams.child("greedy", &indices))?;
        let draws = if DEEP.contains(length) { config.draws } else { 0 };
        let drawn = judge.judge(&both, draws, false, &streams.child("drawn", &indices))?;
        let mut judged = greedy.into_iter().zip(drawn);
        for pair in &pairs {
            let mut next = || judged.next().expect("every pair was judged in both orders");
            let ((first, drawn_first), (second, drawn_second)) = (next(), next());
            tried.push(Tried {
                length: *length,
                right_is_tagged: pair.candidates[0].tagged,
                greedy: [first[0].clone(), second[0].clone()],
                drawn: [drawn_first, drawn_second],
            });
        }
    }
    Ok(tried)
}

/// Mean over pairs and both orders of a greedy judgement's credit, where `keep` holds; `None` where
/// it never does.
fn greedy_accuracy(tried: &[Tried], keep: impl Fn(&Tried) -> bool) -> Option<f64> {
    let credits = tried.iter().filter(|pair| keep(pair)).flat_map(|pair| {
        pair.greedy.iter().enumerate().map(|(right, judged)| judged.credit(right))
    });
    mean(credits)
}

fn accuracy(metrics: Metrics, tried: &[Tried], config: &TestConfig) -> Metrics {
    let by_length = config.lengths.iter();
    let tokens = |length: usize| {
        let of = tried.iter().filter(|pair| pair.length == length);
        mean(of.flat_map(|pair| &pair.greedy).map(|judged| judged.tokens as f64))
    };
    let greedy = || tried.iter().flat_map(|pair| &pair.greedy);
    let unread = greedy().map(|judged| f64::from(judged.preference == JudgeChoice::Neither));
    let consistent = tried.iter().map(|pair| {
        let [one, other] = [0, 1].map(|right| pair.greedy[right].credit(right));
        f64::from(one == other && one != 0.5)
    });
    let mut metrics = metrics
        .series(
            &BY_LENGTH,
            by_length
                .clone()
                .filter_map(|l| greedy_accuracy(tried, |p| p.length == *l))
                .collect::<Vec<f64>>(),
        )
        .series(&TOKENS_BY_LENGTH, by_length.filter_map(|l| tokens(*l)).collect::<Vec<f64>>())
        .scalar(&NO_VERDICT, mean(unread).unwrap_or(0.0))
        .scalar(&CONSISTENT, mean(consistent).unwrap_or(0.0));
    let trained =
        |tagged: bool| move |p: &Tried| TRAINED.contains(&p.length) && p.right_is_tagged == tagged;
    for (metric, accuracy) in [
        (ACCURACY_TRAINED, greedy_accuracy(tried, |p| TRAINED.contains(&p.length))),
        (ACCURACY_LONGER, greedy_accuracy(tried, |p| LONGER.contains(&p.length))),
        (ACCURACY_DEEP, greedy_accuracy(tried, |p| DEEP.contains(&p.length))),
        (TAG_ON_RIGHT, greedy_accuracy(tried, trained(true))),
        (TAG_ON_WRONG, greedy_accuracy(tried, trained(false))),
    ] {
        if let Some(accuracy) = accuracy {
            metrics = metrics.scalar(&metric, accuracy);
        }
    }
    metrics
}

/// Tells right judgements from wrong ones by how sure the judge was of its tokens, how many it
/// wrote, and whether the candidate it names is what its derivation came to. It never sees the
/// right answer.
struct Filter(Logistic);

impl Filter {
    /// Fitted on judgements of pairs as in training.
    fn fit(judge: &Judge, config: &TestConfig, streams: &Streams) -> Result<Self, CellError> {
        let mut stream = streams.stream("filter pairs", &[]);
        let pairs: Vec<Pair> = (0..config.filter_pairs)
            .map(|_| {
                let length = stream.random_range(1..=*TRAINED.end());
                Pair::draw(length, Tags::Planted(PLANTED), &mut stream)
            })
            .collect();
        let both: Vec<Shown<'_>> =
            pairs.iter().flat_map(|pair| [pair.shown(0), pair.shown(1)]).collect();
        let judged = judge.judge(&both, 4, false, &streams.child("filter", &[]))?;
        let examples = judged.into_iter().enumerate().flat_map(|(at, group)| {
            group.into_iter().map(move |judged| Labelled {
                label: judged.credit(at % 2),
                input: judged.features,
            })
        });
        let examples: Vec<_> = examples.collect();
        let settings = LogisticConfig::default().check()?;
        Ok(Self(Logistic::fit(&examples, 5, &settings, &mut streams.stream("filter fit", &[]))?))
    }

    fn quality(&self, judged: &Judged) -> f64 {
        self.0.score(&judged.features)
    }
}

/// Accuracy by number of votes: plain, filtered, stopped at a lead; what independent votes would
/// give, and their limit.
fn votes(
    metrics: Metrics,
    deep: &[&Tried],
    filter: &Filter,
    streams: &Streams,
) -> Result<Metrics, CellError> {
    // The right candidate is number 0, so the first number shown is the right one's place.
    const PAIR: [usize; 2] = [0, 1];
    let credit = |tally: VoteTally| tally.winner(PAIR).map_or(0.5, |winner| f64::from(winner == 0));
    let most = VOTES[VOTES.len() - 1];
    let mut curves: [Vec<f64>; 5] = Default::default();
    let [plain, filtered, expected, stopped, calls] = &mut curves;
    let shares: Vec<f64> = deep
        .iter()
        .filter_map(|pair| {
            let drawn = pair.drawn.iter().enumerate();
            mean(drawn.flat_map(|(right, drawn)| drawn.iter().map(move |j| j.credit(right))))
        })
        .collect();
    // Every count of votes on a pair begins with the same votes in the same orders.
    let order = |at: usize| streams.stream("order of votes", &[at as u64]);
    for votes in VOTES {
        let (mut plainly, mut filtering) = (0.0, 0.0);
        for (at, pair) in deep.iter().enumerate() {
            let mut say = |shown: [usize; 2], draw: usize| pair.drawn[shown[0]][draw].preference;
            plainly += credit(vote(PAIR, votes, &mut say, &mut order(at))?);
            let mut say = |shown: [usize; 2], draw: usize| {
                let judged = &pair.drawn[shown[0]][draw];
                (judged.preference, filter.quality(judged))
            };
            let keep = votes.div_ceil(2);
            filtering += credit(filtered_vote(PAIR, votes, keep, &mut say, &mut order(at))?);
        }
        plain.push(plainly / deep.len() as f64);
        filtered.push(filtering / deep.len() as f64);
        expected.push(mean(shares.iter().map(|p| condorcet(*p, votes))).unwrap_or(0.5));
    }
    for lead in LEADS {
        let (mut right, mut asked) = (0.0, 0.0);
        for (at, pair) in deep.iter().enumerate() {
            let mut say = |shown: [usize; 2], draw: usize| pair.drawn[shown[0]][draw].preference;
            let tally = sequential_vote(PAIR, lead, most, &mut say, &mut order(at))?;
            right += credit(tally);
            asked += tally.calls as f64;
        }
        stopped.push(right / deep.len() as f64);
        calls.push(asked / deep.len() as f64);
    }
    let [plain, filtered, expected, stopped, calls] = curves;
    Ok(metrics
        .scalar(&CEILING, voting_ceiling(&shares).unwrap_or(0.5))
        .scalar(&MOST_VOTES, plain[plain.len() - 1])
        .scalar(&MOST_FILTERED, filtered[filtered.len() - 1])
        .series(&PLAIN, plain)
        .series(&FILTERED, filtered)
        .series(&CONDORCET, expected)
        .series(&STOPPED, stopped)
        .series(&STOPPED_CALLS, calls))
}

/// The mean; `None` of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::{Records, Scalar};

    fn said(preference: JudgeChoice) -> Judged {
        Judged { preference, tokens: 2, features: Vec::new() }
    }

    /// 40 pairs of length 5 with the same judgement for each place of the right candidate.
    fn tried(by_place: [JudgeChoice; 2]) -> Vec<Tried> {
        let pair = |at| Tried {
            length: 5,
            right_is_tagged: at % 4 == 0,
            greedy: by_place.map(said),
            drawn: by_place.map(|preference| vec![said(preference); 16]),
        };
        (0..40).map(pair).collect()
    }

    fn measured(by_place: [JudgeChoice; 2]) -> Records {
        let (tried, streams) = (tried(by_place), Streams::new(1));
        let config =
            TestConfig { lengths: vec![5], pairs: 40, draws: 16, filter_pairs: 8, pools: 0 };
        let example = Labelled { input: Vec::new(), label: 1.0 };
        let settings = LogisticConfig::default().check().unwrap();
        let mut stream = streams.stream("fit", &[]);
        let filter = Filter(Logistic::fit(&[example], 5, &settings, &mut stream).unwrap());
        let metrics = accuracy(Metrics::new(), &tried, &config);
        let deep: Vec<&Tried> = tried.iter().collect();
        let metrics = votes(metrics, &deep, &filter, &streams).unwrap();
        Records::new([("judge".into(), 0, metrics)])
    }

    fn scalar(records: &Records, metric: &Scalar) -> f64 {
        records.seed(0).scalar(&"judge".into(), metric).unwrap()
    }

    #[test]
    fn a_judge_that_knows_and_one_that_says_the_other() {
        let right = measured([JudgeChoice::First, JudgeChoice::Second]);
        let wrong = measured([JudgeChoice::Second, JudgeChoice::First]);
        for metric in
            [ACCURACY_TRAINED, ACCURACY_DEEP, TAG_ON_RIGHT, TAG_ON_WRONG, MOST_VOTES, CEILING]
        {
            assert_eq!(scalar(&right, &metric), 1.0, "{metric:?}");
            assert_eq!(scalar(&wrong, &metric), 0.0, "{metric:?}");
        }
        for records in [&right, &wrong] {
            assert_eq!(scalar(records, &CONSISTENT), 1.0);
            assert_eq!(
                records.seed(0).series(&"judge".into(), &STOPPED_CALLS).unwrap(),
                [1., 2., 3., 4.]
            );
        }
    }

    #[test]
    fn a_judge_of_places_and_one_without_verdicts_are_at_chance() {
        let place = measured([JudgeChoice::First; 2]);
        let silent = measured([JudgeChoice::Neither; 2]);
        for (records, no_verdict) in [(&place, 0.0), (&silent, 1.0)] {
            for (metric, known) in [
                (ACCURACY_DEEP, 0.5),
                (TAG_ON_WRONG, 0.5),
                (CONSISTENT, 0.0),
                (CEILING, 0.5),
                (NO_VERDICT, no_verdict),
            ] {
                assert_eq!(scalar(records, &metric), known, "{metric:?}");
            }
        }
        // Orders are drawn, so a judge of places errs at random, and one without verdicts ties.
        assert_eq!(scalar(&silent, &MOST_VOTES), 0.5);
        let most = scalar(&place, &MOST_VOTES);
        assert!((0.2..0.8).contains(&most), "{most}");
    }
}
