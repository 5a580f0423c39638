//! Finding `cascade`: optimisation does not average a reward's flaw out, it finds and magnifies it.
//!
//! Three parts, from the most controlled to the most real:
//!
//! 1. `chain`: planted text. A dose of bias in the labels goes through a reward model, selection, policy
//!    gradient and a round of self-training; every stage is measured on one scale, remedies are set against harms, and
//!    dose 0 is the control.
//! 2. `truthful`: real answers with what people said of them (`truthfulqa`), selected by proxies of one label or the
//!    other.
//! 3. `stories`: a real pretrained policy (`stories260k`) under a reward learnt from preferences about a human-rated
//!    lexicon (`vader-lexicon`), with and without a taste for one word.

use headwater_protocol::{
    Cell, CellError, Contrast, Control, Figure, Finding, NotRun, Outcome, Plan, Preset,
    ProtocolError, Records, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::data::DataDir;
use crate::device::device;
use crate::seeds::SHOWN_SEEDS;

mod chain;
mod stories;
mod truthful;

/// The finding; it reads `truthfulqa`, `stories260k` and `vader-lexicon`.
#[derive(Debug, Clone)]
pub struct Cascade {
    /// Where the data lies.
    pub data: DataDir,
}

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    Chain(chain::ChainConfig),
    Truthful(truthful::TruthfulConfig),
    Stories(stories::StoriesConfig),
}

/// A heading of the report, and what is shown under it where `first_arm` was run.
struct Part {
    title: &'static str,
    first_arm: &'static str,
    figures: fn(&Records) -> Result<Vec<Figure>, ProtocolError>,
    tables: fn(&Records) -> Result<Vec<Table>, ProtocolError>,
}

const PARTS: [Part; 3] = [
    Part {
        title: "The chain, on planted text",
        first_arm: "base",
        figures: chain::figures,
        tables: chain::tables,
    },
    Part {
        title: "Real answers: TruthfulQA",
        first_arm: truthful::ARM,
        figures: truthful::figures,
        tables: truthful::tables,
    },
    Part {
        title: "A real pretrained policy: stories260K",
        first_arm: stories::ARMS[0],
        figures: stories::figures,
        tables: stories::tables,
    },
];

impl Finding for Cascade {
    fn id(&self) -> &'static str {
        "cascade"
    }

    fn claim(&self) -> &'static str {
        "Biases of a reward are not averaged out by optimisation: it finds and magnifies them."
    }

    fn source(&self) -> &'static str {
        "Gao et al. 2022, Scaling Laws for Reward Model Overoptimization, arXiv 2210.10760; data of Lin \
         et al. 2022, TruthfulQA, arXiv 2109.07958"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut plan = Plan::default();
        for seed in settings.seed_range(5) {
            chain::plan(self.id(), seed, smoke, CellConfig::Chain, &mut plan)?;
        }
        match self.data.locate("truthfulqa") {
            Ok(_) => {
                for seed in settings.seed_range(10) {
                    truthful::plan(self.id(), seed, smoke, CellConfig::Truthful, &mut plan)?;
                }
            }
            Err(missing) => plan.not_run.extend(truthful::not_run(&missing)),
        }
        match ["stories260k", "vader-lexicon"]
            .into_iter()
            .map(|set| self.data.locate(set))
            .find(Result::is_err)
        {
            None => {
                for seed in settings.seed_range(5) {
                    stories::plan(self.id(), seed, smoke, CellConfig::Stories, &mut plan)?;
                }
            }
            Some(missing) => {
                let reason = missing.map_or_else(|error| error.to_string(), |_| String::new());
                plan.not_run.extend(stories::ARMS.map(|arm| NotRun::new(arm, &reason)));
            }
        }
        // PPO is shown beside GRPO, and trains two networks.
        plan.thin(self, SHOWN_SEEDS, |arm| arm.ends_with("-ppo") || arm.ends_with("-ppo-kl"))?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let device = device(workbench.device)?;
        match cell.config()? {
            CellConfig::Chain(config) => chain::run(config, workbench, &device),
            CellConfig::Truthful(config) => {
                truthful::run(&config, &self.data, &workbench.streams, workbench.device)
            }
            CellConfig::Stories(config) => stories::run(config, &self.data, workbench, &device),
        }
    }

    fn contrasts(&self) -> Vec<Contrast> {
        [chain::contrasts(), truthful::contrasts(), stories::contrasts()].concat()
    }

    fn controls(&self) -> Vec<Control> {
        [chain::controls(), truthful::controls(), stories::controls()].concat()
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        let mut all = Vec::new();
        for Part { title, first_arm, figures, .. } in PARTS {
            if records.has_arm(first_arm) {
                all.extend(figures(records)?.into_iter().map(|figure| figure.part(title)));
            }
        }
        Ok(all)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        let mut all = Vec::new();
        for Part { title, tables, .. } in PARTS {
            all.extend(tables(records)?.into_iter().map(|table| table.part(title)));
        }
        Ok(all)
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "Gao et al. sample from a 1.2B policy and score with a 6B gold reward model; on planted text the gold is \
             computed, on TruthfulQA the pool is fixed (about 22 real answers a question) and the gold is what people said.",
            "Planted text has one prompt for each of eight topics and ten tokens a response; its annotators are \
             simulated and their bias is known.",
            "Ensemble members of Coste et al. share their data and differ in initialisation and order; a linear \
             model's optimum does not depend on either, so members here see bootstrap samples.",
            "TruthfulQA seeds split one set of 817 questions anew and train on another part of them: the intervals speak of \
             splits and trainings, not of other questions.",
            "The pretrained policy has 260 thousand parameters and tells stories; its gold is a lexicon's rating of \
             the words it uses.",
        ]
    }
}
