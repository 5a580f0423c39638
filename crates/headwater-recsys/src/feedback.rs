//! The loop: rounds of serving, logging and training on what was logged.

use std::collections::HashSet;

use headwater_core::{Check, ConfigError, Streams, require};
use headwater_evaluation::baselines::pearson;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::RecsysError;
use crate::exploration::{Exploration, ExplorationConfig, check_temperature};
use crate::log::{Head, Log};
use crate::metrics;
use crate::ranker::Ranker;
use crate::simulator::{Ranking, Served, Simulator};
use crate::world::{Items, World};

/// User pairs that homogeneity is averaged over, as many as Chaney et al. (2018) draw.
const PAIRS: usize = 800;

/// Settings of a loop, unchecked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoopConfig {
    /// Rounds, the first included, which the legacy prior serves; 2 to 1,000,000.
    pub rounds: usize,
    /// Rounds of the log that are kept to train on, at least 1.
    pub window: usize,
    /// Temperature of the Gumbel noise on the legacy prior, whose own spread is 1; as
    /// [`ExplorationConfig::temperature`].
    pub legacy_temperature: f64,
    /// Exploration in all rounds but the first.
    pub exploration: ExplorationConfig,
}

impl Default for LoopConfig {
    /// 6 rounds, trained on the last 2, the first served with noise of half the prior's scale.
    fn default() -> Self {
        Self {
            rounds: 6,
            window: 2,
            legacy_temperature: 0.5,
            exploration: ExplorationConfig::default(),
        }
    }
}

/// A checked [`LoopConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct LoopSettings {
    config: LoopConfig,
    legacy: Exploration,
    exploration: Exploration,
}

impl Check for LoopConfig {
    type Checked = LoopSettings;

    fn check(self) -> Result<LoopSettings, ConfigError> {
        const NAME: &str = "LoopConfig";
        let holds = (2..=1_000_000).contains(&self.rounds);
        require(holds, NAME, "rounds", self.rounds, "2 to 1000000")?;
        require(self.window >= 1, NAME, "window", self.window, "1 or more")?;
        let temperature = self.legacy_temperature;
        check_temperature(NAME, "legacy_temperature", temperature)?;
        let legacy = Exploration::noise(temperature);
        Ok(LoopSettings { legacy, exploration: self.exploration.check()?, config: self })
    }
}

/// Who serves all rounds but the first.
pub enum Arm<'a> {
    /// A ranker that is trained after every round on the log of its own decisions.
    Retrained(&'a mut dyn Ranker),
    /// A ranker that is trained once, after the first round: what does not change here is no feedback.
    Frozen(&'a mut dyn Ranker),
    /// A ranker that is trained after every round on what the legacy prior would have been told by the same sessions, served as in
    /// the first round: as much training as [`Arm::Retrained`] on as many sessions, without a loop. What the two differ in is
    /// feedback.
    OpenLoop(&'a mut dyn Ranker),
    /// Chance.
    Random,
    /// The truth.
    Oracle(Head),
    /// The legacy prior, as in the first round but without noise other than the exploration's.
    Legacy,
}

/// A round's metrics. Exposure is the sum of examination probabilities over the round's impressions.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundMetrics {
    /// The round, from 0.
    pub round: u64,
    /// Utility of the round in clicks and, where there are any, likes.
    pub served: Served,
    /// Regret in clicks of this round and all before it.
    pub cumulative_regret: f64,
    /// Gini coefficient of exposure over all items, in [0, 1 - 1/n].
    pub gini: f64,
    /// Share of items that were shown.
    pub coverage: f64,
    /// exp of the exposure entropy: items that an even exposure would take.
    pub effective_items: f64,
    /// Correlation of exposure with the legacy prior, over the items that were there at the start; none where
    /// exposure does not vary.
    pub legacy_correlation: Option<f64>,
    /// Kendall's tau between the items most exposed in this round and in the round before, as many as there are
    /// slots; none in the first round, and where there is but one item to compare.
    pub kendall_tau: Option<f64>,
    /// Mean Jaccard index of what two users have clicked so far, over pairs of users that are the same in
    /// every arm; none without lasting users.
    pub homogeneity: Option<f64>,
}

/// A round that was served, before anything is trained on it.
#[derive(Debug)]
pub struct Round<'a> {
    /// Its metrics.
    pub metrics: &'a RoundMetrics,
    /// The log, of this round and those before it that are kept.
    pub log: &'a Log,
    /// All items, with what is hidden of them.
    pub items: &'a Items,
}

