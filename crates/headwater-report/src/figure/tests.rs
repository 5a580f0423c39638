//! Where curves stand, who is named, what is counted.

use super::*;
use crate::Point;
use headwater_evaluation::Interval;
use headwater_protocol::{Metrics, Scalar};

const QUALITY: Scalar = Scalar::new("quality");
const PATH: Series = Series::new("path");
const STEP: Series = Series::new("step");
const A: Arm = Arm::new("a");
const B: Arm = Arm::new("b");

/// `a` at five seeds, `b` at three of them; paths of three values, looked at after 10 and 20 steps.
fn records() -> Records {
    let cells = |arm: Arm, seeds: u64| {
        (0..seeds).map(move |seed| {
            let x = seed as f64;
            let metrics = Metrics::new().scalar(&QUALITY, x).series(&PATH, [x, x + 1.0]);
            (arm.clone(), seed, metrics.series(&STEP, [0.0, 10.0, 20.0]))
        })
    };
    Records::new(cells(A, 5).chain(cells(B, 3)))
}

fn xs(chart: &Chart) -> Vec<f64> {
    chart.series[0].points.iter().map(|point| point.x).collect()
}

#[test]
fn a_curve_stands_over_places_positions_or_the_last_of_another_series() {
    let lines = || Figure::lines("T", "x", "y");
    let drawn = |along: &Along| xs(&lines().curves(&PATH, along, [A]).chart(&records()).unwrap());
    assert_eq!(drawn(&Along::steps()), [0.0, 1.0]);
    assert_eq!(drawn(&Along::Index { first: 5.0, step: 2.5 }), [5.0, 7.5]);
    assert_eq!(drawn(&Along::counts([1, 4, 16])), [1.0, 4.0]);
    assert_eq!(drawn(&Along::Series(STEP)), [10.0, 20.0]);
    assert_eq!(drawn(&Along::SeriesIn(STEP, 1000.0)), [0.01, 0.02]);
    let every = lines().thinned_curve("a", &STEP, &Along::steps(), A, 2);
    assert_eq!(xs(&every.chart(&records()).unwrap()), [0.0, 2.0]);
}

#[test]
fn points_are_joined_in_the_order_of_x_and_constants_have_no_interval() {
    let figure = Figure::lines("T", "x", "y")
        .points("measured", [(2.0, QUALITY.of(A)), (1.0, QUALITY.of(B))])
        .points("over", [(QUALITY.of(A), PATH.last(A))])
        .points("given", [(0.0, 0.0), (1.0, 1.0)]);
    let chart = figure.chart(&records()).unwrap();
    assert_eq!(xs(&chart), [1.0, 2.0]);
    let [measured, over, given] = &chart.series[..] else { panic!("three series") };
    assert_eq!((measured.points[0].n, measured.points[1].n), (Some(3), Some(5)));
    assert_eq!((over.points[0].x, over.points[0].y), (2.0, 3.0));
    assert!(given.points.iter().all(|point| point.interval.is_none() && point.n.is_none()));
    assert_eq!((chart.seeds(), chart.with_fewer().len()), ((3, 5), 0));
}

#[test]
fn x_is_put_through_a_function_after_its_mean_is_taken() {
    let points = [((QUALITY.of(A) + 1.0).ln(), 2.0)];
    let figure = Figure::lines("T", "x", "y").placed_points("a", points, f64::exp);
    let found = xs(&figure.chart(&records()).unwrap());
    assert!((found[0] - 120f64.powf(0.2)).abs() < 1e-12, "the geometric mean of 1 to 5");
}

#[test]
fn a_series_without_intervals_has_the_means() {
    let curve = |label, figure: Figure| figure.curve(label, &PATH, &Along::steps(), A);
    let lines = Figure::lines("T", "x", "y");
    let figure = curve("a fit", curve("measured", lines)).without_intervals();
    let chart = figure.chart(&records()).unwrap();
    assert!(chart.series[0].points.iter().all(|point| point.interval.is_some()));
    assert_eq!(chart.series[1].points, [Point::bare(0.0, 2.0), Point::bare(1.0, 3.0)]);
}

