//! The reward that is optimised: reward models, put on one scale, as one score.

use headwater_core::Streams;
use headwater_nn::{Decoder, Device, pack, unpack};
use headwater_protocol::CellError;
use headwater_reward_models::{Combination, DecoderEncoder, HashedWords, RewardModel, combine};
use serde::{Deserialize, Serialize};

use super::texts::Texts;

/// One trained model.
pub(super) enum Member {
    Words(Box<RewardModel<HashedWords>>),
    Decoder(Box<RewardModel<DecoderEncoder>>),
}

impl Member {
    /// Scores of (prompt, response) texts, log-odds.
    pub(super) fn scores(&self, texts: &[(&str, &str)]) -> Result<Vec<f64>, CellError> {
        Ok(match self {
            Self::Words(model) => model.scores(texts)?,
            Self::Decoder(model) => model.scores(texts)?,
        })
    }
}

/// What an artifact says beside the models' bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    decoder: bool,
    members: usize,
    combination: Combination,
    /// Divergence at which the gold of best-of-n is predicted to peak, nats; infinite where it is
    /// not.
    predicted_peak: Option<f64>,
}

/// A reward, standardised so that the base policy's texts have mean 0 and standard deviation 1.
pub(super) struct Proxy {
    members: Vec<Member>,
    /// Mean and standard deviation of each member on the base policy's texts.
    moments: Vec<(f64, f64)>,
    combination: Combination,
    /// Divergence from the base at which gold is predicted to peak, nats.
    pub(super) predicted_peak: Option<f64>,
}

impl Proxy {
    /// A proxy of `members`, standardised on texts of the base policy.
    pub(super) fn new(
        members: Vec<Member>,
        combination: Combination,
        reference: &Texts,
    ) -> Result<Self, CellError> {
        let moments = members.iter().map(|member| {
            let scores = member.scores(&reference.pairs())?;
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            let square = scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>();
            Ok((mean, (square / scores.len() as f64).sqrt().max(1e-9)))
        });
        let moments = moments.collect::<Result<Vec<_>, CellError>>()?;
        Ok(Self { members, moments, combination, predicted_peak: None })
    }

    /// Standard deviation of the score on the base policy's texts, log-odds: the mean over members.
    pub(super) fn spread(&self) -> f64 {
        self.moments.iter().map(|(_, spread)| spread).sum::<f64>() / self.moments.len() as f64
    }

    /// Standardised scores.
    pub(super) fn scores(&self, texts: &[(&str, &str)]) -> Result<Vec<f64>, CellError> {
        let standardised =
            self.members.iter().zip(&self.moments).map(|(member, (mean, spread))| {
                let scores = member.scores(texts)?;
                Ok(scores.into_iter().map(|score| (score - mean) / spread).collect())
            });
        let standardised = standardised.collect::<Result<Vec<Vec<f64>>, CellError>>()?;
        Ok(combine(&standardised, self.combination)?)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, CellError> {
        let header = Header {
            decoder: matches!(self.members[0], Member::Decoder(_)),
            members: self.members.len(),
            combination: self.combination,
            predicted_peak: self.predicted_peak,
        };
        let names: Vec<String> = (0..self.members.len()).map(|at| format!("member {at}")).collect();
        let mut sections = vec![("header", serde_json::to_vec(&header)?)];
        for (name, member) in names.iter().zip(&self.members) {
            let bytes = match member {
                Member::Words(model) => model.to_bytes(),
                Member::Decoder(model) => model.to_bytes(),
            };
            sections.push((name, bytes));
        }
        Ok(pack(&sections))
    }

    /// The inverse of [`Proxy::to_bytes`], standardised anew on texts of the same base.
    pub(super) fn from_bytes(
        bytes: &[u8],
        base: &Decoder,
        streams: &Streams,
        device: &Device,
    ) -> Result<Self, CellError> {
        let header: Header = serde_json::from_slice(&unpack(bytes, "header")?)?;
        let members = (0..header.members).map(|at| {
            let bytes = unpack(bytes, &format!("member {at}"))?;
            Ok::<_, CellError>(if header.decoder {
                Member::Decoder(Box::new(RewardModel::from_bytes(&bytes, device)?))
            } else {
                Member::Words(Box::new(RewardModel::from_bytes(&bytes, device)?))
            })
        });
        let members = members.collect::<Result<Vec<_>, _>>()?;
        let reference = Texts::reference(base, streams)?;
        let predicted_peak = header.predicted_peak;
        Ok(Self { predicted_peak, ..Self::new(members, header.combination, &reference)? })
    }
}
