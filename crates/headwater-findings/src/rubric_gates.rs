//! Finding `rubric-gates`: a rubric as a gate on groups of rollouts resists hacking, a rubric as dense reward
//! does not.
//!
//! Claim (direct reasoning optimisation, DRO, arXiv 2506.13351): rank a group's chains of thought by how sure a
//! frozen model is of the reference after them (R3), and let a rubric decide only whether the group may give
//! a gradient. An exploit of the rubric then earns nothing within a group. And R3 works because it weighs the
//! few reference tokens that reflect the reasoning; an average over all of them is diluted by the rest.
//!
//! Two tasks. *Budgeted reports*: read values, then state the requested ones, in 26 tokens; the judge of the rubric
//! is fallible and falls for one boilerplate token; R3 cannot see the budget. Arms differ in what they make
//! of rubric and R3, and fork one base per seed; they are compared by steps and by groups used. *Diluted
//! references*: T fillers and two results; arms differ in how a reward is read off the reference.
//!
//! Controls: the same dense arm under a judge that does not fall for the boilerplate token, which must then stay
//! as rare as it was; and the rubric's scores permuted over the batch, which must not move what they do not
//! speak of.

use headwater_core::Check;
use headwater_nn::{AdamWConfig, Checkpoint, Decoder, DecoderConfig, SamplingConfig};
use headwater_optimizers::TrainerConfig;
use headwater_protocol::{
    Cell, CellError, Contrast, Control, Figure, Finding, Metrics, Outcome, Plan, Preset,
    ProtocolError, Records, Settings, Table, Workbench,
};
use headwater_rewards::{GroupGateConfig, ReferenceRewardConfig, SpreadFilterConfig};
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::seeds::SHOWN_SEEDS;
use crate::tasks::{budgeted_report, diluted_reference};

mod contrasts;
mod dilution;
mod judge;
mod report;
mod reports;

use dilution::{DilutionArm, LENGTHS, OMEGA, READINGS, Reading};
use judge::{Asks, Signal};
use reports::ReportArm;

/// The finding.
#[derive(Debug, Clone, Copy)]
pub struct RubricGates;

/// What decides a cell's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
enum CellConfig {
    /// Supervised training on reports: by authors who read much, so that reading is learnt, then by mediocre ones.
    Base {
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        authors: Vec<(budgeted_report::Author, usize)>,
        batch: usize,
    },
    /// The base taught by an author who hardly reads.
    Poor { adamw: AdamWConfig, author: budgeted_report::Author, steps: usize, batch: usize },
    /// Policy gradient from the arm `from`; the base is R3's frozen model.
    Reports { from: String, arm: Box<ReportArm> },
    /// Supervised training on diluted references, and what every reward tells of its chains of thought.
    DilutionBase {
        decoder: DecoderConfig,
        adamw: AdamWConfig,
        author: diluted_reference::Author,
        steps: usize,
        batch: usize,
        test: (usize, usize),
    },
    /// Policy gradient from that base.
    Dilution(Box<DilutionArm>),
}

/// Looks at an arm on reports while it is trained. Its steps are a multiple.
const LOOKS: usize = 12;
/// Optimiser steps of an arm on diluted references.
const DILUTED_STEPS: usize = 60;

/// Of the items, those that a completion among the best by R3 must meet, and a masked one: two of three.
const TWO_OF_THREE: f64 = 0.66;

/// Optimiser steps of an arm on reports; of one that only shows a limit or a further weight; from the poor base.
const STEPS: usize = 156;
const FEW_STEPS: usize = 84;
const POOR_STEPS: usize = 48;

