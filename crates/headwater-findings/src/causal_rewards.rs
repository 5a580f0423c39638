//! Finding `causal-rewards`: asking a reward model for independence of a spurious factor takes the bias out of it,
//! if independence is asked for under the right condition.
//!
//! Claim (Wang et al. 2025, "Beyond Reward Hacking: Causal Rewards for LLM Alignment", arXiv 2501.09620): a
//! penalty on the dependence of the reward on length, flattery, concepts or groups removes these biases. Which variant
//! is right depends on what causes what (Veitch et al. 2021, arXiv 2106.00545).
//!
//! Parts, from the most controlled to the most real:
//!
//! 1. `planted`: planted text. The structure is set, so that the right variant is known before any run; texts with the
//!    factor toggled measure the bias exactly.
//! 2. `sycophancy` and `discrimination`: the factor is planted by the label in real text.
//! 3. `concept`: real reviews, a training set that was biased by selection, and human edits as the toggle.
//! 4. `length`: nothing is planted; what people prefer in one domain is wrong in another.
//! 5. `recorded`: judges and reward models of others, through the same probes.
//!
//! `methods` lists what is compared: everything that shares data, encoder, epochs and initialisation and differs in the
//! training objective, the pairs or a correction only. Accuracy and bias are always shown together: a model that got worse is
//! less biased, too.

use headwater_protocol::{
    Cell, CellError, Contrast, Control, Figure, Finding, NotRun, Outcome, Plan, Preset,
    ProtocolError, Records, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::data::{DataDir, DataError};
use crate::device::device;
use crate::parts::{self, Part};
use crate::seeds::SHOWN_SEEDS;

mod concept;
mod discrimination;
mod length;
mod methods;
mod planted;
mod probe;
mod recorded;
mod sycophancy;

/// The finding; it reads nine data sets, and planted text without any.
#[derive(Debug, Clone)]
pub struct CausalRewards {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    Planted(planted::PlantedConfig),
    Length(length::LengthConfig),
    Concept(concept::ConceptConfig),
    Sycophancy(sycophancy::SycophancyConfig),
    Discrimination(discrimination::DiscriminationConfig),
    Recorded(recorded::RecordedConfig),
}

impl CellConfig {
    /// The sets that it reads.
    fn sets(&self) -> &'static [&'static str] {
        match self {
            Self::Planted(_) => &[],
            Self::Length(_) => length::SETS,
            Self::Concept(_) => concept::SETS,
            Self::Sycophancy(config) => config.sets(),
            Self::Discrimination(config) => config.sets(),
            Self::Recorded(_) => recorded::SETS,
        }
    }
}

/// Every arm with what decides its results.
fn arms(smoke: bool) -> Vec<(String, CellConfig)> {
    fn part<T>(
        arms: Vec<(String, T)>,
        wrap: fn(T) -> CellConfig,
    ) -> impl Iterator<Item = (String, CellConfig)> {
        arms.into_iter().map(move |(arm, config)| (arm, wrap(config)))
    }
    part(planted::arms(smoke), CellConfig::Planted)
        .chain(part(length::arms(smoke), CellConfig::Length))
        .chain(part(concept::arms(smoke), CellConfig::Concept))
        .chain(part(sycophancy::arms(smoke), CellConfig::Sycophancy))
        .chain(part(discrimination::arms(smoke), CellConfig::Discrimination))
        .chain(part(recorded::arms(smoke), CellConfig::Recorded))
        .collect()
}

const PARTS: [Part; 6] = [
    ("Planted text", planted::figures, planted::tables),
    ("Length, on real pairs", length::figures, length::tables),
    ("A concept, on restaurant reviews", concept::figures, concept::tables),
    ("Sycophancy", sycophancy::figures, sycophancy::tables),
    ("Discrimination", discrimination::figures, discrimination::tables),
    ("Recorded judges and reward models", |_| Ok(Vec::new()), recorded::tables),
];

