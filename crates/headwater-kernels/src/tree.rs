//! How the tokens of sequences that begin alike lie in rows.

use std::ops::Range;

use crate::threads::threads;

/// Sequences that begin with the same tokens, the trunk, and go on with different ones, the branches: a prompt
/// and its completions. Each token is a row once, the trunk's first, then each branch's in turn.
///
/// A token attends to those before it in its branch and to the whole trunk, to no other branch. The first
/// token of a branch stands at position `trunk`. Without branches a tree is one sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Tokens of the trunk.
    pub trunk: usize,
    /// Tokens of each branch; a branch without any is allowed and has no rows.
    pub branches: Vec<usize>,
}

/// Rows of a trunk or of a branch.
pub(crate) struct Segment {
    /// Tokens of the trunk before them: none, or the whole of it.
    pub(crate) past: usize,
    pub(crate) rows: Range<usize>,
}

impl Tree {
    /// One sequence of `tokens`.
    #[must_use]
    pub fn sequence(tokens: usize) -> Self {
        Self { trunk: tokens, branches: Vec::new() }
    }

    /// Rows of the tree.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.trunk + self.branches.iter().sum::<usize>()
    }

    /// Tokens of the longest sequence in it.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.trunk + self.branches.iter().max().unwrap_or(&0)
    }

    /// Rows of the trunk and of all branches, if the tree's rows begin at `first`.
    pub(crate) fn halves(&self, first: usize) -> [Range<usize>; 2] {
        let middle = first + self.trunk;
        [first..middle, middle..first + self.rows()]
    }

    /// The trunk and each branch, if the tree's rows begin at `first`.
    pub(crate) fn segments(&self, first: usize) -> impl Iterator<Item = Segment> {
        let mut end = first;
        let pasts = std::iter::once(0).chain(std::iter::repeat(self.trunk));
        let lengths = std::iter::once(&self.trunk).chain(&self.branches);
        lengths.zip(pasts).map(move |(length, past)| {
            let rows = end..end + length;
            end = rows.end;
            Segment { past, rows }
        })
    }
}

/// Rows of all `trees`.
pub(crate) fn rows(trees: &[Tree]) -> usize {
    trees.iter().map(Tree::rows).sum()
}

/// Trees that follow one another.
pub(crate) struct Stretch<'a> {
    pub(crate) trees: &'a [Tree],
    pub(crate) rows: Range<usize>,
}

/// `trees` cut into at most [`threads`] contiguous parts of about as many rows.
pub(crate) fn parts(trees: &[Tree]) -> Vec<Stretch<'_>> {
    let (count, total) = (threads(), rows(trees).max(1));
    let mut part = 0;
    stretches(trees, 0, |_, tree| {
        // A tree belongs to the part in which its middle lies.
        let middle = (tree.start + tree.end) * count / (2 * total);
        let before = std::mem::replace(&mut part, middle.min(count - 1));
        part == before
    })
}

impl<'a> Stretch<'a> {
    /// Its trees in groups to be worked off together: about 256 tokens, so that they stay in cache, or one tree.
    pub(crate) fn chunks(&self) -> Vec<Stretch<'a>> {
        stretches(self.trees, self.rows.start, |chunk, tree| tree.end - chunk.start <= 256)
    }
}

/// Cuts `trees`, whose rows begin at `first`, before every tree that does not join the rows so far: one stretch at
/// least.
fn stretches(
    trees: &[Tree],
    first: usize,
    mut joins: impl FnMut(&Range<usize>, &Range<usize>) -> bool,
) -> Vec<Stretch<'_>> {
    let mut all = Vec::new();
    let (mut from, mut so_far) = (0, first..first);
    for (at, tree) in trees.iter().enumerate() {
        let rows = so_far.end..so_far.end + tree.rows();
        if !joins(&so_far, &rows) && at > from {
            all.push(Stretch { trees: &trees[from..at], rows: so_far });
            (from, so_far) = (at, rows.start..rows.start);
        }
        so_far.end = rows.end;
    }
    if from < trees.len() || all.is_empty() {
        all.push(Stretch { trees: &trees[from..], rows: so_far });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::with_threads;

    #[test]
    fn stretches_cover_every_tree_once_with_as_many_parts_as_threads_and_chunks_that_stay_small() {
        let mut trees: Vec<_> = (0..23)
            .map(|at| Tree { trunk: at * 7 % 50, branches: vec![at * 5 % 90; at % 4] })
            .collect();
        trees.push(Tree::default());
        for count in 0..=trees.len() {
            let trees = &trees[..count];
            for threads in 1..5 {
                let parts = with_threads(threads, || parts(trees));
                assert!((1..=threads).contains(&parts.len()));
                let chunks: Vec<_> = parts.iter().flat_map(Stretch::chunks).collect();
                for stretches in [&parts, &chunks] {
                    let mut end = 0;
                    for stretch in stretches {
                        assert_eq!(stretch.rows, end..end + rows(stretch.trees));
                        end = stretch.rows.end;
                    }
                    let joined = stretches.iter().flat_map(|stretch| stretch.trees);
                    assert!(joined.eq(trees));
                }
                assert!(chunks.iter().all(|c| c.trees.len() == 1 || c.rows.len() <= 256));
            }
        }
    }

    #[test]
    fn segments_cover_the_rows_and_branches_stand_behind_the_trunk() {
        let tree = Tree { trunk: 4, branches: vec![2, 0, 3] };
        let segments: Vec<_> = tree.segments(10).map(|s| (s.past, s.rows)).collect();
        assert_eq!(segments, [(0, 10..14), (4, 14..16), (4, 16..16), (4, 16..19)]);
        assert_eq!(tree.halves(10), [10..14, 14..19]);
        assert_eq!((tree.rows(), tree.positions()), (9, 7));
    }
}
