//! The methods under comparison: one list for planted and for real text.

use headwater_core::{Check, StreamRng, Streams};
use headwater_nn::{AdamWConfig, Device};
use headwater_protocol::CellError;
use headwater_reward_models::{
    Augmentation, BagOfWordsConfig, BottleneckConfig, Combination, FactorPenalty, Grouping,
    HashedWords, HeadConfig, InvariancePenaltyConfig, OdinConfig, Paraphrase, Preference,
    RewardModel, RewardModelConfig, Scaling, augmented, combine,
};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// How a reward model is kept from a factor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Bradley-Terry alone.
    Vanilla,
    /// Causal reward: independence of the factor within `grouping`, at this weight. With
    /// `permuted`, of a factor that was dealt out anew among the responses; with `wrong`, of one
    /// that has nothing to do with either. The bias must stay: what moves it then is the penalty's
    /// noise.
    Causal { grouping: Grouping, weight: f64, tampered: Tampered },
    /// ODIN's two heads.
    Odin,
    /// Pairs with responses to other prompts (RRM).
    Augmented,
    /// The score less what a line through score and factor explains, after training.
    Regression,
    /// InfoRM's bottleneck.
    Bottleneck,
    /// Minimum of five models on bootstrap samples.
    Ensemble,
    /// Texts with the factor toggled as paraphrases: what only somebody who can edit the texts can
    /// do.
    Oracle,
}

impl Method {
    /// Independence within `grouping` at [`WEIGHT`].
    pub(crate) const fn causal(grouping: Grouping) -> Self {
        Self::Causal { grouping, weight: WEIGHT, tampered: Tampered::No }
    }

    /// The same of a factor that was dealt out anew: the bias must stay.
    pub(crate) const fn permuted(grouping: Grouping) -> Self {
        Self::Causal { grouping, weight: WEIGHT, tampered: Tampered::Permuted }
    }
}

/// What was done to the factor before it was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tampered {
    /// Nothing.
    No,
    /// Dealt out anew among all responses.
    Permuted,
    /// Replaced by whether the text has an even number of letters.
    Wrong,
}

/// Weight at which the variants are compared.
const WEIGHT: f64 = 3.0;

/// How every model of this finding is trained; methods add to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Training {
    pub(crate) words: BagOfWordsConfig,
    pub(crate) epochs: usize,
    pub(crate) batch: usize,
    pub(crate) learning_rate: f64,
    /// Most bins of the factor.
    pub(crate) bins: usize,
}

impl Training {
    /// How rewards of real text are trained: on word counts in `buckets`, crossed with the prompt's
    /// words if `prompt_pairs`.
    ///
    /// Sets are small, so a step is over all of it, or over as much as is affordable: the penalty's
    /// noise falls with the batch, and in batches of 256 it kept rewards from learning much, with a
    /// permuted factor, too.
    pub(crate) fn real(
        buckets: u32,
        prompt_pairs: bool,
        epochs: usize,
        learning_rate: f64,
    ) -> Self {
        let scaling = Scaling::Counts;
        let words = BagOfWordsConfig { buckets, word_pairs: false, prompt_pairs, scaling };
        Self { words, epochs, batch: 8192, learning_rate, bins: 4 }
    }
}

/// A trained reward with its correction, if it has one.
pub(crate) struct Trained {
    members: Vec<RewardModel<HashedWords>>,
    correction: Option<FactorPenalty>,
}

