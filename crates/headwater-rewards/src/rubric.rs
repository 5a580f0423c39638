//! Rubrics: as a dense reward, as a gate on each completion, and as a gate on a whole group.
//!
//! The difference matters. A dense rubric score pays for every item a completion seems to meet, so
//! an optimiser finds the cheapest way to *seem* to meet it. A gate pays nothing for the rubric: it
//! decides whether another reward counts. The gate on the group goes furthest: accepted groups are
//! ranked by the other reward alone, so meeting an item by a trick earns no credit within the group
//! (direct reasoning optimisation, DRO, in its constrained form).

use headwater_core::{Check, ConfigError, Sample, Score, require};
use serde::{Deserialize, Serialize};

use crate::error::RewardError;
use crate::mixture::{require_substitute, resolve};
use crate::reward::{checked_score, reaches, shared_invariances};
use crate::{Invariance, Range, Reward, WhenAbstained};

/// Whether an item asks for something or forbids it. A judge that is fooled credits what is not there, so the
/// two kinds drift apart under optimisation: presence items rise while absence items do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Met when the reward reaches `pass_at`: the completion shows something.
    Asked,
    /// Met when the reward stays below `pass_at`: the completion is free of something.
    Forbidden,
}

/// One item of a [`Rubric`]: met when its reward reaches `pass_at` (or misses it by rounding alone,
/// 1e-12), or, of what is forbidden, when it does not.
pub struct Criterion {
    presence: Presence,
    reward: Box<dyn Reward>,
    weight: f64,
    pass_at: f64,
    when_abstained: WhenAbstained,
}

impl Criterion {
    /// An item with this weight (finite, at least 0), met when `reward` scores at least `pass_at`
    /// (finite). The rubric abstains when the reward does.
    ///
    /// Weights of "Rubrics as Rewards" (arXiv 2507.17746): essential 1, important 0.7, optional
    /// 0.3, and 0.8 for a pitfall: [`Criterion::forbidding`].
    #[must_use]
    pub fn new(weight: f64, pass_at: f64, reward: impl Reward + 'static) -> Self {
        Self {
            presence: Presence::Asked,
            reward: Box::new(reward),
            weight,
            pass_at,
            when_abstained: WhenAbstained::Abstain,
        }
    }

    /// An item that forbids what `reward` detects: met when it scores below `pass_at`.
    #[must_use]
    pub fn forbidding(weight: f64, pass_at: f64, reward: impl Reward + 'static) -> Self {
        Self { presence: Presence::Forbidden, ..Self::new(weight, pass_at, reward) }
    }

    /// The same item, its reward counted as `value` when it abstains.
    #[must_use]
    pub fn or_when_abstained(self, value: f64) -> Self {
        Self { when_abstained: WhenAbstained::Substitute(value), ..self }
    }
}

/// A weighted list of items. As a reward it is the dense score `sum(w_k m_k) / sum(w_k)` in [0, 1],
/// `m_k` = 1 for an item that is met (the explicit aggregation of "Rubrics as Rewards", arXiv
/// 2507.17746).
pub struct Rubric {
    name: String,
    criteria: Vec<Criterion>,
    total_weight: f64,
    invariances: Vec<Invariance>,
}

impl Rubric {
    /// A rubric of at least one item with a positive weight.
    ///
    /// # Errors
    /// No positive weight, a weight that is negative, not finite or so large that their sum is not,
    /// a `pass_at` that is not finite, or a substitute outside its part's range.
    pub fn new(name: impl Into<String>, criteria: Vec<Criterion>) -> Result<Self, RewardError> {
        let mut total_weight = 0.0;
        for (index, criterion) in criteria.iter().enumerate() {
            let part = |field, value: f64, allowed| RewardError::Part {
                composite: "Rubric",
                index,
                part: criterion.reward.name().to_owned(),
                field,
                value: value.to_string(),
                allowed,
            };
            if !(criterion.weight.is_finite() && criterion.weight >= 0.0) {
                return Err(part("weight", criterion.weight, "a finite number, at least 0"));
            }
            if !criterion.pass_at.is_finite() {
                return Err(part("pass_at", criterion.pass_at, "a finite number"));
            }
            require_substitute("Rubric", index, &*criterion.reward, criterion.when_abstained)?;
            total_weight += criterion.weight;
            if total_weight.is_infinite() {
                return Err(part("weight", criterion.weight, "a number with a finite sum"));
            }
        }
        if total_weight <= 0.0 {
            return Err(RewardError::NoParts { composite: "Rubric" });
        }
        let invariances = shared_invariances(criteria.iter().map(|item| &*item.reward));
        Ok(Self { name: name.into(), criteria, total_weight, invariances })
    }

