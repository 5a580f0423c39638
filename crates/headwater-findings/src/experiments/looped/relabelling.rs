//! What a ranker without position bias could know from the same lists.

use headwater_core::Streams;
use headwater_evaluation::decision::sigmoid;
use headwater_recsys::{
    Catalogue, Impression, Items, Log, NeuralRanker, Ranker, RecsysError, Requests, SessionRow,
    World, WorldConfig,
};
use rand::RngExt;

/// A ranker that learns from relevance in the place of clicks.
pub(super) struct Relabelling {
    ranker: NeuralRanker,
    items: Items,
    world: WorldConfig,
    streams: Streams,
}

impl Relabelling {
    pub(super) fn new(ranker: NeuralRanker, world: &World, streams: &Streams) -> Self {
        let (items, world) = (Items::new(world, streams), world.config().clone());
        Self { ranker, items, world, streams: streams.child("relevance", &[]) }
    }

    /// Probability of a click on an examined item.
    fn relevance(&self, item: u32, context: &[f32]) -> f64 {
        let item = item as usize;
        let features = &self.items.catalogue().features[item * context.len()..][..context.len()];
        let match_: f64 = context.iter().zip(features).map(|(u, f)| f64::from(u * f)).sum();
        let quality = f64::from(self.items.quality()[item]);
        sigmoid(self.world.base_logit + quality + self.world.personalisation * match_)
    }

    /// The log with relevance drawn for every impression; the same each time a round is read.
    fn relabelled(&self, log: &Log) -> Log {
        let width = self.items.catalogue().width;
        let mut labelled = Log::new(width, false, false);
        for round in log.rounds() {
            let mut rng = self.streams.stream("labels", &[round]);
            let mut open = None;
            for row in log.rows_of(round) {
                let session = log.sessions()[row] as usize;
                let context = &log.contexts()[session * width..][..width];
                if open != Some(session) {
                    let (user, device) = (log.users()[session], log.devices()[session]);
                    labelled.open(&SessionRow { round, user, device, context });
                    open = Some(session);
                }
                let item = log.items()[row];
                let relevant = rng.random::<f64>() < self.relevance(item, context);
                labelled.record(&Impression {
                    item,
                    slot: log.slots()[row],
                    click: f32::from(relevant),
                    like: 0.0,
                    dwell: 0.0,
                    examination: log.examinations()[row],
                    propensity: log.propensities()[row],
                });
            }
        }
        labelled
    }
}

impl Ranker for Relabelling {
    fn score(
        &mut self,
        catalogue: Catalogue<'_>,
        requests: &Requests<'_>,
        scores: &mut [f32],
    ) -> Result<(), RecsysError> {
        self.ranker.score(catalogue, requests, scores)
    }

    fn train(&mut self, catalogue: Catalogue<'_>, log: &Log) -> Result<(), RecsysError> {
        self.ranker.train(catalogue, &self.relabelled(log))
    }
}

#[cfg(test)]
mod tests {
    use headwater_core::Check;
    use headwater_recsys::{Arm, LogShape, NeuralRankerConfig, run as run_loop};

    use super::super::tests::small;
    use super::*;

    #[test]
    fn relevance_is_what_clicks_are_where_every_slot_is_examined() {
        let config = small(0.0);
        let (world, streams) = (config.world.clone().check().unwrap(), Streams::new(3));
        let settings = config.rounds.check().unwrap();
        let ranker = NeuralRankerConfig::default().check().unwrap();
        let ranker = NeuralRanker::new(&ranker, LogShape::from(&world), &streams);
        let relabelling = Relabelling::new(ranker, &world, &streams);
        run_loop(&world, &streams, Arm::Random, &settings, |round| {
            let labelled = relabelling.relabelled(round.log);
            let rate = |log: &Log| log.clicks().iter().sum::<f32>() / log.len() as f32;
            // Four standard deviations of 3,000 rows.
            assert!((rate(&labelled) - rate(round.log)).abs() < 0.03);
            assert_eq!(labelled.items(), round.log.items());
            assert_eq!(labelled.contexts(), round.log.contexts());
            assert_eq!(labelled, relabelling.relabelled(round.log));
            Ok(())
        })
        .unwrap();
    }
}
