//! Draws a [`Chart`] as SVG, 720 wide: legend above the data, intervals as bands or whiskers.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use headwater_protocol::number::{fixed, short};

use crate::chart::{Kind, Reference, Series};
use crate::{Chart, Point, ReportError, Scale};

pub(crate) mod marks;

use marks::{colour, draw_marker, draw_path, draw_sample, marked};

const WIDTH: u32 = 720;
const TEXT_SIZE: i32 = 15;
/// Width of an average letter at [`TEXT_SIZE`]: no font is measured, so that output is the same
/// everywhere.
const LETTER: f64 = 7.6;
const ROW: i32 = 24;

const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(226, 226, 226);
/// Dash and gap of the reference lines, by turns.
const REFERENCE_DASHES: [(i32, i32); 3] = [(7, 5), (2, 4), (12, 4)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The figure as an `<svg>` element.
///
/// # Errors
/// When there is nothing to draw, or a scale cannot show it.
pub fn render(figure: &Chart) -> Result<String, ReportError> {
    figure.check()?;
    let figure = &within_range(figure.clone());
    let legend = legend_layout(figure);
    let legend_height = legend.last().map_or(8, |item| item.y + ROW);
    let plot_height = match &figure.kind {
        Kind::Lines { .. } => 380,
        Kind::Categories { names, .. } => 70 + (names.len() as i32) * row_height(figure),
    };
    let size = (WIDTH, (legend_height + plot_height) as u32);
    let mut text = String::new();
    draw(figure, &legend, legend_height, SVGBackend::with_string(&mut text, size)).map_err(
        |error| ReportError::Figure { figure: figure.title.clone(), reason: error.to_string() },
    )?;
    // The size becomes the page's business; what the figure shows becomes its name for screen
    // readers.
    let fixed_size = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    let label = figure.title.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    Ok(text.replacen(&fixed_size, &format!("<svg role=\"img\" aria-label=\"{label}\""), 1))
}

/// With a fixed range of values, what reaches beyond it is cut at its edge.
fn within_range(mut figure: Chart) -> Chart {
    if let Some((low, high)) = figure.value_range {
        for point in figure.series.iter_mut().flat_map(|series| &mut series.points) {
            point.y = point.y.clamp(low, high);
            point.interval = point.interval.map(|(a, b)| (a.clamp(low, high), b.clamp(low, high)));
        }
    }
    figure
}

/// A linear axis whose ticks and their texts are given.
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    fn new((low, high): (f64, f64), ticks: Vec<f64>, text: impl Fn(f64) -> String) -> Self {
        Self { low, high, ticks: ticks.into_iter().map(|at| (at, text(at))).collect() }
    }

    /// Round numbers at a readable distance.
    fn plain(ends: (f64, f64), count: f64) -> Self {
        let at = ticks(ends, count);
        let step = at.windows(2).map(|pair| pair[1] - pair[0]).next().unwrap_or(1.0);
        Self::new(ends, at, |value| tick_text(value, step))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == value);
        tick.map(|(_, text)| text.clone()).unwrap_or_default()
    }
}

fn row_height(figure: &Chart) -> i32 {
    16 + 16 * figure.series.len().max(1) as i32
}

fn draw(
    figure: &Chart,
    legend: &[LegendItem],
    legend_height: i32,
    backend: SVGBackend<'_>,
) -> Drawn {
    let root = backend.into_drawing_area();
    let (top, plot) = root.split_vertically(legend_height);
    draw_legend(&top, figure, legend)?;
    match &figure.kind {
        Kind::Lines { x_label, x_scale } => draw_lines(&plot, figure, x_label, *x_scale)?,
        Kind::Categories { names, bars } => draw_categories(&plot, figure, names, *bars)?,
    }
    root.present()?;
    Ok(())
}

