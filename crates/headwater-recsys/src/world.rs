//! What is true of users and items: features, qualities, who likes what, and how lists are read.
//!
//! An item i has features f_i ~ N(0, I), a hidden quality a_i ~ N(0, quality_sd²), a legacy prior g_i ~ N(0, 1) that has
//! nothing to do with its quality, and a clickbait level b_i ~ U(0, 1). A context is a user's u ~ N(0, I). An
//! examined item is clicked with probability
//!
//! ```text
//! r = sigmoid(base_logit + a_i + s u·f_i + c b_i),
//! ```
//!
//! and a clicked one satisfies with probability sigmoid(intercept + a_i + l b_i + t u'·f_i), where u' is u turned by an
//! angle of known cosine.

use headwater_core::{Check, ConfigError, Streams, require, require_positive};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::examination::{Examination, ExaminationConfig};

/// A world, unchecked.
///
/// The worlds [`WorldConfig::a`] to [`WorldConfig::d`] and [`WorldConfig::conflict`] are the ones this project measures
/// in; the default is B.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldConfig {
    /// Items there are at the start, at least `slots`.
    pub items: usize,
    /// Items that arrive before each round but the first; a round that would bring them above 2^30 is refused.
    pub arriving_items: usize,
    /// Features of an item and of a context, 1 to 4,096.
    pub features: usize,
    /// Lasting users, of which one is drawn for each session; left out: a new one in every session.
    pub users: Option<usize>,
    /// Personalisation strength s: weight of u·f in the click logit. Weights, logits and deviations
    /// are at most 1e6 in size, for they are used in single precision.
    pub personalisation: f64,
    /// Click logit of an average item.
    pub base_logit: f64,
    /// Standard deviation of the items' hidden quality, at least 0.
    pub quality_sd: f64,
    /// Candidates retrieved for a session, at random; left out: all items.
    pub candidates: Option<usize>,
    /// Slots of a list, 1 to 256.
    pub slots: usize,
    /// Sessions per round, at least 1; slots x sessions and features x sessions at most 2^30.
    pub sessions: usize,
    /// Devices, each with a reading behaviour of its own; at least one, at most 256.
    pub devices: Vec<DeviceConfig>,
    /// What happens after a click; left out: nothing, and only clicks are logged.
    pub satisfaction: Option<SatisfactionConfig>,
    /// δ of Jiang et al. (2019): after an item was examined, the user's interest in it (an addition to the click logit) moves
    /// up by δ if it was clicked and down by δ if not. Left out: interests stay. Needs `users`.
    ///
    /// In the paper every shown item is examined; here one that was not examined moves nothing.
    pub drift: Option<f64>,
}

/// A kind of device and how lists are read on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Share of sessions on it, relative to the other devices'; above 0.
    pub share: f64,
    /// Which slots are examined.
    pub examination: ExaminationConfig,
    /// Trust bias: an examined item on slot k that does not attract is clicked all the same with probability
    /// `trust`/k (Agarwal et al. 2019, whose ε⁻_k; the decay 1/k is our choice). In [0, 1).
    #[serde(default)]
    pub trust: f64,
}

/// What decides whether a click satisfies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SatisfactionConfig {
    /// Like logit of an average item without clickbait.
    pub intercept: f64,
    /// Weight of clickbait in the click logit.
    pub clickbait_click: f64,
    /// Weight of clickbait in the like logit.
    pub clickbait_like: f64,
    /// Weight of u'·f in the like logit.
    pub strength: f64,
    /// Cosine between u, which clicks follow, and u', which likes follow; in [-1, 1]. Exact for each user, as u' turns
    /// u by the angle in every pair of coordinates: below 1 it needs an even number of features.
    pub cosine: f64,
    /// Standard deviation of the dwell label (logarithm of time spent) about its mean, the like logit; left
    /// out: dwell is not logged.
    pub dwell_sd: Option<f64>,
}

impl Default for SatisfactionConfig {
    /// Clickbait that raises clicks by up to 1.5 and lowers likes by up to 3 log-odds.
    fn default() -> Self {
        Self {
            intercept: 0.0,
            clickbait_click: 1.5,
            clickbait_like: -3.0,
            strength: 1.0,
            cosine: 1.0,
            dwell_sd: None,
        }
    }
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self::b()
    }
}

impl WorldConfig {
    /// World A: 200 items, 25 of them retrieved at random for each session, top 10, strong personalisation, ULTRA's
    /// curve; 2,500 sessions a round, 6 rounds. Random retrieval supplies the swaps that identify a bias curve.
    #[must_use]
    pub fn a() -> Self {
        Self { items: 200, candidates: Some(25), sessions: 2_500, ..Self::b() }
    }

    /// World B: 100 items, all of them candidates; 1,500 sessions a round, 10 rounds.
    #[must_use]
    pub fn b() -> Self {
        Self {
            items: 100,
            arriving_items: 0,
            features: 6,
            users: None,
            personalisation: 0.6,
            base_logit: -1.6,
            quality_sd: 0.8,
            candidates: None,
            slots: 10,
            sessions: 1_500,
            devices: vec![DeviceConfig {
                share: 1.0,
                examination: ExaminationConfig::Ultra { exponent: 1.0 },
                trust: 0.0,
            }],
            satisfaction: None,
            drift: None,
        }
    }