    /// Which items `sample` meets, in order.
    ///
    /// # Errors
    /// The [`Score::Failed`] of the first item that failed, else the [`Score::Abstained`] of the
    /// first that abstained without a substitute: a rubric judged in part says nothing about the
    /// whole.
    pub fn judge(&self, sample: Sample<'_>) -> Result<Vec<bool>, Score> {
        let mut met = Vec::with_capacity(self.criteria.len());
        let mut abstained = None;
        for criterion in &self.criteria {
            match resolve(&*criterion.reward, criterion.when_abstained, sample) {
                Score::Scored(value) => {
                    let asked = criterion.presence == Presence::Asked;
                    met.push(reaches(value, criterion.pass_at) == asked);
                }
                Score::Abstained(reason) => abstained = abstained.or(Some(reason)),
                Score::Failed(reason) => return Err(Score::Failed(reason)),
            }
        }
        abstained.map_or(Ok(met), |reason| Err(Score::Abstained(reason)))
    }

    /// Weight and kind of every item, in order.
    pub fn items(&self) -> impl Iterator<Item = (f64, Presence)> + '_ {
        self.criteria.iter().map(|item| (item.weight, item.presence))
    }

    /// The dense score of judged items (see [`Rubric::judge`]), apart by kind.
    ///
    /// # Errors
    /// Not as many judgements as items.
    pub fn met_by_kind(&self, met: &[bool]) -> Result<MetByKind, RewardError> {
        if met.len() != self.criteria.len() {
            let what = "judged items".to_owned();
            let expected = self.criteria.len();
            return Err(RewardError::Count { what, found: met.len(), expected });
        }
        let of = |kind: Presence| {
            let items = || self.criteria.iter().zip(met).filter(|(item, _)| item.presence == kind);
            let total: f64 = items().map(|(item, _)| item.weight).sum();
            let met = items().filter(|(_, met)| **met).map(|(item, _)| item.weight);
            // Not `sum`, which is -0 of nothing.
            (total > 0.0).then(|| met.fold(0.0, |sum, weight| sum + weight) / total)
        };
        Ok(MetByKind { asked: of(Presence::Asked), forbidden: of(Presence::Forbidden) })
    }

    fn fraction(&self, met: &[bool]) -> f64 {
        let items = self.criteria.iter().zip(met);
        let sum: f64 = items.map(|(item, met)| if *met { item.weight } else { 0.0 }).sum();
        sum / self.total_weight
    }
}

/// Share of the weight that is met, in [0, 1], of either kind of item; `None` of a kind without weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetByKind {
    /// Of what is asked for.
    pub asked: Option<f64>,
    /// Of what is forbidden: met means absent.
    pub forbidden: Option<f64>,
}

impl Reward for Rubric {
    fn name(&self) -> &str {
        &self.name
    }

    fn range(&self) -> Range {
        Range::UNIT
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        match self.judge(sample) {
            Ok(met) => Score::finite(self.fraction(&met)),
            Err(score) => score,
        }
    }
}

/// What opens a [`RubricGate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// Every item is met, those of weight 0 included.
    All,
    /// The dense score reaches this number in (0, 1].
    WeightFraction(f64),
}

/// What a closed [`RubricGate`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenClosed {
    /// The lowest value of the inner reward's range: a veto.
    Lowest,
    /// An abstention: the completion is left out instead of being punished.
    Abstain,
}

/// The inner reward where the rubric is met, [`WhenClosed`] elsewhere. Passing earns nothing by
/// itself.
///
/// The inner reward is not asked about a completion that does not pass.
pub struct RubricGate {
    rubric: Rubric,
    requirement: Requirement,
    when_closed: WhenClosed,
    inner: Box<dyn Reward>,
    invariances: Vec<Invariance>,
}

impl RubricGate {
    /// A gate in front of `inner`.
    ///
    /// # Errors
    /// A fraction outside (0, 1]; [`WhenClosed::Lowest`] for an inner reward whose range has no
    /// finite lowest value.
    pub fn new(
        rubric: Rubric,
        requirement: Requirement,
        when_closed: WhenClosed,
        inner: impl Reward + 'static,
    ) -> Result<Self, RewardError> {
        if let Requirement::WeightFraction(fraction) = requirement {
            let holds = fraction > 0.0 && fraction <= 1.0;
            require(holds, "RubricGate", "requirement", fraction, "a fraction in (0, 1]")?;
        }
        if when_closed == WhenClosed::Lowest && !inner.range().low().is_finite() {
            return Err(RewardError::Part {
                composite: "RubricGate",
                index: 0,
                part: inner.name().to_owned(),
                field: "range",
                value: inner.range().to_string(),
                allowed: "a range with a finite lowest value",
            });
        }
        let both: [&dyn Reward; 2] = [&rubric, &inner];
        let invariances = shared_invariances(both.into_iter());
        Ok(Self { rubric, requirement, when_closed, inner: Box::new(inner), invariances })
    }
}

impl Reward for RubricGate {
    fn name(&self) -> &str {
        "rubric_gate"
    }

