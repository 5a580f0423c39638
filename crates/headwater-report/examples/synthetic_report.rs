//! Writes the report of findings whose truth is known, to look at after a change to the page:
//! `cargo run -p headwater-report --example synthetic_report -- DIR`.
#![allow(clippy::print_stdout, reason = "an example says where it wrote")]

#[path = "../tests/all/synthetic.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod synthetic;

use headwater_report::run;
use synthetic::{NULL, Planted, Synthetic, TREATED, options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args().nth(1).ok_or("usage: synthetic_report DIR")?;
    let planted = |effect, leak| Planted { effect, leak };
    let chapters = [
        Synthetic { id: "planted", ..Synthetic::default() },
        Synthetic { id: "absent", planted: planted(0.0, 0.0), ..Synthetic::default() },
        Synthetic { id: "small", planted: planted(0.5, 0.0), ..Synthetic::default() },
        Synthetic { id: "leaking", planted: planted(1.0, 1.0), ..Synthetic::default() },
        Synthetic {
            id: "crashing",
            sabotage: Some((TREATED, 3, || panic!("index out of bounds"))),
            without: vec![NULL],
            ..Synthetic::default()
        },
    ];
    let chapters = chapters.map(Synthetic::chapter);
    run(&chapters, &options(out.as_ref(), 2), |_| (), |_| ())?;
    println!("{out}/report.html");
    Ok(())
}