    /// World C: B with little personalisation (0.15) and θ_k = k^-1.5; 10 rounds. Items hardly swap positions.
    #[must_use]
    pub fn c() -> Self {
        let mut world = Self { personalisation: 0.15, ..Self::b() };
        world.devices[0].examination = ExaminationConfig::Power { exponent: 1.5 };
        world
    }

    /// World D: B with false clicks of up to 0.25 at the top; 6 rounds.
    #[must_use]
    pub fn d() -> Self {
        let mut world = Self::b();
        world.devices[0].trust = 0.25;
        world
    }

    /// A with clickbait against satisfaction, and `cosine` between what is clicked and what is liked.
    #[must_use]
    pub fn conflict(cosine: f64) -> Self {
        let satisfaction = SatisfactionConfig { cosine, ..SatisfactionConfig::default() };
        Self { satisfaction: Some(satisfaction), ..Self::a() }
    }
}

/// Most users, and items at any time: their indices are kept in 32 bits.
pub(crate) const MOST_INDICES: usize = 1 << 30;

/// Largest weight, logit or deviation: beyond, products in single precision overflow, and no
/// sigmoid tells the difference.
const MOST_SIZE: f64 = 1e6;

/// [`require`] for a number used in single precision.
fn require_size(name: &'static str, field: &'static str, value: f64) -> Result<(), ConfigError> {
    let holds = value.abs() <= MOST_SIZE;
    require(holds, name, field, value, "a number in [-1e6, 1e6]")
}

/// The same of one that is not below 0.
fn require_deviation(
    name: &'static str,
    field: &'static str,
    value: f64,
) -> Result<(), ConfigError> {
    require((0.0..=MOST_SIZE).contains(&value), name, field, value, "a number in [0, 1e6]")
}

/// A checked [`WorldConfig`].
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    config: WorldConfig,
    devices: Vec<Device>,
}

/// A checked [`DeviceConfig`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Device {
    /// Share of sessions on this device or one before it in the list.
    pub(crate) cumulative_share: f64,
    pub(crate) examination: Examination,
    /// [`Examination::best_first`], which ideal lists are read by.
    pub(crate) best_first: Examination,
    pub(crate) trust: f64,
}

impl World {
    /// The settings.
    #[must_use]
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// How lists are read on a device, if there is such a device.
    #[must_use]
    pub fn examination(&self, device: usize) -> Option<&Examination> {
        self.devices.get(device).map(|device| &device.examination)
    }

    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Items there are in a round.
    #[must_use]
    pub fn items_in(&self, round: u64) -> usize {
        let arrived = self.config.arriving_items.saturating_mul(round as usize);
        self.config.items.saturating_add(arrived)
    }

    /// Candidates of each session of a round.
    #[must_use]
    pub fn candidates_in(&self, round: u64) -> usize {
        self.config.candidates.unwrap_or_else(|| self.items_in(round))
    }
}

impl Check for WorldConfig {
    type Checked = World;

    fn check(self) -> Result<World, ConfigError> {
        const NAME: &str = "WorldConfig";
        for (field, value) in [
            ("features", self.features),
            ("sessions", self.sessions),
            ("users", self.users.unwrap_or(1)),
        ] {
            require(value > 0, NAME, field, value, "1 or more")?;
        }
        for (field, value) in [("items", self.items), ("users", self.users.unwrap_or(1))] {
            require(value <= MOST_INDICES, NAME, field, value, "at most 2^30")?;
        }
        require(self.features <= 4096, NAME, "features", self.features, "at most 4096")?;
        let numbers = self.items.saturating_mul(self.features);
        let allowed = "such that items x features are at most 2^30";
        require(numbers <= MOST_INDICES, NAME, "items", self.items, allowed)?;
        let numbers = self.sessions.saturating_mul(self.slots.max(self.features));
        let allowed = "such that sessions x slots and sessions x features are at most 2^30";
        require(numbers <= MOST_INDICES, NAME, "sessions", self.sessions, allowed)?;
        let slots = self.slots;
        require((1..=256).contains(&slots), NAME, "slots", slots, "1 to 256")?;
        require(slots <= self.items, NAME, "items", self.items, "as many as slots, or more")?;
        if let Some(candidates) = self.candidates {
            let allowed = "slots to items";
            require(
                (slots..=self.items).contains(&candidates),
                NAME,
                "candidates",
                candidates,
                allowed,
            )?;
        }
        for (field, value) in
            [("personalisation", self.personalisation), ("base_logit", self.base_logit)]
        {
            require_size(NAME, field, value)?;
        }
        require_deviation(NAME, "quality_sd", self.quality_sd)?;
        if let Some(drift) = self.drift {
            require_deviation(NAME, "drift", drift)?;
            let allowed = "nothing, where no users last";
            require(self.users.is_some(), NAME, "drift", drift, allowed)?;
        }
        if let Some(satisfaction) = &self.satisfaction {
            satisfaction.check(self.features)?;
        }
        let devices = checked_devices(&self.devices, slots)?;
        Ok(World { config: self, devices })
    }
}