/// Arms on reports from the mediocre base: signal, what the rubric asks, learning rate relative to the others', steps.
fn report_arms() -> Vec<(&'static str, Signal, Asks, f64, usize)> {
    let gate = Signal::Gate(GroupGateConfig {
        coverage: 2,
        top_fraction: 0.25,
        consistency: TWO_OF_THREE,
    });
    let fooled = Asks::StatedOrMagic;
    vec![
        ("rubric", Signal::Rubric, fooled, 1.0, FEW_STEPS),
        ("r3", Signal::R3, fooled, 1.0, STEPS),
        ("r3-slow", Signal::R3, fooled, 0.25, STEPS),
        ("additive-0.3", Signal::Additive(0.3), fooled, 1.0, STEPS),
        ("additive-1", Signal::Additive(1.0), fooled, 1.0, STEPS),
        ("additive-3", Signal::Additive(3.0), fooled, 1.0, FEW_STEPS),
        ("gate", gate, fooled, 1.0, STEPS),
        ("mask", Signal::Mask(TWO_OF_THREE), fooled, 1.0, FEW_STEPS),
        ("gate-silent", gate, Asks::Read, 1.0, STEPS),
        ("additive-1-unfooled", Signal::Additive(1.0), Asks::Stated, 1.0, STEPS),
        ("rubric-permuted", Signal::PermutedRubric, fooled, 1.0, STEPS),
    ]
}

/// Readings that are trained on, by arm: at the shortest and the longest reference, and more of R3's omega at the
/// longest.
fn dilution_arms() -> Vec<(String, Reading, usize)> {
    let mut arms = Vec::new();
    for fillers in [LENGTHS[0], LENGTHS[LENGTHS.len() - 1]] {
        arms.extend(READINGS.map(|(name, reading)| (trained(name, fillers), reading, fillers)));
    }
    let longest = LENGTHS[LENGTHS.len() - 1];
    for omega in TRAINED_OMEGAS.into_iter().filter(|omega| *omega != OMEGA) {
        arms.push((with_omega(omega), Reading::R3 { omega }, longest));
    }
    arms
}

/// The arm trained by a reading on references of this many fillers.
fn trained(reading: &str, fillers: usize) -> String {
    format!("{}-{fillers}", reading.replace(' ', "-"))
}

/// Omegas that R3 is trained with on the longest references.
const TRAINED_OMEGAS: [f64; 3] = [0.0, OMEGA, 8.0];

/// The arm trained by R3 on the longest references, with dynamic filtering.
const FILTERED: &str = "R3-64-filtered";

/// The arm trained by R3 at this omega.
fn with_omega(omega: f64) -> String {
    if omega == OMEGA { "R3-64".into() } else { format!("R3-64-omega-{omega}") }
}

