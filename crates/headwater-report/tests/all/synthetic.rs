//! A finding whose truth is known: an effect planted in noise, one that is absent, and a control
//! that can be made to appear. Its cells can be told to fail, to panic, or to have no data.
use headwater_protocol::*;
use headwater_report::{Along, Chapter, Figure, LabelledArm, Part, Scale, Table, Value};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

pub(crate) const BASE: Arm = Arm::new("base");
pub(crate) const PLAIN: Arm = Arm::new("plain");
pub(crate) const TREATED: Arm = Arm::new("treated");
pub(crate) const NULL: Arm = Arm::new("null");
pub(crate) const CONTROL: Arm = Arm::new("control");
/// The arms that start from the base.
const ARMS: [Arm; 4] = [PLAIN, TREATED, NULL, CONTROL];
pub(crate) const SCORE: Scalar = Scalar::new("score");
/// What every arm declares and only the base records.
pub(crate) const LEVEL: Scalar = Scalar::new("level");
const CURVE: Series = Series::new("curve");

/// The planted difference of `treated` against `plain`, in units where a seed's noise has deviation
/// 0.1.
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
pub(crate) type Instead = fn() -> Result<CellOutcome, CellError>;

/// The finding, and its experiment.
#[derive(Clone)]
pub(crate) struct Synthetic {
    pub(crate) id: &'static str,
    pub(crate) planted: Planted,
    pub(crate) without: Vec<Arm>,
    /// No arm at all can be run.
    pub(crate) nothing: bool,
    /// Runs in place of the cell of this arm and seed.
    pub(crate) sabotage: Option<(Arm, u64, Instead)>,
    pub(crate) contrasts: fn() -> Vec<Contrast>,
    /// A metric that the table shows for every arm, beside the score.
    pub(crate) metric: Scalar,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self {
            id: "synthetic",
            planted: Planted { effect: PLANTED, leak: 0.0 },
            without: vec![],
            nothing: false,
            sabotage: None,
            contrasts: claimed,
            metric: SCORE,
        }
    }
}

/// `treated` rises by at least half of what is planted; and nothing happens to `null`.
pub(crate) fn claimed() -> Vec<Contrast> {
    vec![
        Contrast::increase("score: treated - plain", SCORE.difference(TREATED, PLAIN), 0.5)
            .registered(Registered::Before),
        Contrast::unchanged("score: null - plain", SCORE.difference(NULL, PLAIN), 0.5)
            .registered(Registered::Before),
    ]
}

impl Synthetic {
    /// The one chapter of a build.
    pub(crate) fn chapters(self) -> Vec<Chapter> {
        vec![self.chapter()]
    }

    /// The finding as it is shown; each of its contrasts is a claim.
    pub(crate) fn chapter(self) -> Chapter {
        const IDS: [&str; 2] = ["synthetic/rises", "synthetic/stays"];
        let control =
            || Control::new("score: control - plain", SCORE.difference(CONTROL, PLAIN), 0.3);
        let claims = (self.contrasts)().into_iter().zip(IDS).map(|(contrast, id)| Claim {
            id,
            sentence: "It is so.",
            contrasts: vec![contrast],
            controls: vec![control()],
        });
        let finding = Finding {
            id: self.id,
            claim: "A planted effect is found, an absent one is not, & markup such as <b>bold</b> stays text.",
            source: "Planted for the tests of the protocol",
            claims: claims.collect(),
            experiments: vec![Box::new(self.clone())],
            further: vec![],
            controls: vec![],
        };
        let differs =
            &["There is no paper: the effect is planted.", "Noise is <normal> by construction."];
        Chapter { finding, differs, parts: self.parts() }
    }

