//! Votes: which answer most samples of a prompt give, and what share of them.

/// The answer with the most votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote<'a, A> {
    /// The answer; of several with as many votes the one that came first, which for samples drawn alike favours none.
    pub answer: &'a A,
    /// Votes for it, at least 1.
    pub votes: usize,
    /// All votes.
    pub of: usize,
}

impl<A> Vote<'_, A> {
    /// Share of the votes, in (0, 1]: the confidence of self-consistency, and over the outputs to many prompts the
    /// top-answer share that tells a template from answers.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.votes as f64 / self.of as f64
    }
}

/// The answer that most of `samples` give; `None` without samples.
#[must_use]
pub fn majority<A: Eq>(samples: &[A]) -> Option<Vote<'_, A>> {
    let counts = counted(samples);
    let most = counts.iter().map(|(_, votes)| *votes).max()?;
    let (answer, votes) = *counts.iter().find(|(_, votes)| *votes == most)?;
    Some(Vote { answer, votes, of: samples.len() })
}

/// The distinct answers with their votes, by first occurrence. Samples are few, so that searching beats hashing.
#[must_use]
pub fn counted<A: Eq>(samples: &[A]) -> Vec<(&A, usize)> {
    let mut counts: Vec<(&A, usize)> = Vec::new();
    for sample in samples {
        match counts.iter_mut().find(|(answer, _)| *answer == sample) {
            Some((_, votes)) => *votes += 1,
            None => counts.push((sample, 1)),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_two_equals_wins_and_nobody_wins_without_votes() {
        let vote = majority(&["b", "a", "a", "b", "c"]).unwrap();
        assert_eq!((*vote.answer, vote.votes, vote.share()), ("b", 2, 0.4));
        assert_eq!(majority::<u8>(&[]), None);
    }

    proptest! {
        #[test]
        fn no_answer_has_more_votes_and_all_votes_are_counted(
            samples in prop::collection::vec(0..5u8, 1..40),
        ) {
            let vote = majority(&samples).unwrap();
            let counts = counted(&samples);
            prop_assert_eq!(counts.iter().map(|(_, votes)| votes).sum::<usize>(), samples.len());
            prop_assert!(counts.iter().all(|(_, votes)| *votes <= vote.votes));
            let own = samples.iter().filter(|sample| *sample == vote.answer).count();
            prop_assert_eq!((own, samples.len()), (vote.votes, vote.of));
        }
    }
}
