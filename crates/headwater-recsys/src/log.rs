//! What is recorded: sessions, and the impressions in them, a column for each thing.

use std::ops::Range;

/// What a user may do with an impression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Head {
    /// Clicked: 0 or 1.
    Click,
    /// Satisfied: 0 or 1, defined only after a click.
    Like,
    /// Logarithm of time spent, defined only after a click.
    Dwell,
}

/// The labels of a head.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// One value per impression; 0 where it is not defined.
    pub values: &'a [f32],
    /// 1 where the label is defined, else 0; none: it is defined everywhere.
    ///
    /// A loss that ignores the mask turns satisfaction into a second click head, with its position bias.
    pub mask: Option<&'a [f32]>,
}

/// Who asks, on what.
#[derive(Debug, Clone, Copy)]
pub struct SessionRow<'a> {
    /// The round it belongs to.
    pub round: u64,
    /// The user; new users have numbers of their own.
    pub user: u32,
    /// Index of the device.
    pub device: u8,
    /// The context a ranker may see.
    pub context: &'a [f32],
}

/// One item shown on one slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impression {
    /// The item.
    pub item: u32,
    /// The slot, counted from 0.
    pub slot: u8,
    /// 1 if clicked.
    pub click: f32,
    /// 1 if clicked and liked.
    pub like: f32,
    /// Dwell label, 0 if not clicked.
    pub dwell: f32,
    /// Probability that the slot was examined, given device, slot and the clicks above it.
    pub examination: f32,
    /// Probability that the policy puts this item here, given the items above it: 1 where it is deterministic.
    pub propensity: f32,
}

/// A log of impressions, in the order in which they were served. Clearing it keeps its memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    width: usize,
    has_likes: bool,
    has_dwells: bool,
    /// Number, first session and first impression of each round.
    rounds: Vec<(u64, usize, usize)>,
    users: Vec<u32>,
    devices: Vec<u8>,
    contexts: Vec<f32>,
    sessions: Vec<u32>,
    items: Vec<u32>,
    slots: Vec<u8>,
    clicks: Vec<f32>,
    likes: Vec<f32>,
    dwells: Vec<f32>,
    examinations: Vec<f32>,
    propensities: Vec<f32>,
}

impl Log {
    /// An empty log with contexts of `width` features, which keeps likes and dwells if told to.
    #[must_use]
    pub fn new(width: usize, has_likes: bool, has_dwells: bool) -> Self {
        Self {
            width,
            has_likes,
            has_dwells,
            rounds: Vec::new(),
            users: Vec::new(),
            devices: Vec::new(),
            contexts: Vec::new(),
            sessions: Vec::new(),
            items: Vec::new(),
            slots: Vec::new(),
            clicks: Vec::new(),
            likes: Vec::new(),
            dwells: Vec::new(),
            examinations: Vec::new(),
            propensities: Vec::new(),
        }
    }

    /// Makes room for so many more sessions of `slots` impressions each.
    pub fn reserve(&mut self, sessions: usize, slots: usize) {
        let impressions = sessions * slots;
        self.users.reserve(sessions);
        self.devices.reserve(sessions);
        self.contexts.reserve(sessions * self.width);
        self.sessions.reserve(impressions);
        self.items.reserve(impressions);
        self.slots.reserve(impressions);
        for column in [&mut self.clicks, &mut self.examinations, &mut self.propensities] {
            column.reserve(impressions);
        }
        self.likes.reserve(if self.has_likes { impressions } else { 0 });
        self.dwells.reserve(if self.has_dwells { impressions } else { 0 });
    }

    /// Opens a session, to which the impressions recorded from now on belong.
    ///
    /// # Panics
    /// If the context has another width than the log was made for.
    pub fn open(&mut self, session: &SessionRow<'_>) {
        assert_eq!(session.context.len(), self.width, "contexts have the log's width");
        if self.rounds.last().is_none_or(|&(round, ..)| round != session.round) {
            self.rounds.push((session.round, self.users.len(), self.items.len()));
        }
        self.users.push(session.user);
        self.devices.push(session.device);
        self.contexts.extend_from_slice(session.context);
    }

    /// Records an impression of the session opened last.
    ///
    /// # Panics
    /// If no session was opened.
    pub fn record(&mut self, impression: &Impression) {
        let session = self.users.len().checked_sub(1).expect("a session is open");
        self.sessions.push(session as u32);
        self.items.push(impression.item);
        self.slots.push(impression.slot);
        self.clicks.push(impression.click);
        if self.has_likes {
            self.likes.push(impression.like);
        }
        if self.has_dwells {
            self.dwells.push(impression.dwell);
        }
        self.examinations.push(impression.examination);
        self.propensities.push(impression.propensity);
    }

