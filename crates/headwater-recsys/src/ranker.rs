//! What the loop asks of a ranker.

mod architecture;
mod heads;
mod network;
mod neural;
mod popularity;
mod position;
pub mod synthetic;

pub use architecture::{Architecture, Multiplications, NetworkConfig, Sharing};
pub use heads::HeadConfig;
pub use neural::{At, LogShape, NeuralRanker, NeuralRankerConfig, NeuralRankerSettings};
pub use popularity::{Popularity, PopularityConfig};
pub use position::{PositionConfig, Propensities, ServingPosition, swap_propensities};

use crate::error::{RecsysError, every};
use crate::log::Log;
use crate::world::Catalogue;

/// A block of sessions to be ranked, one or more; every session has the same number of candidates.
#[derive(Debug, Clone, Copy)]
pub struct Requests<'a> {
    /// User of each session.
    pub users: &'a [u32],
    /// Device of each session.
    pub devices: &'a [u8],
    /// Contexts, sessions x features.
    pub contexts: &'a [f32],
    /// Items to be scored, sessions x candidates.
    pub candidates: &'a [u32],
}

impl Requests<'_> {
    /// Number of sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.users.len()
    }

    /// Candidates of each session; 0 where there is none.
    #[must_use]
    pub fn candidates_per_session(&self) -> usize {
        self.candidates.len().checked_div(self.users.len()).unwrap_or(0)
    }
}

/// Errors at the first impression of an item that the catalogue does not have.
pub(crate) fn known_items(catalogue: Catalogue<'_>, log: &Log) -> Result<(), RecsysError> {
    let items = catalogue.items() as f64;
    let shown = log.items().iter().map(|&item| f64::from(item));
    Ok(every("items of the log", shown, "an index below the catalogue's items", |i| i < items)?)
}

/// Scores candidates, and learns from what was logged.
///
/// It never sees a slot when scoring, nor anything hidden in [`crate::Items`]. Items may have arrived since it was
/// trained: an index beyond what it knows has to be scored all the same.
pub trait Ranker {
    /// Writes one finite score for each candidate, laid out as [`Requests::candidates`]; the higher is shown further up.
    ///
    /// # Errors
    /// Whatever keeps the ranker from scoring.
    fn score(
        &mut self,
        catalogue: Catalogue<'_>,
        requests: &Requests<'_>,
        scores: &mut [f32],
    ) -> Result<(), RecsysError>;

    /// Learns from the last rounds, of which the log holds as many as the loop keeps.
    ///
    /// # Errors
    /// Whatever keeps the ranker from learning.
    fn train(&mut self, catalogue: Catalogue<'_>, log: &Log) -> Result<(), RecsysError>;
}