    fn parts(&self) -> Vec<Part> {
        let lines = Figure::lines("Score over training <steps>", "step", "score")
            .x_scale(Scale::Log2)
            .reference("planted effect", self.planted.effect)
            .caption("The treated arm rises towards the planted effect & stays there.")
            .curves(&CURVE, &Along::Index { first: 1.0, step: 1.0 }, ARMS);
        let scores = || ARMS.map(|arm| SCORE.of(arm));
        let names = || ARMS.map(|arm| arm.to_string());
        let bars = Figure::bars("Final score as bars", names(), "score")
            .by_category("score", scores())
            .by_category("the same again", scores());
        let dots = Figure::dots("Final score", names(), "score")
            .by_category("score", scores())
            .reference("none", 0.0);
        let mut table = Table::new("Scores", ["Arm", "Score", "Again"]).note("Mean over seeds.");
        for LabelledArm { label, arm } in ARMS.map(LabelledArm::from) {
            let values = [SCORE.of(&arm).into(), self.metric.of(&arm).into()];
            table = table.row([Value::from(label)].into_iter().chain(values));
        }
        vec![
            Part::new("").figures([lines, bars]),
            Part::new("Where it ends").figure(dots).table(table),
        ]
    }
}

impl Experiment for Synthetic {
    fn id(&self) -> &'static str {
        self.id
    }

    fn metrics(&self) -> Vec<Metric> {
        metrics![SCORE, LEVEL, CURVE]
    }

    fn plan(&self, settings: &Settings) -> Result<Plan, ProtocolError> {
        let reason = "data set y not found: docs/data.md says where it comes from";
        if self.nothing {
            return Ok(Plan::not_run([BASE].into_iter().chain(ARMS), reason));
        }
        let mut planned = vec![ArmPlan::new(BASE, &self.planted)?];
        for arm in ARMS.into_iter().filter(|arm| !self.without.contains(arm)) {
            planned.push(ArmPlan::new(arm, &self.planted)?.needing([BASE]));
        }
        let Plan { not_run, .. } = Plan::not_run(self.without.iter().cloned(), reason);
        Ok(Plan { not_run, ..Plan::of(settings.seed_range(5), planned) })
    }

    fn run(&self, cell: &Cell, context: &CellContext) -> Result<CellOutcome, CellError> {
        if let Some((arm, seed, instead)) = &self.sabotage
            && *arm == cell.arm
            && *seed == cell.seed
        {
            return instead();
        }
        let planted: Planted = cell.config()?;
        let normal = |name: &str, at: u64| -> f64 {
            StandardNormal.sample(&mut context.streams.stream(name, &[at]))
        };
        if cell.arm == BASE {
            let base = normal("base", 0);
            let metrics = Metrics::new().scalar(&LEVEL, base);
            return Ok(CellOutcome::with_artifact(metrics, base.to_le_bytes().to_vec()));
        }
        // What the arms share cancels in the paired difference; what they do not is noise.
        let base = f64::from_le_bytes(context.artifact(&BASE)?.try_into()?);
        let shift = match &cell.arm {
            arm if *arm == TREATED => planted.effect,
            arm if *arm == CONTROL => planted.leak,
            _ => 0.0,
        };
        let score = base + shift + 0.1 * normal(cell.arm.name(), 0);
        let curve =
            |at: u64| shift * (1.0 - (-(at as f64) / 4.0).exp()) + 0.2 * normal("curve", at);
        let curve: Vec<f64> = (0..16).map(curve).collect();
        Ok(Metrics::new().scalar(&SCORE, score).series(&CURVE, curve).into())
    }
}

/// The code of [`options`].
pub(crate) const CODE: &str = "0123456789abcdef";

/// Options over `out` with `jobs` workers.
pub(crate) fn options(out: &std::path::Path, jobs: u8) -> RunOptions {
    RunOptions {
        settings: Settings { preset: Preset::Quick, seeds: None, device: DeviceKind::Flex },
        only: vec![],
        jobs: usize::from(jobs).try_into().expect("at least one job"),
        build: Build {
            code: Code { workspace: CODE.to_owned(), ..Code::default() },
            compiler: "rustc 1.95.0".to_owned(),
            instructions: "AVX2".to_owned(),
        },
        out: out.to_owned(),
    }
}
