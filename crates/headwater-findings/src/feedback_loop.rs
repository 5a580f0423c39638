//! Finding `feedback-loop`: what a recommender shows decides what it learns, and what is done about it.
//!
//! Claim (Zhao et al. 2019, "Recommending What Video to Watch Next", RecSys): a ranker that takes clicks for relevance learns
//! its own decisions; a shallow tower for position takes the bias out, where position as an input feature does
//! not; and a mixture of experts with a gate for each task (MMoE, Ma et al. 2018) learns tasks that conflict better than a shared
//! bottom.
//!
//! Parts, from the most controlled to the most real:
//!
//! 1. `worlds`: rounds of serving, logging and retraining in four simulated worlds, with every remedy for position bias; what becomes
//!    of an arbitrary head start, and whether the log identifies a bias curve at all. `looped` is one such cell.
//! 2. `mixtures`: networks on two regression tasks of known relatedness, on a stream of rows and on a fixed set.
//! 3. `conflict`: networks with two heads in the loop, where clickbait is clicked and not liked.
//! 4. `logged`: the real logs of a random and of a learning policy.
//!
//! Arms of a part share the world, its users and their luck, the first round, networks and initialisation, epochs and
//! interactions. Controls take the cause away: every slot examined, no legacy prior, no retraining, no item on two slots.
//!
//! Fixed before the run that is reported, after pilots on other users and items: contrasts, directions, smallest effects. That
//! position as a feature hurts was expected not to reproduce, and is registered as the paper has it.

use headwater_protocol::{
    Cell, CellError, Contrast, Control, Figure, Finding, NotRun, Outcome, Plan, Preset,
    ProtocolError, Records, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::data::{DataDir, DataError};
use crate::parts::{self, Part};
use crate::seeds::SHOWN_SEEDS;

mod conflict;
mod logged;
mod looped;
mod mixtures;
mod worlds;

/// The finding; all but one of its parts need no data.
#[derive(Debug, Clone)]
pub struct FeedbackLoop {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    Looped(Box<looped::LoopedConfig>),
    Mixture(mixtures::MixtureConfig),
    Logged(logged::LoggedConfig),
}

impl CellConfig {
    /// The sets that it reads.
    fn sets(&self) -> &'static [&'static str] {
        match self {
            Self::Looped(_) | Self::Mixture(_) => &[],
            Self::Logged(_) => logged::SETS,
        }
    }
}

/// Every arm with what decides its results.
fn arms(smoke: bool) -> Vec<(String, CellConfig)> {
    let looped = worlds::arms(smoke).into_iter().chain(conflict::arms(smoke));
    let looped = looped.map(|(arm, config)| (arm, CellConfig::Looped(Box::new(config))));
    let mixtures = mixtures::arms(smoke).into_iter();
    let mixtures = mixtures.map(|(arm, config)| (arm, CellConfig::Mixture(config)));
    let logged = logged::arms(smoke).into_iter();
    let logged = logged.map(|(arm, config)| (arm, CellConfig::Logged(config)));
    looped.chain(mixtures).chain(logged).collect()
}

const PARTS: [Part; 4] = [
    ("The loop in four worlds", worlds::figures, worlds::tables),
    ("Experts on related and unrelated tasks", mixtures::figures, mixtures::tables),
    ("Clickbait against satisfaction", conflict::figures, conflict::tables),
    ("Recorded logs", logged::figures, logged::tables),
];

impl Finding for FeedbackLoop {
    fn id(&self) -> &'static str {
        "feedback-loop"
    }

    fn claim(&self) -> &'static str {
        "A ranker that does not model selection bias amplifies its own decisions; a shallow tower for position and a mixture of \
         experts with a gate for each task prevent it."
    }

    fn source(&self) -> &'static str {
        "Zhao et al. 2019, Recommending What Video to Watch Next, doi 10.1145/3298689.3346997; Ma et al. 2018, MMoE, \
         doi 10.1145/3219819.3220007; Hager et al. 2025, arXiv 2506.20501; data of Saito et al. 2020, arXiv 2008.07146"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let mut plan = Plan::default();
        let mut runnable = Vec::new();
        for (arm, config) in arms(settings.preset == Preset::Smoke) {
            let located = config.sets().iter().map(|set| self.data.locate(set));
            match located.collect::<Result<Vec<_>, DataError>>() {
                Ok(_) => runnable.push((arm, config)),
                Err(missing) => plan.not_run.push(NotRun::new(arm, missing)),
            }
        }
        let seeds = settings.seed_range(10);
        for seed in seeds.clone() {
            for (arm, config) in &runnable {
                // What was recorded is the same at every seed.
                if seed == seeds.start || !matches!(config, CellConfig::Logged(_)) {
                    plan.cells.push(Cell::new(self.id(), arm, seed, config)?);
                }
            }
        }
        plan.thin(self, SHOWN_SEEDS, |_| true)?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = &workbench.streams;
        let metrics = match cell.config()? {
            CellConfig::Looped(config) => looped::run(&config, streams),
            CellConfig::Mixture(config) => mixtures::run(&config, streams),
            CellConfig::Logged(config) => logged::run(&config, &self.data, streams),
        };
        Ok(metrics?.into())
    }

    fn contrasts(&self) -> Vec<Contrast> {
        [worlds::contrasts(), mixtures::contrasts(), conflict::contrasts()].concat()
    }

    fn controls(&self) -> Vec<Control> {
        worlds::controls()
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        parts::figures(&PARTS, records)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        Ok(parts::tables(&PARTS, records))
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "The published numbers are of live experiments with the users of a video site, in time spent and in survey answers; \
             here users, clicks and satisfaction are simulated, in four worlds of 100 to 200 items, and utility is expected clicks or \
             likes over those of the ideal lists.",
            "Rankers have some thousand weights and features that suffice; the live one has hundreds of features and learns from \
             several candidate generators.",
            "Clicks follow a position-based model, in which position as an ordinary feature can be set to one value when serving; why it \
             hurt live is not known, and cannot show here.",
            "The tower has a bias for each slot of each device, of which there is one but in the world with two; the live one crosses position with device type.",
            "The MMoE paper does not give the scale of its weights, the number of sines or their frequencies, and picks each learning \
             rate from a grid over 200 runs; here they are fixed at one choice, with two spreads of frequencies.",
            "The logged recommendations are 10,000 rows per policy and campaign, with clicks in less than one percent and three \
             positions side by side: nothing is said there about position bias.",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_protocol::DeviceKind;

    #[test]
    fn without_data_the_logs_are_not_run_and_all_else_is() {
        let finding = FeedbackLoop { data: DataDir::default() };
        let settings = Settings { preset: Preset::Smoke, seeds: Some(2), device: DeviceKind::Flex };
        let plan = finding.plan(&settings).unwrap();
        assert_eq!(plan.cells.len(), 2 * (arms(true).len() - 1));
        assert_eq!(plan.not_run.len(), 1);
        assert_eq!(plan.not_run[0].arm, logged::ARM);
        assert!(plan.not_run[0].reason.contains("not found"));
    }
}