fn draw_lines(plot: &Area<'_>, figure: &Chart, x_label: &str, scale: Scale) -> Drawn {
    let position = |x: f64| match scale {
        Scale::Linear => x,
        Scale::Log2 => x.log2(),
        Scale::Log10 => x.log10(),
    };
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let x_ends = padded(points().map(|point| position(point.x)), 0.03);
    let y_ends = value_ends(figure);
    let x_axis = match scale {
        Scale::Linear => Axis::plain(x_ends, 8.0),
        Scale::Log2 => Axis::new(x_ends, whole_ticks(x_ends), |at| short(at.exp2())),
        Scale::Log10 => Axis::new(x_ends, whole_ticks(x_ends), |at| short(10f64.powf(at))),
    };
    let mut chart: Plot<'_, '_> = ChartBuilder::on(plot)
        .margin(6)
        .margin_right(16)
        .x_label_area_size(52)
        .y_label_area_size(72)
        .build_cartesian_2d(x_axis, Axis::plain(y_ends, 7.0))?;
    draw_mesh(&mut chart, x_label, &figure.value_label)?;
    for (at, reference) in shown_references(figure) {
        let (dash, gap) = REFERENCE_DASHES[at % REFERENCE_DASHES.len()];
        let ends = [(x_ends.0, reference.value), (x_ends.1, reference.value)];
        chart.draw_series([DashedPathElement::new(ends, dash, gap, INK.stroke_width(1))])?;
    }
    let placed: Vec<Vec<(f64, &Point)>> =
        figure.series.iter().map(|series| placed(series, position)).collect();
    // All bands before all lines: no interval hides another series' values.
    for (at, series) in placed.iter().enumerate() {
        draw_band(&mut chart, at, series)?;
    }
    for (at, series) in placed.iter().enumerate() {
        draw_line(&mut chart, at, series)?;
    }
    Ok(())
}

fn draw_mesh(chart: &mut Plot<'_, '_>, x_label: &str, y_label: &str) -> Drawn {
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(text_style())
        .axis_desc_style(text_style())
        .x_desc(x_label)
        .y_desc(y_label)
        .draw()?;
    Ok(())
}

/// Positions of a series and its points.
fn placed(series: &Series, position: impl Fn(f64) -> f64) -> Vec<(f64, &Point)> {
    series.points.iter().map(|point| (position(point.x), point)).collect()
}

fn ends(point: &Point) -> (f64, f64) {
    point.interval.unwrap_or((point.y, point.y))
}

/// The interval of a series as a band, or as a whisker where there is one point only.
fn draw_band(chart: &mut Plot<'_, '_>, at: usize, placed: &[(f64, &Point)]) -> Drawn {
    if placed.iter().all(|(_, point)| point.interval.is_none()) {
        return Ok(());
    }
    if let [(x, point)] = placed {
        let whisker = vec![(*x, ends(point).0), (*x, ends(point).1)];
        chart.draw_series([PathElement::new(whisker, colour(at).stroke_width(2))])?;
        return Ok(());
    }
    let upper = placed.iter().map(|(x, point)| (*x, ends(point).1));
    let lower = placed.iter().rev().map(|(x, point)| (*x, ends(point).0));
    let band: Vec<(f64, f64)> = upper.chain(lower).collect();
    chart.draw_series([Polygon::new(band, colour(at).mix(0.16).filled())])?;
    Ok(())
}

fn draw_line(chart: &mut Plot<'_, '_>, at: usize, placed: &[(f64, &Point)]) -> Drawn {
    let line: Vec<(f64, f64)> = placed.iter().map(|(x, point)| (*x, point.y)).collect();
    let markers = marked(&line, at);
    draw_path(chart, line, at)?;
    for marker in markers {
        draw_marker(chart.plotting_area(), marker, at)?;
    }
    Ok(())
}

fn draw_categories(plot: &Area<'_>, figure: &Chart, names: &[String], bars: bool) -> Drawn {
    let ends = match (bars, value_ends(figure)) {
        (true, (low, high)) => (low.min(0.0), high.max(0.0)),
        (false, ends) => ends,
    };
    let shown: Vec<String> = names.iter().map(|name| clipped(name, 38)).collect();
    let widest = shown.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let last = names.len() as f64 - 1.0;
    let rows = (0..names.len()).map(|at| at as f64).collect();
    // The first category is the top row.
    let name_at = |row: f64| shown[(last - row) as usize].clone();
    let mut chart: Plot<'_, '_> = ChartBuilder::on(plot)
        .margin(6)
        .margin_right(20)
        .x_label_area_size(52)
        .y_label_area_size((widest as f64 * LETTER) as i32 + 16)
        .build_cartesian_2d(Axis::plain(ends, 8.0), Axis::new((-0.5, last + 0.5), rows, name_at))?;
    draw_mesh(&mut chart, &figure.value_label, "")?;
    for (at, reference) in shown_references(figure) {
        let (dash, gap) = REFERENCE_DASHES[at % REFERENCE_DASHES.len()];
        let line = [(reference.value, -0.5), (reference.value, last + 0.5)];
        chart.draw_series([DashedPathElement::new(line, dash, gap, INK.stroke_width(1))])?;
    }
    let lane = 0.72 / figure.series.len() as f64;
    for (at, series) in figure.series.iter().enumerate() {
        let colour = colour(at);
        let offset = 0.36 - lane * (at as f64 + 0.5);
        for point in &series.points {
            let row = last - point.x + offset;
            if bars {
                let corners = [(0.0, row - 0.4 * lane), (point.y, row + 0.4 * lane)];
                chart.draw_series([Rectangle::new(corners, colour.mix(0.55).filled())])?;
            }
            if let Some((low, high)) = point.interval {
                let whisker = vec![(low, row), (high, row)];
                chart.draw_series([PathElement::new(whisker, colour.stroke_width(2))])?;
            }
            draw_marker(chart.plotting_area(), (point.y, row), at)?;
        }
    }
    Ok(())
}

