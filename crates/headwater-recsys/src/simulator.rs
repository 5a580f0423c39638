//! Serves rounds of sessions to simulated users, and logs what they do.
//!
//! *Common random numbers*: who comes, with which context, on which device, and which candidates are retrieved is a
//! function of (streams, round, session); the uniforms behind examination, of these and the slot; those behind
//! clicks and likes, of these and the candidate. None depends on what the ranker did, so arms that are served from the same
//! streams are paired: where two of them show an item on the same slot in the same session, the same happens (as long
//! as users have not drifted apart, and for cascades nothing else happened above).

use headwater_core::{StreamRng, Streams, require};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use tracing::{info, info_span};

use crate::error::RecsysError;
use crate::examination::{Examination, Reader};
use crate::exploration::{Exploration, Lists, top};
use crate::log::{Head, Impression, Log, SessionRow};
use crate::ranker::{Ranker, Requests};
use crate::world::{Items, MOST_INDICES, World};

/// Sessions handed to a ranker at once. Results do not depend on it.
const BLOCK: usize = 256;

/// What lists are made by.
pub enum Ranking<'a> {
    /// The legacy prior.
    Legacy,
    /// Chance: every order of the candidates is as likely. Exploration is left out of account.
    Random,
    /// The truth, best first: probability of a click if examined; for [`Head::Like`] and [`Head::Dwell`], of a click that
    /// satisfies. On a curve that does not fall from the top this is less than ideal.
    Oracle(Head),
    /// A ranker.
    Ranker(&'a mut dyn Ranker),
}

/// The utility of lists, summed over sessions, and that of the best lists there were.
///
/// The unit is an expected click (or an expected like) on an examined item, without false clicks out of trust.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Utility {
    /// Of what was shown.
    pub shown: f64,
    /// Of the candidates sorted by true worth, the best where most look; for interests that drift, by what is true at the
    /// time. The largest there is but for likes in lists read on after a click or not, and for clicks where going on
    /// after one grows likelier downwards: there a list may be worth a little more.
    pub ideal: f64,
}

impl Utility {
    /// Shown over ideal: 1 at best, but for what is said of [`Utility::ideal`]. NaN before anything was served.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.shown / self.ideal
    }

    /// Ideal less shown: at least 0, but for what is said of [`Utility::ideal`].
    #[must_use]
    pub fn regret(&self) -> f64 {
        self.ideal - self.shown
    }
}

/// What a round came to, in expectation over clicks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Served {
    /// In clicks.
    pub clicks: Utility,
    /// In likes, where the world has them.
    pub likes: Option<Utility>,
}

/// How a round is served.
#[derive(Clone, Copy)]
struct Serving<'a> {
    round: u64,
    /// Whether lists are sorted by the truth instead of by scores, and by which.
    oracle: Option<Head>,
    exploration: &'a Exploration,
}

/// A world in the course of its rounds.
#[derive(Debug, Clone)]
pub struct Simulator {
    world: World,
    streams: Streams,
    items: Items,
    next_round: u64,
    /// Contexts of lasting users, users x features.
    users: Vec<f32>,
    /// How far the interest of each lasting user in each item has moved; empty without drift.
    interests: Vec<Vec<f32>>,
    /// Click and like logits of each item, but for what depends on the context.
    item_logits: Vec<(f32, f32)>,
    block: Block,
    scratch: Scratch,
}

/// A block of sessions, as [`Requests`] lends it.
#[derive(Debug, Clone, Default)]
struct Block {
    users: Vec<u32>,
    devices: Vec<u8>,
    contexts: Vec<f32>,
    candidates: Vec<u32>,
    scores: Vec<f32>,
}

/// Memory of one session, used again for the next.
#[derive(Debug, Clone, Default)]
struct Scratch {
    /// All items; put back in order after every retrieval.
    pool: Vec<u32>,
    picks: Vec<usize>,
    /// By candidate: P(click | examined), and P(like | click) with its logit.
    attraction: Vec<f32>,
    like_logits: Vec<f32>,
    liking: Vec<f32>,
    /// Attraction times liking, where a list is sorted by it.
    worth: Vec<f32>,
    turned: Vec<f32>,
    /// By candidate, and by slot.
    click_uniforms: Vec<f32>,
    like_uniforms: Vec<f32>,
    dwell_noise: Vec<f32>,
    slot_uniforms: Vec<f32>,
    lists: Lists,
    keys: Vec<u64>,
    ideal: Vec<u32>,
}

