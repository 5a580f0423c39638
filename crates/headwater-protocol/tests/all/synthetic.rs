//! A finding whose truth is known: an effect planted in noise, one that is absent, and a control that can
//! be made to appear. Its cells can be told to fail, to panic, or to have no data.
use headwater_protocol::*;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// The planted difference of `treated` against `plain`, in units where a seed's noise has deviation 0.1.
pub(crate) const PLANTED: f64 = 1.0;

/// What to plant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Planted {
    /// Shift of arm `treated`.
    pub(crate) effect: f64,
    /// Shift of arm `control`, which should have none.
    pub(crate) leak: f64,
}

/// What a sabotaged cell does.
pub(crate) type Instead = fn() -> Result<Outcome, CellError>;

/// The finding.
pub(crate) struct Synthetic {
    pub(crate) id: &'static str,
    pub(crate) planted: Planted,
    pub(crate) without: &'static [&'static str],
    /// No arm at all can be run.
    pub(crate) nothing: bool,
    /// Runs in place of the cell of this arm and seed.
    pub(crate) sabotage: Option<(&'static str, u64, Instead)>,
    pub(crate) contrasts: fn() -> Vec<Contrast>,
    /// An arm that the table shows whether it has records or not.
    pub(crate) tabled: Option<&'static str>,
    /// A metric that the table shows for every arm.
    pub(crate) metric: &'static str,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            id: "synthetic",
            planted: Planted { effect: PLANTED, leak: 0.0 },
            without: &[],
            nothing: false,
            sabotage: None,
            contrasts: claimed,
            tabled: None,
            metric: "score",
        }
    }
}

/// `treated` rises by at least half of what is planted; and nothing happens to `null`.
pub(crate) fn claimed() -> Vec<Contrast> {
    vec![
        Contrast {
            name: "score: treated - plain",
            direction: Direction::Increase,
            smallest_effect: 0.5,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed: |seed| seed.difference("score", "treated", "plain"),
        },
        Contrast {
            name: "score: null - plain",
            direction: Direction::Unchanged,
            smallest_effect: 0.5,
            registered: Registered::Before,
            published: None,
            attainable: None,
            per_seed: |seed| seed.difference("score", "null", "plain"),
        },
    ]
}

impl Synthetic {
    pub(crate) fn boxed(self) -> Vec<Box<dyn Finding>> {
        vec![Box::new(self)]
    }
}

impl Finding for Synthetic {
    fn id(&self) -> &'static str {
        self.id
    }

    fn claim(&self) -> &'static str {
        "A planted effect is found, an absent one is not, & markup such as <b>bold</b> stays text."
    }

    fn source(&self) -> &'static str {
        "Planted for the tests of the protocol"
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let reason = "data set y not found: docs/data.md says where it comes from";
        let mut plan = Plan::default();
        if self.nothing {
            let arms = ["base", "plain", "treated", "null", "control"];
            plan.not_run = arms.map(|arm| NotRun::new(arm, reason)).to_vec();
            return Ok(plan);
        }
        for seed in settings.seed_range(5) {
            let base = Cell::new(self.id, "base", seed, &self.planted)?;
            plan.cells.push(base);
            for arm in ["plain", "treated", "null", "control"] {
                if !self.without.contains(&arm) {
                    let cell = Cell::new(self.id, arm, seed, &self.planted)?;
                    plan.cells.push(cell.needing(&["base"]));
                }
            }
        }
        plan.not_run = self.without.iter().map(|&arm| NotRun::new(arm, reason)).collect();
        Ok(plan)
    }

    fn run(&self, cell: &Cell, workbench: &Workbench) -> Result<Outcome, CellError> {
        if let Some((arm, seed, instead)) = self.sabotage
            && arm == cell.arm
            && seed == cell.seed
        {
            return instead();
        }
        let planted: Planted = cell.config()?;
        let normal = |name: &str, at: u64| -> f64 {
            StandardNormal.sample(&mut workbench.streams.stream(name, &[at]))
        };
        if cell.arm == "base" {
            let base = normal("base", 0);
            let metrics = Metrics::new().scalar("level", base);
            return Ok(Outcome::with_artifact(metrics, base.to_le_bytes().to_vec()));
        }
        // What the arms share cancels in the paired difference; what they do not is noise.
        let base = f64::from_le_bytes(workbench.artifact("base")?.try_into()?);
        let shift = match cell.arm.as_str() {
            "treated" => planted.effect,
            "control" => planted.leak,
            _ => 0.0,
        };
        let score = base + shift + 0.1 * normal(&cell.arm, 0);
        let curve =
            |at: u64| shift * (1.0 - (-(at as f64) / 4.0).exp()) + 0.2 * normal("curve", at);
        let curve = (0..16).map(curve).collect();
        Ok(Metrics::new().scalar("score", score).series("curve", curve).into())
    }

    fn contrasts(&self) -> Vec<Contrast> {
        (self.contrasts)()
    }

    fn controls(&self) -> Vec<Control> {
        vec![Control {
            name: "score: control - plain",
            margin: 0.3,
            per_seed: |seed| seed.difference("score", "control", "plain"),
        }]
    }

    fn figures(&self, records: &Records) -> Result<Vec<Figure>, ProtocolError> {
        let n = records.seeds().len();
        let arms: Vec<&str> = records.arms().into_iter().filter(|arm| *arm != "base").collect();
        let mut lines = Figure::lines("Score over training <steps>", "step", "score", n)
            .x_scale(Scale::Log2)
            .reference("planted effect", self.planted.effect)
            .caption("The treated arm rises towards the planted effect & stays there.");
        let mut effects = Vec::new();
        for &arm in &arms {
            let curve = records.series_effect(arm, "curve")?;
            let at = |(step, effect)| Point::measured((step + 1) as f64, effect);
            lines = lines.series(arm, curve.iter().enumerate().filter_map(at));
            effects.push(records.effect(arm, "score")?);
        }
        let dots = Figure::dots("Final score", arms.clone(), "score", n)
            .part("Where it ends")
            .by_category("score", effects.clone())
            .reference("none", 0.0);
        let bars = Figure::bars("Final score as bars", arms, "score", n)
            .by_category("score", effects.clone())
            .by_category("the same again", effects);
        Ok(vec![lines, dots, bars])
    }

    fn tables(&self, records: &Records) -> Result<Vec<Table>, ProtocolError> {
        let mut table = Table::new("Scores", ["Arm", "Score", "Seeds", "Again"]);
        let arms = records.arms().into_iter().filter(|arm| *arm != "base");
        for arm in arms.chain(self.tabled) {
            let effect = records.effect(arm, "score")?;
            let seeds = TableValue::Number(effect.n as f64, 0);
            table = table.row([arm.into(), effect.into(), seeds, records.value(arm, self.metric)]);
        }
        Ok(vec![table.part("Where it ends").note("Mean over seeds.")])
    }

    fn differs(&self) -> &'static [&'static str] {
        &["There is no paper: the effect is planted.", "Noise is <normal> by construction."]
    }
}

/// The code version of [`options`].
pub(crate) const CODE: &str = "0123456789abcdef";

/// Options over `out` with `jobs` workers.
pub(crate) fn options(out: &std::path::Path, jobs: u8) -> RunOptions {
    RunOptions {
        settings: Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex },
        only: vec![],
        jobs: usize::from(jobs).try_into().expect("at least one job"),
        build: Build {
            code_version: CODE.to_owned(),
            compiler: "rustc 1.95.0".to_owned(),
            instructions: "AVX2".to_owned(),
        },
        out: out.to_owned(),
    }
}