struct LegendItem {
    x: i32,
    y: i32,
    text: String,
}

/// Series first, then reference lines, flowing over as many rows as they take.
fn legend_layout(figure: &Chart) -> Vec<LegendItem> {
    let labels = figure.series.iter().map(|series| &series.label);
    let labels = labels.chain(figure.references.iter().map(|reference| &reference.label));
    let (mut x, mut y) = (12, 6);
    let mut items = Vec::new();
    for label in labels {
        let text = clipped(label, 76);
        let width = 46 + (text.chars().count() as f64 * LETTER) as i32 + 18;
        if x > 12 && x + width > WIDTH as i32 {
            (x, y) = (12, y + ROW);
        }
        items.push(LegendItem { x, y, text });
        x += width;
    }
    items
}

fn draw_legend(area: &Area<'_>, figure: &Chart, items: &[LegendItem]) -> Drawn {
    let middle = Pos::new(HPos::Left, VPos::Center);
    for (at, item) in items.iter().enumerate() {
        let y = item.y + ROW / 2;
        let ends = [(item.x, y), (item.x + 34, y)];
        if at < figure.series.len() {
            match figure.kind {
                Kind::Lines { .. } => draw_sample(area, ends, at)?,
                // Whiskers and bars have no dashes.
                Kind::Categories { .. } => {
                    area.draw(&PathElement::new(ends, colour(at).stroke_width(2)))?;
                }
            }
            draw_marker(area, (item.x + 17, y), at)?;
        } else {
            let (dash, gap) = REFERENCE_DASHES[(at - figure.series.len()) % REFERENCE_DASHES.len()];
            area.draw(&DashedPathElement::new(ends, dash, gap, INK.stroke_width(1)))?;
        }
        let style = text_style().pos(middle);
        area.draw(&Text::new(item.text.clone(), (item.x + 42, y), style))?;
    }
    Ok(())
}

fn text_style() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", TEXT_SIZE).into_font()).color(&INK)
}

fn clipped(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters - 1).chain(['…']).collect()
}

/// The reference lines that lie within the values shown, with their places in the legend.
fn shown_references(figure: &Chart) -> impl Iterator<Item = (usize, &Reference)> {
    let (low, high) = value_ends(figure);
    let shown = move |value: f64| low <= value && value <= high;
    figure.references.iter().enumerate().filter(move |(_, reference)| shown(reference.value))
}

/// The range of values to show: the fixed one, or that of points, intervals and references.
fn value_ends(figure: &Chart) -> (f64, f64) {
    if let Some(ends) = figure.value_range {
        return ends;
    }
    let points = figure.series.iter().flat_map(|series| &series.points);
    let values = points.flat_map(|point| {
        let (low, high) = point.interval.unwrap_or((point.y, point.y));
        [point.y, low, high]
    });
    padded(values.chain(figure.references.iter().map(|reference| reference.value)), 0.05)
}

fn padded(values: impl Iterator<Item = f64>, share: f64) -> (f64, f64) {
    let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    let width = high - low;
    // A single value still needs an axis with some width.
    let pad = if width > 0.0 { share * width } else { low.abs().max(1.0) * 0.1 };
    (low - pad, high + pad)
}

/// Round numbers, at most about `count`, in steps of 1, 2 or 5 times a power of ten.
fn ticks((low, high): (f64, f64), count: f64) -> Vec<f64> {
    let rough = (high - low) / count;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|at| at as f64 * step).collect()
}

/// Whole exponents, thinned to at most about twelve.
fn whole_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let (first, last) = (low.ceil() as i64, high.floor() as i64);
    let every = ((last - first) / 12 + 1).max(1) as usize;
    (first..=last).step_by(every).map(|at| at as f64).collect()
}

fn tick_text(value: f64, step: f64) -> String {
    if value.abs() >= 1e6 || step < 1e-5 {
        return short(value);
    }
    // The slack is for steps such as 0.1, whose logarithm is a hair off a whole number.
    fixed(value, (-(step.log10() + 1e-9).floor()).max(0.0) as usize)
}

#[cfg(test)]
mod tests;