impl Simulator {
    /// A world before its first round.
    #[must_use]
    pub fn new(world: &World, streams: &Streams) -> Self {
        let config = world.config();
        let lasting = config.users.unwrap_or(0);
        let users = (0..lasting as u64).flat_map(|user| {
            let rng = streams.stream("user", &[user]);
            normals(rng).take(config.features)
        });
        let users: Vec<f32> = users.collect();
        let drifting = if config.drift.is_some() { lasting } else { 0 };
        Self {
            world: world.clone(),
            streams: *streams,
            items: Items::new(world, streams),
            next_round: 0,
            users,
            interests: vec![Vec::new(); drifting],
            item_logits: Vec::new(),
            block: Block::default(),
            scratch: Scratch::default(),
        }
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The items there are by now.
    #[must_use]
    pub fn items(&self) -> &Items {
        &self.items
    }

    /// An empty log with the columns of this world.
    #[must_use]
    pub fn log(&self) -> Log {
        let config = self.world.config();
        let satisfaction = config.satisfaction.as_ref();
        let dwells = satisfaction.is_some_and(|satisfaction| satisfaction.dwell_sd.is_some());
        Log::new(config.features, satisfaction.is_some(), dwells)
    }

    /// Euclidean norm of how far each lasting user's interests have moved, μ_t - μ_0; empty without drift.
    ///
    /// A feedback loop is degenerate if it grows without bound (Jiang et al. 2019).
    #[must_use]
    pub fn drift(&self) -> Vec<f64> {
        let square = |moved: &f32| f64::from(*moved).powi(2);
        self.interests.iter().map(|user| user.iter().map(square).sum::<f64>().sqrt()).collect()
    }

    /// Serves the next round, which `round` has to be, and appends it to the log.
    ///
    /// # Errors
    /// A round out of order or with more than 2^30 items, an epsilon slot beyond the list, an oracle of likes where nobody likes, an error of the
    /// ranker, or a score that is NaN or infinite.
    pub fn serve(
        &mut self,
        round: u64,
        mut ranking: Ranking<'_>,
        exploration: &Exploration,
        log: &mut Log,
    ) -> Result<Served, RecsysError> {
        if round != self.next_round {
            return Err(RecsysError::Round { found: round, expected: self.next_round });
        }
        let items = self.world.items_in(round);
        require(items <= MOST_INDICES, "World", "items", items, "at most 2^30 in any round")?;
        let slots = self.world.config().slots;
        exploration.fits(slots)?;
        let oracle = if let Ranking::Oracle(head) = ranking { Some(head) } else { None };
        if let Some(head) = oracle {
            let known = head == Head::Click || self.world.config().satisfaction.is_some();
            let allowed = "Click in a world without satisfaction";
            require(known, "Ranking", "Oracle", format!("{head:?}"), allowed)?;
        }
        let _span = info_span!("recsys_round", round).entered();
        self.next_round += 1;
        self.let_items_arrive(round);
        let sessions = self.world.config().sessions;
        log.reserve(sessions, slots);
        let random = Exploration::noise(1.0);
        let exploration = if let Ranking::Random = ranking { &random } else { exploration };
        let serving = Serving { round, oracle, exploration };
        let mut served = Served::default();
        for start in (0..sessions).step_by(BLOCK) {
            let block = start..sessions.min(start + BLOCK);
            self.draw(round, block.clone());
            self.score(&mut ranking)?;
            for (at, session) in block.enumerate() {
                self.session(serving, at, session, log, &mut served);
            }
        }
        info!(sessions, "round served");
        Ok(served)
    }

    fn let_items_arrive(&mut self, round: u64) {
        let count = self.world.items_in(round);
        self.items.grow(&self.world, count);
        for item in self.item_logits.len()..count {
            let (quality, bait) = (self.items.quality()[item], self.items.clickbait()[item]);
            let click = self.world.config().base_logit as f32 + quality;
            self.item_logits.push(match &self.world.config().satisfaction {
                None => (click, 0.0),
                Some(satisfaction) => (
                    click + satisfaction.clickbait_click as f32 * bait,
                    satisfaction.intercept as f32
                        + quality
                        + satisfaction.clickbait_like as f32 * bait,
                ),
            });
        }
        self.interests.iter_mut().for_each(|user| user.resize(count, 0.0));
        self.scratch.pool.extend(self.scratch.pool.len() as u32..count as u32);
    }

    /// Draws who comes, and retrieves candidates.
    fn draw(&mut self, round: u64, sessions: std::ops::Range<usize>) {
        let config = self.world.config();
        let candidates = self.world.candidates_in(round);
        let Block { users, devices, contexts, candidates: retrieved, scores } = &mut self.block;
        users.clear();
        devices.clear();
        contexts.clear();
        retrieved.clear();
        scores.clear();
        scores.resize(sessions.len() * candidates, 0.0);
        for session in sessions {
            let mut rng = self.streams.stream("arrival", &[round, session as u64]);
            let share: f64 = rng.random();
            let device =
                self.world.devices().iter().position(|device| share < device.cumulative_share);
            devices.push(device.unwrap_or(self.world.devices().len() - 1) as u8);
            match config.users {
                Some(count) => {
                    let user = rng.random_range(0..count as u32);
                    let at = user as usize * config.features;
                    contexts.extend_from_slice(&self.users[at..at + config.features]);
                    users.push(user);
                }
                None => {
                    contexts.extend(normals(rng).take(config.features));
                    users.push((round as usize * config.sessions + session) as u32);
                }
            }
            let Scratch { pool, picks, .. } = &mut self.scratch;
            if candidates == pool.len() {
                retrieved.extend_from_slice(pool);
            } else {
                // The beginning of a Fisher-Yates shuffle, then undone.
                let mut rng = self.streams.stream("retrieval", &[round, session as u64]);
                picks.clear();
                for at in 0..candidates {
                    let pick = rng.random_range(at as u32..pool.len() as u32) as usize;
                    pool.swap(at, pick);
                    picks.push(pick);
                }
                retrieved.extend_from_slice(&pool[..candidates]);
                for (at, &pick) in picks.iter().enumerate().rev() {
                    pool.swap(at, pick);
                }
            }
        }
    }

    /// Scores of the block, but for the oracle's, which follow the users session by session.
    fn score(&mut self, ranking: &mut Ranking<'_>) -> Result<(), RecsysError> {
        let Block { users, devices, contexts, candidates, scores } = &mut self.block;
        match ranking {
            Ranking::Random | Ranking::Oracle(_) => Ok(()),
            Ranking::Legacy => {
                let legacy = self.items.legacy();
                let by_candidate = candidates.iter().map(|&item| legacy[item as usize]);
                scores.iter_mut().zip(by_candidate).for_each(|(score, legacy)| *score = legacy);
                Ok(())
            }
            Ranking::Ranker(ranker) => {
                let requests = Requests { users, devices, contexts, candidates };
                ranker.score(self.items.catalogue(), &requests, scores)?;
                match scores.iter().position(|score| !score.is_finite()) {
                    None => Ok(()),
                    Some(index) => {
                        let (value, scores) = (scores[index], scores.len());
                        Err(RecsysError::Score { index, scores, value })
                    }
                }
            }
        }
    }

    /// Shows a list to the user of session `session`, number `at` of the block.
    // Long: one session in the order in which it happens, on buffers that its parts share.
    fn session(
        &mut self,
        serving: Serving<'_>,
        at: usize,
        session: usize,
        log: &mut Log,
        served: &mut Served,
    ) {
        let Serving { round, oracle, exploration } = serving;
        let config = self.world.config();
        let (slots, width) = (config.slots, config.features);
        let count = self.world.candidates_in(round);
        let (user, device) = (self.block.users[at], self.block.devices[at]);
        let context = &self.block.contexts[at * width..(at + 1) * width];
        let candidates = &self.block.candidates[at * count..(at + 1) * count];
        let index = [round, session as u64];
        log.open(&SessionRow { round, user, device, context });

        // What is true of this user and these items.
        let moved = self.interests.get(user as usize).map(Vec::as_slice);
        let truth =
            Truth { world: &self.world, items: &self.items, item_logits: &self.item_logits, moved };
        let scratch = &mut self.scratch;
        truth.attraction(context, candidates, &mut scratch.attraction);
        truth.liking(context, candidates, scratch);

        // The list.
        let scores = match oracle {
            Some(Head::Click) => &scratch.attraction,
            Some(Head::Like | Head::Dwell) => &scratch.worth,
            None => &self.block.scores[at * count..(at + 1) * count],
        };
        let mut rng = exploration.is_random().then(|| self.streams.stream("exploration", &index));
        let list = scratch.lists.list(scores, slots, exploration, &mut rng);

        // What it is worth, and what the best would have been.
        let device_truth = &self.world.devices()[device as usize];
        let examination = &device_truth.examination;
        let attraction = &scratch.attraction;
        let best_first = &device_truth.best_first;
        let clicks = |reading: &Examination, order: &[u32]| {
            reading.value(order.iter().map(|&c| (attraction[c as usize], 1.0)))
        };
        served.clicks.shown += clicks(examination, list.order);
        top(attraction, slots, &mut scratch.keys, &mut scratch.ideal);
        served.clicks.ideal += clicks(best_first, &scratch.ideal[..slots]);
        if config.satisfaction.is_some() {
            let likes = |reading: &Examination, order: &[u32]| {
                let pair = |&c: &u32| (attraction[c as usize], scratch.liking[c as usize]);
                reading.value(order.iter().map(pair))
            };
            let sum = served.likes.get_or_insert_default();
            sum.shown += likes(examination, list.order);
            top(&scratch.worth, slots, &mut scratch.keys, &mut scratch.ideal);
            sum.ideal += likes(best_first, &scratch.ideal[..slots]);
        }

        // What the user does.
        fill(&mut scratch.slot_uniforms, slots, self.streams.stream("examination", &index));
        fill(&mut scratch.click_uniforms, count, self.streams.stream("click", &index));
        let satisfaction = config.satisfaction.as_ref();
        if satisfaction.is_some() {
            fill(&mut scratch.like_uniforms, count, self.streams.stream("like", &index));
        }
        let dwell_sd = satisfaction.and_then(|satisfaction| satisfaction.dwell_sd);
        if dwell_sd.is_some() {
            let noise = normals(self.streams.stream("dwell", &index));
            scratch.dwell_noise.clear();
            scratch.dwell_noise.extend(noise.take(count));
        }
        let mut reader = Reader::new(examination);
        for (slot, (&candidate, &propensity)) in
            list.order.iter().zip(list.propensities).enumerate()
        {
            let candidate = candidate as usize;
            let uniform = scratch.slot_uniforms[slot];
            let (examined, probability) = reader.examines(slot, uniform);
            let attraction = f64::from(attraction[candidate]);
            let trust = device_truth.trust / (slot + 1) as f64;
            let attraction = attraction + trust * (1.0 - attraction);
            let clicked = examined && f64::from(scratch.click_uniforms[candidate]) < attraction;
            reader.saw(slot, clicked, attraction, uniform);
            let liked = clicked
                && satisfaction.is_some()
                && scratch.like_uniforms[candidate] < scratch.liking[candidate];
            let dwell = match dwell_sd {
                Some(sd) if clicked => {
                    scratch.like_logits[candidate] + sd as f32 * scratch.dwell_noise[candidate]
                }
                _ => 0.0,
            };
            let item = candidates[candidate];
            log.record(&Impression {
                item,
                slot: slot as u8,
                click: f32::from(clicked),
                like: f32::from(liked),
                dwell,
                examination: probability as f32,
                propensity,
            });
            if let (Some(delta), true) = (config.drift, examined) {
                let interest = &mut self.interests[user as usize][item as usize];
                *interest += if clicked { delta as f32 } else { -delta as f32 };
            }
        }
    }
}

/// What is true of a user.
struct Truth<'a> {
    world: &'a World,
    items: &'a Items,
    item_logits: &'a [(f32, f32)],
    /// How far the user's interests have moved, by item.
    moved: Option<&'a [f32]>,
}