/// Runs the loop, calls `observe` after each round, and gives the metrics of all.
///
/// Arms that are run in the same world from the same streams are paired, see [`Simulator`]; the first round is the
/// same in all of them.
///
/// # Errors
/// Those of [`Simulator::serve`], of the ranker and of `observe`.
pub fn run(
    world: &World,
    streams: &Streams,
    mut arm: Arm<'_>,
    settings: &LoopSettings,
    mut observe: impl FnMut(&Round<'_>) -> Result<(), RecsysError>,
) -> Result<Vec<RoundMetrics>, RecsysError> {
    let mut simulator = Simulator::new(world, streams);
    let mut log = simulator.log();
    // The same sessions under the legacy prior, where that is what is learnt from.
    let mut beside = match arm {
        Arm::OpenLoop(_) => Some((Simulator::new(world, streams), simulator.log())),
        _ => None,
    };
    let mut history = History::new(world, streams);
    let mut rounds = Vec::new();
    for round in 0..settings.config.rounds as u64 {
        log.keep_last_rounds(settings.config.window - 1);
        let (ranking, exploration) = match &mut arm {
            _ if round == 0 => (Ranking::Legacy, &settings.legacy),
            Arm::Retrained(ranker) | Arm::Frozen(ranker) | Arm::OpenLoop(ranker) => {
                (Ranking::Ranker(&mut **ranker), &settings.exploration)
            }
            Arm::Random => (Ranking::Random, &settings.exploration),
            Arm::Oracle(head) => (Ranking::Oracle(*head), &settings.exploration),
            Arm::Legacy => (Ranking::Legacy, &settings.exploration),
        };
        let served = simulator.serve(round, ranking, exploration, &mut log)?;
        let items = simulator.items();
        let metrics = history.metrics(round, served, &log, items)?;
        observe(&Round { metrics: &metrics, log: &log, items })?;
        rounds.push(metrics);
        match &mut arm {
            Arm::Retrained(ranker) => ranker.train(items.catalogue(), &log)?,
            Arm::Frozen(ranker) if round == 0 => ranker.train(items.catalogue(), &log)?,
            Arm::OpenLoop(ranker) => {
                let (simulator, log) = beside.as_mut().expect("made for this arm");
                log.keep_last_rounds(settings.config.window - 1);
                simulator.serve(round, Ranking::Legacy, &settings.legacy, log)?;
                ranker.train(simulator.items().catalogue(), log)?;
            }
            Arm::Frozen(_) | Arm::Random | Arm::Oracle(_) | Arm::Legacy => {}
        }
    }
    Ok(rounds)
}

/// What metrics need to know of earlier rounds.
struct History {
    initial_items: usize,
    slots: usize,
    regret: f64,
    most_exposed: Option<Vec<usize>>,
    /// Items clicked by each lasting user, and the pairs of users that are compared.
    clicked: Vec<HashSet<u32>>,
    pairs: Vec<(usize, usize)>,
}

impl History {
    fn new(world: &World, streams: &Streams) -> Self {
        let users = world.config().users.unwrap_or(0);
        let mut rng = streams.stream("user pairs", &[]);
        let mut pair = || {
            let first = rng.random_range(0..users as u64) as usize;
            // Any of the others.
            let second = rng.random_range(1..users as u64) as usize;
            (first, (first + second) % users)
        };
        Self {
            initial_items: world.config().items,
            slots: world.config().slots,
            regret: 0.0,
            most_exposed: None,
            clicked: vec![HashSet::new(); users],
            pairs: if users < 2 { Vec::new() } else { (0..PAIRS).map(|_| pair()).collect() },
        }
    }

    fn metrics(
        &mut self,
        round: u64,
        served: Served,
        log: &Log,
        items: &Items,
    ) -> Result<RoundMetrics, RecsysError> {
        let rows = log.rows_of(round);
        let shown = &log.items()[rows.clone()];
        let weights = &log.examinations()[rows.clone()];
        let exposure = metrics::exposure(shown, Some(weights), items.len())?;
        self.regret += served.clicks.regret();
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by(|&a, &b| exposure[b].total_cmp(&exposure[a]));
        order.truncate(self.slots);
        let kendall_tau = match &self.most_exposed {
            Some(before) => metrics::kendall_tau(before, &order).ok(),
            None => None,
        };
        self.most_exposed = Some(order);
        if !self.pairs.is_empty() {
            for row in rows.filter(|&row| log.clicks()[row] > 0.0) {
                let user = log.users()[log.sessions()[row] as usize];
                self.clicked[user as usize].insert(log.items()[row]);
            }
        }
        let homogeneity = match self.pairs.is_empty() {
            true => None,
            false => Some(metrics::mean_jaccard(&self.clicked, &self.pairs)?),
        };
        let legacy: Vec<f64> =
            items.legacy()[..self.initial_items].iter().map(|&legacy| f64::from(legacy)).collect();
        Ok(RoundMetrics {
            round,
            served,
            cumulative_regret: self.regret,
            gini: metrics::gini(&exposure)?,
            coverage: metrics::coverage(shown, items.len())?,
            effective_items: metrics::effective_items(&exposure)?,
            legacy_correlation: pearson(&exposure[..self.initial_items], &legacy).ok(),
            kendall_tau,
            homogeneity,
        })
    }
}