impl Finding for RubricGates {
    fn id(&self) -> &'static str {
        "rubric-gates"
    }

    fn claim(&self) -> &'static str {
        "A rubric as a gate on rollout groups resists hacking, a rubric as dense reward does not."
    }

    fn source(&self) -> &'static str {
        "Xu et al. 2025, Direct Reasoning Optimization, arXiv 2506.13351 (R3: v1; gates: v2); Reward Hacking in \
         Rubric-Based RL, arXiv 2605.12474 (exploitation rate)"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let smoke = settings.preset == Preset::Smoke;
        let decoder = DecoderConfig {
            layers: 2,
            heads: 4,
            key_value_heads: 4,
            rotary_base: 100.0,
            ..DecoderConfig::default()
        };
        let mediocre = budgeted_report::Author {
            read_flagged: 0.5,
            read_other: 0.1,
            state_read: 0.9,
            bluff: 0.2,
            magic: 0.08,
        };
        let thorough = budgeted_report::Author { read_flagged: 0.9, read_other: 0.9, ..mediocre };
        let poor = budgeted_report::Author {
            read_flagged: 0.1,
            read_other: 0.05,
            state_read: 0.7,
            bluff: 0.05,
            ..mediocre
        };
        let supervised = AdamWConfig { learning_rate: 5e-3, ..AdamWConfig::default() };
        let base = CellConfig::Base {
            decoder: DecoderConfig {
                vocabulary: budgeted_report::vocabulary().size(),
                width: 48,
                hidden: 128,
                // A demonstration may read and state all keys.
                context: budgeted_report::PROMPT_TOKENS + budgeted_report::MOST_TOKENS,
                ..decoder.clone()
            },
            adamw: supervised.clone(),
            authors: if smoke {
                vec![(thorough, 3), (mediocre, 3)]
            } else {
                vec![(thorough, 420), (mediocre, 450)]
            },
            batch: 32,
        };
        let poor = CellConfig::Poor {
            adamw: AdamWConfig { learning_rate: 1e-3, ..AdamWConfig::default() },
            author: poor,
            steps: if smoke { 3 } else { 80 },
            batch: 48,
        };
        let reports = |signal, asks, rate: f64, steps: usize| ReportArm {
            signal,
            asks,
            reference_reward: ReferenceRewardConfig::r3(OMEGA),
            resample: matches!(signal, Signal::Gate(_)),
            trainer: TrainerConfig {
                prompts_per_step: if smoke { 1 } else { 3 },
                group_size: 16,
                warmup_steps: 10,
                generation_batches: 3,
                sampling: SamplingConfig {
                    max_new_tokens: budgeted_report::BUDGET,
                    ..SamplingConfig::default()
                },
                adamw: AdamWConfig {
                    learning_rate: rate * 1.2e-4,
                    weight_decay: 0.0,
                    ..AdamWConfig::default()
                },
                ..TrainerConfig::default()
            },
            steps: if smoke { 5 } else { steps },
            looks: if smoke { 5 } else { LOOKS },
            test: if smoke { 4 } else { 64 },
        };
        let dilution_base = CellConfig::DilutionBase {
            decoder: DecoderConfig {
                vocabulary: diluted_reference::vocabulary().size(),
                width: 32,
                hidden: 96,
                context: diluted_reference::PROMPT_TOKENS
                    + diluted_reference::THOUGHT_TOKENS
                    + diluted_reference::answer_tokens(LENGTHS[LENGTHS.len() - 1]),
                rotary_base: 10_000.0,
                ..decoder
            },
            adamw: supervised,
            author: diluted_reference::Author { slip: 0.35, skip: 0.2, kept_style: 0.5 },
            steps: if smoke { 6 } else { 1000 },
            batch: 16,
            test: if smoke { (4, 16) } else { (96, 16) },
        };
        let diluted = |reading, fillers, filter| {
            CellConfig::Dilution(Box::new(DilutionArm {
                reading,
                fillers,
                filter,
                trainer: TrainerConfig {
                    prompts_per_step: if smoke { 1 } else { 4 },
                    group_size: 16,
                    warmup_steps: 5,
                    sampling: dilution::sampling(),
                    adamw: AdamWConfig {
                        learning_rate: 5e-4,
                        weight_decay: 0.0,
                        ..AdamWConfig::default()
                    },
                    ..TrainerConfig::default()
                },
                steps: if smoke { 3 } else { DILUTED_STEPS },
            }))
        };
        let mut plan = Plan::default();
        for seed in settings.seed_range(8) {
            let mut add = |arm: &str, config: &CellConfig, needs: &[&str]| {
                let cell = Cell::new(self.id(), arm, seed, config)?;
                plan.cells.push(cell.needing(needs));
                Ok::<(), ProtocolError>(())
            };
            add("base", &base, &[])?;
            add("base-poor", &poor, &["base"])?;
            add("dilution-base", &dilution_base, &[])?;
            for (name, signal, asks, rate, steps) in report_arms() {
                let arm = Box::new(reports(signal, asks, rate, steps));
                add(name, &CellConfig::Reports { from: "base".into(), arm }, &["base"])?;
            }
            for (name, like) in [("poor-gate", "gate"), ("poor-additive-1", "additive-1")] {
                for (_, signal, asks, rate, _) in
                    report_arms().into_iter().filter(|(arm, ..)| *arm == like)
                {
                    let arm = Box::new(reports(signal, asks, rate, POOR_STEPS));
                    let config = CellConfig::Reports { from: "base-poor".into(), arm };
                    add(name, &config, &["base", "base-poor"])?;
                }
            }
            for (name, reading, fillers) in dilution_arms() {
                add(&name, &diluted(reading, fillers, None), &["dilution-base"])?;
            }
            let filter = SpreadFilterConfig { quantile: 0.3, window: 32, refresh: 8 };
            let filtered = diluted(Reading::R3 { omega: OMEGA }, LENGTHS[2], Some(filter));
            add(FILTERED, &filtered, &["dilution-base"])?;
        }
        plan.thin(self, SHOWN_SEEDS, |_| true)?;
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        let streams = &workbench.streams.child("second reported run", &[]);
        let dilution_streams = &streams.child("dilution", &[]);
        let device = device(workbench.device)?.autodiff();
        let checkpoint = |arm: &str| -> Result<Checkpoint, CellError> {
            Ok(Checkpoint::from_bytes(workbench.artifact(arm)?)?)
        };
        match cell.config()? {
            CellConfig::Base { decoder, adamw, authors, batch } => {
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                let (base, losses) = reports::imitate(start, &authors, adamw, batch, streams)?;
                let metrics = Metrics::new().series("loss", losses);
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&base).to_bytes()))
            }
            CellConfig::Poor { adamw, author, steps, batch } => {
                let start = checkpoint("base")?.decoder(&device)?;
                let streams = streams.child("poor", &[]);
                let authors = [(author, steps)];
                let (poor, losses) = reports::imitate(start, &authors, adamw, batch, &streams)?;
                let metrics = Metrics::new().series("loss", losses);
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&poor).to_bytes()))
            }
            CellConfig::Reports { from, arm } => {
                let (from, base) = (checkpoint(&from)?, checkpoint("base")?);
                Ok(reports::train(&arm, &from, &base, streams, &device)?.into())
            }
            CellConfig::DilutionBase { decoder, adamw, author, steps, batch, test } => {
                let streams = dilution_streams;
                let mut weights = streams.stream("weights", &[]);
                let start = Decoder::initialise(&decoder.check()?, &mut weights, &device);
                let size = (steps, batch);
                let (base, losses) = dilution::imitate(start, &author, adamw, size, streams)?;
                let metrics = Metrics::new().series("loss", losses);
                let metrics = dilution::measure(&base, test, streams, metrics)?;
                Ok(Outcome::with_artifact(metrics, Checkpoint::of(&base).to_bytes()))
            }
            CellConfig::Dilution(arm) => {
                let base = checkpoint("dilution-base")?;
                Ok(dilution::train(&arm, &base, dilution_streams, &device)?.into())
            }
        }
    }

    fn contrasts(&self) -> Vec<Contrast> {
        contrasts::contrasts()
    }

    fn controls(&self) -> Vec<Control> {
        contrasts::controls()
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        report::figures(records)
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        report::tables(records)
    }

    fn differs(&self) -> &'static [&'static str] {
        &[
            "Decoders of 26,000 to 60,000 parameters trained here on generated tasks, instead of language models of 7 to \
             14 billion on revisions, contracts and medical questions: this shows mechanisms, not that gains transfer.",
            "Of DRO, version 1 was read in full; versions 2 and 3, which add the gates and R3 by probability, are known \
             from their abstracts and a secondary summary. Values of mu, rho and nu, whether rejected groups are resampled, \
             and how spreads are scaled before the softmax were not found: chosen here are 2 of 16, a quarter, two of three \
             items, resampling up to three batches, and standardised spreads.",
            "The published rubric is written and judged by the reference policy; here the items are the requested keys, and \
             the judge is a rule that falls for one token.",
            "No KL penalty (published 0.001), no length term, variance filter in one arm only, and completions cut off at the budget are \
             not masked: that they leave no answer is the constraint R3 cannot see.",
            "In the dilution task chains of thought are sampled without an answer: no reward there reads one.",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arm_has_its_own_name() {
        let mut names: Vec<String> =
            report_arms().into_iter().map(|(name, ..)| name.to_owned()).collect();
        names.extend(dilution_arms().into_iter().map(|(name, ..)| name));
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(names.contains(&with_omega(OMEGA)) && names.contains(&with_omega(8.0)));
    }
}