    fn range(&self) -> Range {
        self.inner.range()
    }

    fn invariances(&self) -> &[Invariance] {
        &self.invariances
    }

    fn score(&self, sample: Sample<'_>) -> Score {
        let met = match self.rubric.judge(sample) {
            Ok(met) => met,
            Err(score) => return score,
        };
        let open = match self.requirement {
            Requirement::All => met.iter().all(|met| *met),
            Requirement::WeightFraction(fraction) => reaches(self.rubric.fraction(&met), fraction),
        };
        match (open, self.when_closed) {
            (true, _) => checked_score(&*self.inner, sample),
            (false, WhenClosed::Lowest) => Score::finite(self.inner.range().low()),
            (false, WhenClosed::Abstain) => {
                let name = &self.rubric.name;
                Score::Abstained(format!("the completion does not pass the rubric `{name}`"))
            }
        }
    }
}

/// Config of [`GroupGate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupGateConfig {
    /// mu: how many completions of the group must meet each item, at least 1.
    pub coverage: usize,
    /// rho: which fraction of the group, best scores first, must be consistent, in (0, 1]; rounded
    /// up to whole completions.
    pub top_fraction: f64,
    /// nu: which fraction of the items each of those must meet, in [0, 1]; items count equally.
    pub consistency: f64,
}

/// Decides whether a whole group may produce a gradient (DRO, constrained form).
///
/// *Coverage*: every item is met by at least mu completions. *Consistency*: each of the top rho of
/// the group by score meets at least nu of the items. The paper's values of mu, rho and nu are not
/// published, so there is no default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupGate {
    config: GroupGateConfig,
}

/// What a [`GroupGate`] decided, with the first reason to reject.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GroupDecision {
    /// The group may produce a gradient.
    Accepted,
    /// Too few completions meet this item.
    Uncovered {
        /// Index of the item.
        item: usize,
        /// How many completions meet it.
        met_by: usize,
    },
    /// A completion among the best by score meets too few items.
    Inconsistent {
        /// Index of the completion in the group.
        completion: usize,
        /// The fraction of items it meets.
        met: f64,
    },
}

impl Check for GroupGateConfig {
    type Checked = GroupGate;

    fn check(self) -> Result<GroupGate, ConfigError> {
        const CONFIG: &str = "GroupGateConfig";
        require(self.coverage > 0, CONFIG, "coverage", self.coverage, "at least 1")?;
        let top = self.top_fraction > 0.0 && self.top_fraction <= 1.0;
        require(top, CONFIG, "top_fraction", self.top_fraction, "a number in (0, 1]")?;
        let consistency = (0.0..=1.0).contains(&self.consistency);
        require(consistency, CONFIG, "consistency", self.consistency, "a number in [0, 1]")?;
        Ok(GroupGate { config: self })
    }
}

impl GroupGate {
    /// Decides for a group from each completion's score and its judged items (see
    /// [`Rubric::judge`]).
    ///
    /// `scores` has one finite number per completion; `met[i][k]` says whether completion i meets
    /// item k. Equal scores are ranked by their order in the group.
    ///
    /// # Errors
    /// An empty group, lengths that disagree, no items, or a score that is not finite.
    pub fn decide(&self, scores: &[f64], met: &[Vec<bool>]) -> Result<GroupDecision, RewardError> {
        let items = met.first().map_or(0, Vec::len);
        if scores.is_empty() || items == 0 {
            return Err(RewardError::NoParts { composite: "GroupGate" });
        }
        let count = |what: &str, found, expected| {
            if found == expected {
                return Ok(());
            }
            Err(RewardError::Count { what: what.to_owned(), found, expected })
        };
        count("judged completions", met.len(), scores.len())?;
        for judged in met {
            count("judged items of a completion", judged.len(), items)?;
        }
        if let Some((index, &value)) = scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
            return Err(RewardError::NotFinite { what: "the score", index, value });
        }

        for item in 0..items {
            let met_by = met.iter().filter(|judged| judged[item]).count();
            if met_by < self.config.coverage {
                return Ok(GroupDecision::Uncovered { item, met_by });
            }
        }
        let mut ranked: Vec<usize> = (0..scores.len()).collect();
        // 0 and -0 are equal scores, too.
        ranked.sort_by(|a, b| (scores[*b] + 0.0).total_cmp(&(scores[*a] + 0.0)));
        // The small step back keeps 0.2 * 15, which rounds to just above 3, at 3.
        let top = (self.config.top_fraction * scores.len() as f64 - 1e-9).ceil() as usize;
        for &completion in &ranked[..top.clamp(1, scores.len())] {
            let fraction = met[completion].iter().filter(|m| **m).count() as f64 / items as f64;
            if !reaches(fraction, self.config.consistency) {
                return Ok(GroupDecision::Inconsistent { completion, met: fraction });
            }
        }
        Ok(GroupDecision::Accepted)
    }
}
