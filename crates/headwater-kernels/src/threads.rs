//! Threads inside one job: off by default, because independent jobs in parallel are worth more.

use std::cell::Cell;
use std::ops::Range;

use crate::simd::{limit, with_instruction_set};

thread_local! {
    static THREADS: Cell<usize> = const { Cell::new(1) };
}

/// Runs `body` with this thread's kernels spread over `threads` threads (at least 1).
///
/// Work is cut by trees (or rows) into at most that many contiguous parts, so sums over them, and with
/// them the last bits of weight gradients, depend on the number of threads and on nothing else.
pub fn with_threads<T>(threads: usize, body: impl FnOnce() -> T) -> T {
    let before = THREADS.replace(threads.max(1));
    let result = body();
    THREADS.set(before);
    result
}

/// How many threads this thread's kernels use.
#[must_use]
pub fn threads() -> usize {
    THREADS.get()
}

/// `items` cut into at most [`threads`] contiguous parts of at least `least` items (the last may have fewer).
pub(crate) fn parts(items: usize, least: usize) -> Vec<Range<usize>> {
    let count = THREADS.get().min(items.div_ceil(least.max(1))).max(1);
    (0..count).map(|part| part * items / count..(part + 1) * items / count).collect()
}

/// Cuts a slice of rows of `width` at the bounds of `parts`.
pub(crate) fn cut<'a>(
    mut rows: &'a mut [f32],
    parts: &[Range<usize>],
    width: usize,
) -> Vec<&'a mut [f32]> {
    parts
        .iter()
        .map(|part| {
            let (first, rest) = std::mem::take(&mut rows).split_at_mut(part.len() * width);
            rows = rest;
            first
        })
        .collect()
}

/// The parts of a gradient of `x`, if it is wanted.
pub(crate) fn cut_wanted<'a>(
    dx: Option<&'a mut [f32]>,
    x: &[f32],
    parts: &[Range<usize>],
    width: usize,
) -> Vec<Option<&'a mut [f32]>> {
    let Some(dx) = dx else { return parts.iter().map(|_| None).collect() };
    assert_eq!(dx.len(), x.len(), "a gradient shaped as x");
    cut(dx, parts, width).into_iter().map(Some).collect()
}

/// Takes the first `length` elements off a slice.
pub(crate) fn split<'a>(slice: &mut &'a mut [f32], length: usize) -> &'a mut [f32] {
    let (first, rest) = std::mem::take(slice).split_at_mut(length);
    *slice = rest;
    first
}

/// `work` on every task at once, the first on this thread; results in the tasks' order.
pub(crate) fn run<T: Send, R: Send>(tasks: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    if tasks.len() == 1 {
        return tasks.into_iter().map(work).collect();
    }
    let set = limit();
    let mut results: Vec<Option<R>> = tasks.iter().map(|_| None).collect();
    rayon::in_place_scope(|scope| {
        let mut pairs = tasks.into_iter().zip(&mut results);
        let mine = pairs.next();
        for (task, result) in pairs {
            let work = &work;
            scope.spawn(move |_| *result = Some(with_instruction_set(set, || work(task))));
        }
        if let Some((task, result)) = mine {
            *result = Some(work(task));
        }
    });
    results.into_iter().map(|result| result.expect("every task has run")).collect()
}

/// `work` on at most [`threads`] contiguous parts of `0..items` at once; results in order.
pub fn in_parts<R: Send>(items: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    run(parts(items, 1), work)
}

/// `total += rest[0] + rest[1] + ...`, element by element in that order.
pub(crate) fn add_in_order(total: &mut [f32], rest: &[Vec<f32>]) {
    if rest.is_empty() {
        return;
    }
    let parts = parts(total.len(), 1 << 14);
    run(parts.iter().zip(cut(total, &parts, 1)).collect(), |(part, total)| {
        for sum in rest {
            for (total, value) in total.iter_mut().zip(&sum[part.clone()]) {
                *total += value;
            }
        }
    });
}

/// Adds the parts' sums in order: `sums[0] += sums[1] + ...`, element by element.
pub(crate) fn total(mut sums: Vec<Vec<f32>>) -> Vec<f32> {
    let rest = sums.split_off(1);
    let mut total = sums.remove(0);
    add_in_order(&mut total, &rest);
    total
}

/// The parts' sums of every tensor added in order.
pub(crate) fn total_each(parts: Vec<Vec<Vec<f32>>>) -> Vec<Vec<f32>> {
    let mut tensors: Vec<Vec<Vec<f32>>> = Vec::new();
    for part in parts {
        tensors.resize_with(part.len(), Vec::new);
        for (tensor, sum) in tensors.iter_mut().zip(part) {
            tensor.push(sum);
        }
    }
    tensors.into_iter().map(total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_no_thread_is_idle_without_need() {
        for threads in 1..5 {
            for items in 0..20 {
                let parts = with_threads(threads, || parts(items, 3));
                assert_eq!(parts.first().map(|part| part.start), Some(0));
                assert_eq!(parts.last().map(|part| part.end), Some(items));
                assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert!(
                    parts.len() <= threads && (items == 0 || parts.iter().all(|p| !p.is_empty()))
                );
            }
        }
    }

    #[test]
    fn results_come_in_order() {
        assert_eq!(
            run((0..9).collect(), |task: usize| task * task),
            [0, 1, 4, 9, 16, 25, 36, 49, 64]
        );
    }

    #[test]
    fn sums_long_enough_to_be_shared_out_are_the_same_bits() {
        let part = |seed: usize| -> Vec<f32> {
            (0..50_001).map(|at| ((at * 7 + seed * 13) % 101) as f32 * 0.37).collect()
        };
        let sums = || vec![part(1), part(2), part(3)];
        let [a, b, c] = [part(1), part(2), part(3)];
        let expected: Vec<f32> = (0..50_001).map(|at| a[at] + b[at] + c[at]).collect();
        for threads in 1..4 {
            assert!(with_threads(threads, || parts(50_001, 1 << 14)).len() == threads);
            assert_eq!(with_threads(threads, || total(sums())), expected);
        }
    }
}
