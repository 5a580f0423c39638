//! Finding `self-improvement`: what a loop that learns from its own outputs gains, and what it has to import to go on gaining.
//!
//! Claim (a synthesis, in the wording that the evidence bears): every method that keeps improving imports information its own samples
//! do not carry; anchors that carry none only slow the loop or cap it at their own level. Sources: Song et al. 2024 (the
//! generation-verification gap), Shafayat et al. 2025 (rise and sudden collapse under majority rewards), Gerstgrasser et al. 2024
//! (accumulate against replace).
//!
//! Parts:
//!
//! 1. `classifier`: a classifier with shared weights, rewarded for agreeing with labels from itself, from a past checkpoint, from chance, from a
//!    judge, from users, from a tool or from gold; and how strong each anchor has to be.
//! 2. `collapse`: regressions trained on their own outputs, whose errors have a formula.
//! 3. `language`: a decoder trained on its own text, where the text that was there first has a known distribution.
//! 4. `policy`: a decoder that answers and verifies, and learns from what it accepts.
//! 5. `facts`: a table of random facts, of which nothing can be verified that is not known.
//!
//! Arms of a part share task, base, prompts, answers per prompt and steps; they differ in what answers are rewarded by, or in one setting.
//! Controls: labels by chance, a judge who knows nothing, real rows in every round.

use headwater_protocol::{
    Cell, CellError, Contrast, Control, Figure, Finding, Outcome, Plan, Preset, ProtocolError,
    Records, Settings, Table, Workbench,
};
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::parts::{self, Part};
use crate::seeds::SHOWN_SEEDS;

mod classifier;
mod collapse;
mod facts;
mod language;
mod policy;

/// The finding; it needs no data.
#[derive(Debug, Clone, Copy)]
pub struct SelfImprovement;

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum CellConfig {
    Classifier(classifier::ClassifierConfig),
    Collapse(collapse::CollapseConfig),
    Language(language::LanguageConfig),
    Policy(policy::PolicyConfig),
    Facts(facts::FactsConfig),
}

const PARTS: [Part; 5] = [
    ("A classifier that learns from its own answers", classifier::figures, classifier::tables),
    ("Regressions on their own outputs", collapse::figures, collapse::tables),
    ("A decoder on its own text", language::figures, language::tables),
    ("A policy that verifies its own answers", policy::figures, policy::tables),
    ("Facts, which cannot be verified", facts::figures, facts::tables),
];

impl Finding for SelfImprovement {
    fn id(&self) -> &'static str {
        "self-improvement"
    }

    fn claim(&self) -> &'static str {
        "Self-reward stalls and collapses; every method that keeps improving imports information its own samples do not carry, and \
         anchors that carry none only slow the loop or cap it."
    }

    fn source(&self) -> &'static str {
        "Song et al. 2024, Mind the Gap, arXiv 2412.02674; Shafayat et al. 2025, Can Large Reasoning Models Self-Train?, arXiv \
         2505.21444; Gerstgrasser et al. 2024, arXiv 2404.01413; Shumailov et al. 2023, arXiv 2305.17493"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let mut plan = Plan::default();
        for seed in settings.seed_range(8) {
            for (arm, config) in classifier::arms(smoke) {
                let config = CellConfig::Classifier(config);
                plan.cells.push(Cell::new(self.id(), &arm, seed, &config)?);
            }
            for (arm, config) in policy::arms(smoke) {
                let needs = config.needs();
                let cell = Cell::new(self.id(), &arm, seed, &CellConfig::Policy(config))?;
                plan.cells.push(cell.needing(needs));
            }
            for (arm, config) in facts::arms(smoke) {
                let needs = config.needs();
                let cell = Cell::new(self.id(), &arm, seed, &CellConfig::Facts(config))?;
                plan.cells.push(cell.needing(needs));
            }
            for (arm, config) in language::arms(smoke) {
                plan.cells.push(Cell::new(self.id(), &arm, seed, &CellConfig::Language(config))?);
            }
            for (arm, config) in collapse::arms(smoke) {
                plan.cells.push(Cell::new(self.id(), &arm, seed, &CellConfig::Collapse(config))?);
            }
        }
        // Regressions cost nothing.
        plan.thin(self, SHOWN_SEEDS, |arm| !arm.starts_with("regression-"))?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = workbench.streams.child("tasks that no pilot saw", &[]);
        // Drawn anew after controls, step sizes and seeds of these parts were changed in view of their results.
        let anew = workbench.streams.child("tasks drawn after the fourth run", &[]);
        let metrics = match cell.config()? {
            CellConfig::Policy(config) => return policy::run(config, workbench, &anew),
            CellConfig::Facts(config) => return facts::run(config, workbench, &anew),
            CellConfig::Classifier(config) => classifier::run(&config, &streams),
            CellConfig::Collapse(config) => collapse::run(&config, &streams),
            CellConfig::Language(config) => {
                let device = device(workbench.device)?.autodiff();
                language::run(&config, &device, &streams)
            }
        };
        Ok(metrics?.into())
    }

    fn contrasts(&self) -> Vec<Contrast> {
        [
            classifier::contrasts(),
            collapse::contrasts(),
            language::contrasts(),
            policy::contrasts(),
            facts::contrasts(),
        ]
        .concat()
    }

    fn controls(&self) -> Vec<Control> {
        [
            classifier::controls(),
            collapse::controls(),
            language::controls(),
            policy::controls(),
            facts::controls(),
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
            "A network of 2,300 weights and ten answers to a prompt, instead of language models on mathematics: answers are sampled without \
             reasoning, so that what is measured is the loop and not what it is a loop of.",
            "The published early rise under majority rewards is 5 to 10 points; a base fitted to 300 labels agrees with itself about as often as it is \
             right, and has little to gain from its majority.",
            "KL to the base is exact, over all answers, not an estimate from samples.",
            "The published loops that collapse are of pretrained models on natural text; here they are a regression, which has a formula and no text, and a \
             decoder of 7,300 weights on text from a source of 64 symbols, whose every probability is known.",
            "The decoder trains new weights in every round and samples without a prompt; OPT-125m was fine-tuned, and prompted with real text.",
            "Judges, users and tools are simulated at a stated accuracy, correlation, share or coverage; what each imported is counted.",
        ]
    }
}