impl Truth<'_> {
    /// P(click | examined) of each candidate, but for trust.
    fn attraction(&self, context: &[f32], candidates: &[u32], attraction: &mut Vec<f32>) {
        let strength = self.world.config().personalisation as f32;
        attraction.clear();
        attraction.extend(candidates.iter().map(|&item| {
            let item = item as usize;
            let personal = strength * dot(context, self.items.features_of(item));
            let moved = self.moved.map_or(0.0, |moved| moved[item]);
            sigmoid(self.item_logits[item].0 + personal + moved)
        }));
    }

    /// P(like | click) of each candidate, and the product of this and attraction.
    fn liking(&self, context: &[f32], candidates: &[u32], scratch: &mut Scratch) {
        let Some(satisfaction) = &self.world.config().satisfaction else { return };
        let Scratch { attraction, like_logits, liking, worth, turned, .. } = scratch;
        satisfaction.turn(context, turned);
        let strength = satisfaction.strength as f32;
        like_logits.clear();
        like_logits.extend(candidates.iter().map(|&item| {
            let item = item as usize;
            self.item_logits[item].1 + strength * dot(turned, self.items.features_of(item))
        }));
        liking.clear();
        liking.extend(like_logits.iter().map(|&logit| sigmoid(logit)));
        worth.clear();
        worth
            .extend(attraction.iter().zip(liking).map(|(attraction, liking)| attraction * *liking));
    }
}

fn fill(values: &mut Vec<f32>, count: usize, mut rng: StreamRng) {
    values.clear();
    values.extend((0..count).map(|_| rng.random::<f32>()));
}

fn normals(rng: StreamRng) -> impl Iterator<Item = f32> {
    StandardNormal.sample_iter(rng)
}

fn dot(x: &[f32], y: &[f32]) -> f32 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}
