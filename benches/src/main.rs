//! This project's side of the comparison with PyTorch: one piece of work, timed step by step.
//!
//! `cargo xtask bench peers` runs it in turn with `peers/peer.py`, which takes the same arguments and prints
//! the same line of JSON.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use headwater_kernels::with_threads;

mod work;

/// As `xtask` has it: a step makes and drops tensors of some megabytes, and the system's allocator gives their pages back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| -> String {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, String::as_str).to_string()
    };
    let number = |name: &str, default: usize| -> usize {
        option(name, &default.to_string()).parse().expect("a whole number")
    };
    let name = arguments.first().cloned().unwrap_or_default();
    let (size, batch) = (option("--size", "s"), number("--batch", 64));
    let mut step = work::prepare(&name, &size, batch);
    // A start is timed from outside, so it happens once.
    let (warmup, steps) = if name == "start-up" { (0, 1) } else { (3, 0) };
    let (warmup, steps) = (number("--warmup", warmup), number("--steps", steps));
    let milliseconds: Vec<f64> = with_threads(number("--threads", 2), || {
        (0..warmup).for_each(|_| step());
        let start = Instant::now();
        let mut times = Vec::new();
        // As many steps as asked for, or three seconds of them.
        while if steps > 0 { times.len() < steps } else { start.elapsed().as_secs() < 3 } {
            let start = Instant::now();
            step();
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times
    });
    let line = serde_json::json!({
        "work": name,
        "size": size,
        "batch": batch,
        "engine": "headwater",
        "milliseconds": milliseconds,
        "peak_rss_mb": peak_rss_mb(),
        "versions": { "headwater": env!("CARGO_PKG_VERSION") },
    });
    println!("{line}");
}

/// Largest resident set so far in MiB, as Linux counts it; 0 elsewhere.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    let kilobytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