#[test]
fn who_has_fewer_seeds_or_no_record_is_named() {
    let along = Along::steps();
    let figure = Figure::lines("T", "x", "y").caption("Why.").curves(&PATH, &along, [A, B]);
    let chart = figure.clone().curve("gone", &PATH, &along, "c").chart(&records()).unwrap();
    assert_eq!((chart.series.len(), chart.caption.as_str()), (2, "Why. Not run: gone."));
    assert_eq!(chart.with_fewer(), ["b"]);
    let nothing = Figure::lines("T", "x", "y").curve("gone", &PATH, &along, "c");
    let error = nothing.chart(&records()).unwrap_err().to_string();
    assert_eq!(error, "arm `c` has no record at seed 0");
    let wrong = figure.curve("wrong", &Series::new("pat"), &along, A);
    assert!(wrong.chart(&records()).unwrap_err().to_string().contains("no series `pat`"));
}

#[test]
fn constants_alone_are_no_figure() {
    let figure = Figure::lines("T", "x", "y")
        .points("measured", [(1.0, QUALITY.of("gone"))])
        .points("given", [(0.0, 0.0), (1.0, 1.0)]);
    assert!(figure.chart(&records()).is_err());
}

#[test]
fn a_computed_curve_is_computed_seed_by_seed() {
    let figure = Figure::lines("T", "x", "y").computed_curve(
        "product",
        &Along::Series(STEP),
        [PATH.read(A), QUALITY.read(A)],
        |read| Ok(read[0].iter().map(|value| value * read[1][0]).collect()),
    );
    let chart = figure.chart(&records()).unwrap();
    // x * x and x * (x + 1) for x from 0 to 4.
    let ys: Vec<f64> = chart.series[0].points.iter().map(|point| point.y).collect();
    assert_eq!((ys, xs(&chart)), (vec![6.0, 8.0], vec![10.0, 20.0]));
    assert_eq!(figure.reads().len(), 3, "the series it stands over is read as well");
}

#[test]
fn a_distribution_has_a_point_for_every_seed() {
    let figure = Figure::dots("T", ["a", "b"], "v").by_seed("seeds", [A, B].map(|a| QUALITY.of(a)));
    let chart = figure.chart(&records()).unwrap();
    assert_eq!(xs(&chart), [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    assert!(chart.series[0].points.iter().all(|point| point.interval.is_none()));
    assert_eq!(chart.seeds(), (3, 5));
}

#[test]
fn references_are_numbers_or_means() {
    let figure = Figure::dots("T", ["a", "b"], "v")
        .by_category("s", [QUALITY.of(A), QUALITY.of(B)])
        .reference("mean", QUALITY.of(A))
        .reference("gone", QUALITY.of("c"))
        .reference("chance", 0.5);
    let chart = figure.chart(&records()).unwrap();
    let values: Vec<f64> = chart.references.iter().map(|reference| reference.value).collect();
    assert_eq!(values, [2.0, 0.5]);
    assert_eq!(figure.reads().len(), 3);
}

#[test]
fn what_no_record_has_may_be_left_out_and_an_estimate_may_have_no_interval() {
    const SHARE: Estimate = Estimate::new("share");
    let figure = Figure::lines("T", "x", "y").curve("there", &PATH, &Along::steps(), A).curve(
        "not there",
        &Series::new("rare"),
        &Along::steps(),
        A,
    );
    assert!(figure.chart(&records()).is_err());
    assert_eq!(figure.if_recorded().chart(&records()).unwrap().series.len(), 1);

    let (low, high) = (0.4, 0.7);
    let interval = Interval { estimate: 0.5, low, high, level: 0.95, n: 40 };
    let metrics = Metrics::new().estimate(&SHARE, &interval).scalar(&Scalar::new("bare"), 0.2);
    let records = Records::new([(A, 0, metrics)]);
    let figure = Figure::dots("T", ["share", "bare"], "v");
    let figure = figure.by_estimate("items", &A, [SHARE, Estimate::new("bare")]);
    let chart = figure.chart(&records).unwrap();
    let [share, bare] = chart.series[0].points[..] else { panic!("two points") };
    assert_eq!((share.y, share.interval, share.n), (0.5, Some((low, high)), None));
    assert_eq!((bare.x, bare.y, bare.interval), (1.0, 0.2, None));
    let missing = Figure::dots("T", ["x"], "v").by_estimate("items", &A, [Estimate::new("x")]);
    assert!(missing.chart(&records).is_err());
}