impl SatisfactionConfig {
    fn check(&self, features: usize) -> Result<(), ConfigError> {
        const NAME: &str = "SatisfactionConfig";
        for (field, value) in [
            ("intercept", self.intercept),
            ("clickbait_click", self.clickbait_click),
            ("clickbait_like", self.clickbait_like),
            ("strength", self.strength),
        ] {
            require_size(NAME, field, value)?;
        }
        let allowed = "a number in [-1, 1], and 1 or -1 where the number of features is odd";
        let in_range = (-1.0..=1.0).contains(&self.cosine);
        let holds = in_range && (features.is_multiple_of(2) || self.cosine.abs() == 1.0);
        require(holds, NAME, "cosine", self.cosine, allowed)?;
        let sd = self.dwell_sd.unwrap_or(0.0);
        require_deviation(NAME, "dwell_sd", sd)
    }

    /// Adds u' to `turned`, which is cleared first.
    pub(crate) fn turn(&self, context: &[f32], turned: &mut Vec<f32>) {
        let (cosine, sine) = (self.cosine as f32, (1.0 - self.cosine * self.cosine).sqrt() as f32);
        turned.clear();
        let (pairs, rest) = context.as_chunks::<2>();
        for &[x, y] in pairs {
            turned.extend([cosine * x - sine * y, sine * x + cosine * y]);
        }
        turned.extend(rest.iter().map(|x| cosine * x));
    }
}

fn checked_devices(configs: &[DeviceConfig], slots: usize) -> Result<Vec<Device>, ConfigError> {
    const NAME: &str = "DeviceConfig";
    let count = configs.len();
    require((1..=256).contains(&count), "WorldConfig", "devices", count, "1 to 256 devices")?;
    let total: f64 = configs.iter().map(|device| device.share).sum();
    if configs.iter().all(|device| device.share.is_finite()) {
        require(total.is_finite(), NAME, "share", total, "shares whose sum is finite")?;
    }
    let mut sum = 0.0;
    let mut devices = Vec::with_capacity(count);
    for DeviceConfig { share, examination, trust } in configs {
        require_positive(NAME, "share", *share)?;
        require((0.0..1.0).contains(trust), NAME, "trust", trust, "a number in [0, 1)")?;
        sum += share;
        let examination = examination.checked(slots)?;
        let best_first = examination.best_first();
        let cumulative_share = sum / total;
        devices.push(Device { cumulative_share, examination, best_first, trust: *trust });
    }
    Ok(devices)
}

/// The items of a world, one entry per item in each column. What a ranker may see is [`Items::catalogue`].
///
/// An item is a function of the streams and its index alone, so items that arrive later are the same in every arm.
#[derive(Debug, Clone, PartialEq)]
pub struct Items {
    width: usize,
    features: Vec<f32>,
    quality: Vec<f32>,
    legacy: Vec<f32>,
    clickbait: Vec<f32>,
    streams: Streams,
}

/// What a ranker knows of items: their index and their features.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue<'a> {
    /// Features, items x width.
    pub features: &'a [f32],
    /// Features of an item.
    pub width: usize,
}

impl Catalogue<'_> {
    /// Number of items; 0 where they have no features.
    #[must_use]
    pub fn items(&self) -> usize {
        self.features.len().checked_div(self.width).unwrap_or(0)
    }
}

impl Items {
    /// The items of a world at its start.
    #[must_use]
    pub fn new(world: &World, streams: &Streams) -> Self {
        let mut items = Self {
            width: world.config.features,
            features: Vec::new(),
            quality: Vec::new(),
            legacy: Vec::new(),
            clickbait: Vec::new(),
            streams: *streams,
        };
        items.grow(world, world.config.items);
        items
    }

    /// Lets items arrive until there are `count`.
    pub(crate) fn grow(&mut self, world: &World, count: usize) {
        for index in self.len()..count {
            let mut rng = self.streams.stream("item", &[index as u64]);
            let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
            self.quality.push(world.config.quality_sd as f32 * normal());
            self.legacy.push(normal());
            self.features.extend((0..self.width).map(|_| normal()));
            self.clickbait.push(rng.random());
        }
    }

    /// Number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.quality.len()
    }

    /// Whether there are none; never, in a checked world.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.quality.is_empty()
    }

    /// What a ranker may see.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue<'_> {
        Catalogue { features: &self.features, width: self.width }
    }

    /// Hidden quality a, by item.
    #[must_use]
    pub fn quality(&self) -> &[f32] {
        &self.quality
    }

    /// Legacy prior g, by item: the order in which the first round is served. Independent of quality.
    #[must_use]
    pub fn legacy(&self) -> &[f32] {
        &self.legacy
    }

    /// Clickbait b, by item, in [0, 1).
    #[must_use]
    pub fn clickbait(&self) -> &[f32] {
        &self.clickbait
    }

    pub(crate) fn features_of(&self, item: usize) -> &[f32] {
        &self.features[item * self.width..(item + 1) * self.width]
    }
}

#[cfg(test)]
mod tests;