    /// Forgets all but the last `count` rounds.
    pub fn keep_last_rounds(&mut self, count: usize) {
        let dropped = self.rounds.len().saturating_sub(count);
        let (sessions, rows) = match self.rounds.get(dropped) {
            Some(&(_, sessions, rows)) => (sessions, rows),
            None => (self.users.len(), self.items.len()),
        };
        self.rounds.drain(..dropped);
        for (_, first_session, first_row) in &mut self.rounds {
            *first_session -= sessions;
            *first_row -= rows;
        }
        self.users.drain(..sessions);
        self.devices.drain(..sessions);
        self.contexts.drain(..sessions * self.width);
        self.sessions.drain(..rows);
        self.sessions.iter_mut().for_each(|session| *session -= sessions as u32);
        self.items.drain(..rows);
        self.slots.drain(..rows);
        for column in [&mut self.clicks, &mut self.examinations, &mut self.propensities] {
            column.drain(..rows);
        }
        self.likes.drain(..if self.has_likes { rows } else { 0 });
        self.dwells.drain(..if self.has_dwells { rows } else { 0 });
    }

    /// Number of impressions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Number of sessions.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.users.len()
    }

    /// Rounds in the log, in the order in which they were served.
    pub fn rounds(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.rounds.iter().map(|&(round, ..)| round)
    }

    /// Impressions of a round; empty where there are none.
    #[must_use]
    pub fn rows_of(&self, round: u64) -> Range<usize> {
        match self.rounds.iter().position(|&(number, ..)| number == round) {
            None => 0..0,
            Some(at) => {
                let end = self.rounds.get(at + 1).map_or(self.len(), |&(_, _, row)| row);
                self.rounds[at].2..end
            }
        }
    }

    /// The labels of a head, or none where it is not logged.
    #[must_use]
    pub fn labels(&self, head: Head) -> Option<Labels<'_>> {
        let (logged, values) = match head {
            Head::Click => return Some(Labels { values: &self.clicks, mask: None }),
            Head::Like => (self.has_likes, &self.likes),
            Head::Dwell => (self.has_dwells, &self.dwells),
        };
        logged.then_some(Labels { values, mask: Some(&self.clicks) })
    }

    /// Session of each impression: an index into the columns of sessions.
    #[must_use]
    pub fn sessions(&self) -> &[u32] {
        &self.sessions
    }

    /// Item of each impression.
    #[must_use]
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// Slot of each impression, from 0.
    #[must_use]
    pub fn slots(&self) -> &[u8] {
        &self.slots
    }

    /// Clicks, 0 or 1, by impression.
    #[must_use]
    pub fn clicks(&self) -> &[f32] {
        &self.clicks
    }

    /// True probability of examination, by impression: what a click is divided by for an unbiased label. Where lists are
    /// read from the top down it is that given the clicks above, which takes the true attraction of what stands there:
    /// more than the server of a real cascade would know.
    #[must_use]
    pub fn examinations(&self) -> &[f32] {
        &self.examinations
    }

    /// True probability with which the policy put the item on its slot, given those above, by impression.
    #[must_use]
    pub fn propensities(&self) -> &[f32] {
        &self.propensities
    }

    /// User of each session.
    #[must_use]
    pub fn users(&self) -> &[u32] {
        &self.users
    }

    /// Device of each session.
    #[must_use]
    pub fn devices(&self) -> &[u8] {
        &self.devices
    }

    /// Contexts, sessions x width.
    #[must_use]
    pub fn contexts(&self) -> &[f32] {
        &self.contexts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rounds: Range<u64>) -> Log {
        let mut log = Log::new(2, true, false);
        for round in rounds {
            for session in 0..=round {
                let context = [round as f32, session as f32];
                log.open(&SessionRow { round, user: session as u32, device: 0, context: &context });
                for slot in 0..3 {
                    log.record(&Impression {
                        item: (10 * round + u64::from(slot)) as u32,
                        slot,
                        click: f32::from(slot == 0),
                        like: 0.0,
                        dwell: 0.0,
                        examination: 1.0,
                        propensity: 0.5,
                    });
                }
            }
        }
        log
    }

    #[test]
    fn forgetting_rounds_leaves_what_would_have_been_logged_without_them() {
        let mut log = filled(0..5);
        log.keep_last_rounds(2);
        assert_eq!(log, filled(3..5));
        assert_eq!(log.rounds().collect::<Vec<_>>(), [3, 4]);
        assert_eq!((log.rows_of(3), log.rows_of(4), log.rows_of(2)), (0..12, 12..27, 0..0));
        log.keep_last_rounds(0);
        assert_eq!(log, filled(0..0));
    }

    #[test]
    fn satisfaction_is_defined_after_a_click_only() {
        let log = filled(0..2);
        assert_eq!(log.labels(Head::Like).unwrap().mask.unwrap(), log.clicks());
        assert!(log.labels(Head::Click).unwrap().mask.is_none());
        assert!(log.labels(Head::Dwell).is_none());
    }
}