impl Finding for CausalRewards {
    fn id(&self) -> &'static str {
        "causal-rewards"
    }

    fn claim(&self) -> &'static str {
        "Making a reward independent of a spurious factor takes length, flattery, concept and group bias out of it; \
         which independence is the right one follows from what causes what."
    }

    fn source(&self) -> &'static str {
        "Wang et al. 2025, Beyond Reward Hacking: Causal Rewards for LLM Alignment, arXiv 2501.09620; Veitch et \
         al. 2021, arXiv 2106.00545"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let mut plan = Plan::default();
        let seeds = settings.seed_range(5);
        let mut runnable = Vec::new();
        for (arm, config) in arms(settings.preset == Preset::Smoke) {
            let located = config.sets().iter().map(|set| self.data.locate(set));
            match located.collect::<Result<Vec<_>, DataError>>() {
                Ok(_) => runnable.push((arm, config)),
                Err(missing) => plan.not_run.push(NotRun::new(arm, missing)),
            }
        }
        for seed in seeds.clone() {
            for (arm, config) in &runnable {
                // What was recorded is the same at every seed.
                if seed == seeds.start || !matches!(config, CellConfig::Recorded(_)) {
                    plan.cells.push(Cell::new(self.id(), arm, seed, config)?);
                }
            }
        }
        // On planted text every method is crossed with every structure; on real data each is an answer of its own.
        plan.thin(self, SHOWN_SEEDS, |arm| {
            let is_planted = |config: &CellConfig| matches!(config, CellConfig::Planted(_));
            runnable.iter().any(|(name, config)| name == arm && is_planted(config))
        })?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let device = device(workbench.device)?;
        let streams = &workbench.streams;
        let metrics = match cell.config()? {
            CellConfig::Planted(config) => planted::run(&config, streams, &device),
            CellConfig::Length(config) => length::run(&config, &self.data, streams, &device),
            CellConfig::Concept(config) => concept::run(&config, &self.data, streams, &device),
            CellConfig::Sycophancy(config) => {
                sycophancy::run(&config, &self.data, streams, &device)
            }
            CellConfig::Discrimination(config) => {
                discrimination::run(&config, &self.data, streams, &device)
            }
            CellConfig::Recorded(config) => recorded::run(&config, &self.data),
        };
        Ok(metrics?.into())
    }

    fn contrasts(&self) -> Vec<Contrast> {
        [
            planted::contrasts(),
            length::contrasts(),
            concept::contrasts(),
            sycophancy::contrasts(),
            discrimination::contrasts(),
        ]
        .concat()
    }

    fn controls(&self) -> Vec<Control> {
        [
            planted::controls(),
            length::controls(),
            concept::controls(),
            sycophancy::controls(),
            discrimination::controls(),
        ]
        .concat()
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        parts::figures(&PARTS, records)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        Ok(parts::tables(&PARTS, records))
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "The paper trains language models of 8 billion parameters; here rewards are linear in hashed words, trained by \
             the same objective, which the paper leaves open in kernel, bandwidth, estimator and bins.",
            "The paper's measure of flattery is what a policy writes after PPO; here the reward is probed directly, and \
             selection by it measured.",
            "On length the paper has curves of a policy against a length penalty; here rewards trained on one domain of real \
             pairs are tested on another, where people's preference for length is the opposite.",
            "Of the concepts only the food of restaurant reviews is tested, on reviews of another set, with human edits as the \
             toggle instead of none.",
            "Of discrimination the paper reports a policy's coefficients on questions of decision; here it is sentences made from \
             templates about identity terms, half of which are planted on the toxic side.",
            "Real sets are of one size: seeds split them anew and intervals speak of splits and trainings, not of other texts.",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::DeviceKind;

    #[test]
    fn without_data_the_real_parts_are_not_run_and_planted_text_is() {
        let finding = CausalRewards { data: DataDir::default() };
        let settings = Settings { preset: Preset::Smoke, seeds: Some(2), device: DeviceKind::Flex };
        let plan = finding.plan(&settings).unwrap();
        let all = arms(true);
        let planted = all.iter().filter(|(_, config)| config.sets().is_empty()).count();
        assert_eq!(plan.cells.len(), 2 * planted);
        assert_eq!(plan.not_run.len(), all.len() - planted);
        assert!(plan.not_run.iter().all(|not_run| not_run.reason.contains("not found")));
    }
}