impl Trained {
    /// Trains by `method`; `toggled` are texts with the factor added or taken away, for
    /// [`Method::Oracle`] only.
    pub(crate) fn fit(
        method: Method,
        training: &Training,
        preferences: &[Preference],
        toggled: &[Paraphrase],
        streams: &Streams,
        device: &Device,
    ) -> Result<Self, CellError> {
        let mut config = RewardModelConfig {
            epochs: training.epochs,
            batch: training.batch,
            adamw: AdamWConfig {
                learning_rate: training.learning_rate,
                weight_decay: 0.0,
                ..AdamWConfig::default()
            },
            ..RewardModelConfig::default()
        };
        let mut preferences = preferences.to_vec();
        let mut members = 1;
        match method {
            Method::Vanilla | Method::Regression => {}
            Method::Causal { grouping, weight, tampered } => {
                config.invariance =
                    Some(InvariancePenaltyConfig { grouping, weight, bins: training.bins });
                tamper(&mut preferences, tampered, &mut streams.stream("tamper", &[]));
            }
            Method::Odin => config.head = HeadConfig::Odin(OdinConfig::default()),
            Method::Augmented => {
                let wanted = Augmentation { non_contextual: 1, neutral: 1 };
                let mut stream = streams.stream("augmentation", &[]);
                preferences = augmented(&preferences, wanted, &mut stream);
                // Three times the pairs: a third of the passes makes the same number of steps.
                config.epochs = config.epochs.div_ceil(3);
            }
            Method::Bottleneck => {
                config.head = HeadConfig::Bottleneck(BottleneckConfig::default());
            }
            Method::Ensemble => members = 5,
            Method::Oracle => config.paraphrase_weight = 1.0,
        }
        let settings = config.check()?;
        let encoder = || -> Result<HashedWords, CellError> {
            Ok(HashedWords::new(training.words.clone().check()?))
        };
        let members = (0..members as u64).map(|member| {
            let sample = if members == 1 {
                preferences.clone()
            } else {
                let mut stream = streams.stream("bootstrap", &[member]);
                let draw = |_| preferences[stream.random_range(0..preferences.len())].clone();
                (0..preferences.len()).map(draw).collect()
            };
            // One member trains on the streams that every other method trains on.
            let streams = streams.child("reward model", &[member]);
            let fitted =
                RewardModel::fit(encoder()?, &sample, toggled, &[], &settings, &streams, device)?;
            Ok(fitted.0)
        });
        let members = members.collect::<Result<Vec<_>, CellError>>()?;
        let mut trained = Self { members, correction: None };
        if method == Method::Regression {
            let (texts, factors) = responses(&preferences);
            let scores = trained.scores(&texts, &factors)?;
            trained.correction = Some(FactorPenalty::regression(&scores, &factors)?);
        }
        Ok(trained)
    }

    /// Scores of (prompt, response) texts with these factors; only a correction reads the factors.
    pub(crate) fn scores(
        &self,
        texts: &[(&str, &str)],
        factors: &[f64],
    ) -> Result<Vec<f64>, CellError> {
        let members = self.members.iter().map(|member| member.scores(texts));
        let scores = combine(&members.collect::<Result<Vec<_>, _>>()?, Combination::Minimum)?;
        Ok(match self.correction {
            None => scores,
            Some(line) => scores.iter().zip(factors).map(|(s, z)| line.apply(*s, *z)).collect(),
        })
    }
}

/// Texts and factors of all responses, chosen ones first.
pub(crate) fn responses(preferences: &[Preference]) -> (Vec<(&str, &str)>, Vec<f64>) {
    let chosen = preferences.iter().map(|p| (&p.prompt, &p.chosen));
    let rejected = preferences.iter().map(|p| (&p.prompt, &p.rejected));
    let all = chosen.chain(rejected);
    all.map(|(prompt, r)| ((prompt.as_str(), r.text.as_str()), r.factor)).unzip()
}

fn tamper(preferences: &mut [Preference], tampered: Tampered, stream: &mut StreamRng) {
    match tampered {
        Tampered::No => {}
        Tampered::Permuted => {
            let (_, mut factors) = responses(preferences);
            factors.shuffle(stream);
            let (chosen, rejected) = factors.split_at(preferences.len());
            for ((preference, chosen), rejected) in preferences.iter_mut().zip(chosen).zip(rejected)
            {
                preference.chosen.factor = *chosen;
                preference.rejected.factor = *rejected;
            }
        }
        Tampered::Wrong => {
            for preference in preferences {
                for response in [&mut preference.chosen, &mut preference.rejected] {
                    let letters = response.text.chars().filter(|c| c.is_alphabetic()).count();
                    response.factor = (letters % 2) as f64;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_reward_models::Response;

    #[test]
    fn tampering_changes_the_factors_and_nothing_else() {
        let response = |at: usize, side: usize| {
            Response::new("x".repeat(at % 3 + side + 1)).factor((2 * at + side) as f64)
        };
        let own: Vec<Preference> =
            (0..20).map(|at| Preference::new("p", response(at, 0), response(at, 1))).collect();
        let tampered = |how| {
            let mut all = own.clone();
            tamper(&mut all, how, &mut Streams::new(3).stream("tamper", &[]));
            all
        };
        assert_eq!(tampered(Tampered::No), own);
        for how in [Tampered::Permuted, Tampered::Wrong] {
            assert_eq!(responses(&tampered(how)).0, responses(&own).0);
        }
        let mut permuted = responses(&tampered(Tampered::Permuted)).1;
        assert_ne!(permuted, responses(&own).1);
        permuted.sort_by(f64::total_cmp);
        let mut sorted = responses(&own).1;
        sorted.sort_by(f64::total_cmp);
        assert_eq!(permuted, sorted, "dealt out anew, none lost");
        let wrong = responses(&tampered(Tampered::Wrong)).1;
        assert_eq!(wrong[..3], [1.0, 0.0, 1.0], "texts of one, two and three letters");
    }
}
