//! Writes the report of findings whose truth is known, to look at after a change to the page:
//! `cargo run -p headwater-protocol --example synthetic_report -- DIR`.
#![allow(clippy::print_stdout, reason = "an example says where it wrote")]

#[path = "../tests/all/synthetic.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod synthetic;

use headwater_protocol::{Finding, run};
use synthetic::{Planted, Synthetic, options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args().nth(1).ok_or("usage: synthetic_report DIR")?;
    let planted = |effect, leak| Planted { effect, leak };
    let findings: Vec<Box<dyn Finding>> = vec![
        Box::new(Synthetic { id: "planted", ..Synthetic::default() }),
        Box::new(Synthetic { id: "absent", planted: planted(0.0, 0.0), ..Synthetic::default() }),
        Box::new(Synthetic { id: "small", planted: planted(0.5, 0.0), ..Synthetic::default() }),
        Box::new(Synthetic { id: "leaking", planted: planted(1.0, 1.0), ..Synthetic::default() }),
        Box::new(Synthetic {
            id: "crashing",
            sabotage: Some(("treated", 3, || panic!("index out of bounds"))),
            without: &["null"],
            ..Synthetic::default()
        }),
    ];
    run(&findings, &options(out.as_ref(), 2), |_| (), |_| ())?;
    println!("{out}/report.html");
    Ok(())
}
