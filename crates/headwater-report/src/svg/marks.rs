//! What tells series apart: colour, marker and dash pattern.

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use super::{Drawn, Plot};

/// Okabe and Ito's colour-blind-safe palette, without the yellow that is too light for white paper.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

/// Dash and gap of the series' lines, `None` for an unbroken one.
const DASHES: [Option<(i32, i32)>; 5] =
    [None, Some((10, 4)), Some((3, 3)), Some((20, 6)), Some((6, 10))];

/// The shapes of [`draw_marker`].
const SHAPES: usize = 8;

/// Series that can be told apart without colour: the numbers of shapes and of dash patterns have no
/// common divisor, so that counting through both meets every pair once.
pub(crate) const MOST_SERIES: usize = SHAPES * DASHES.len();

/// Markers on a line of many points.
const MARKERS_ON_A_LINE: usize = 12;

/// Colour of the series at that place.
pub(super) fn colour(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

/// Shape and dash pattern of the series at that place; no two of [`MOST_SERIES`] share both.
fn style(series: usize) -> (usize, usize) {
    (series % SHAPES, series % DASHES.len())
}

/// The series' line through `points`, in its dash pattern.
pub(super) fn draw_path(chart: &mut Plot<'_, '_>, points: Vec<(f64, f64)>, series: usize) -> Drawn {
    let stroke = colour(series).stroke_width(2);
    match DASHES[style(series).1] {
        None => chart.draw_series([PathElement::new(points, stroke)])?,
        Some((dash, gap)) => {
            chart.draw_series([DashedPathElement::new(points, dash, gap, stroke)])?
        }
    };
    Ok(())
}

/// The same in the legend, between two places in pixels.
pub(super) fn draw_sample(area: &super::Area<'_>, ends: [(i32, i32); 2], series: usize) -> Drawn {
    let stroke = colour(series).stroke_width(2);
    match DASHES[style(series).1] {
        None => area.draw(&PathElement::new(ends, stroke))?,
        Some((dash, gap)) => area.draw(&DashedPathElement::new(ends, dash, gap, stroke))?,
    }
    Ok(())
}

/// The points of a line that get a marker: all of a short one, else some, at other places in each
/// series.
pub(super) fn marked<T: Copy>(points: &[T], series: usize) -> Vec<T> {
    if points.len() <= 2 * MARKERS_ON_A_LINE {
        return points.to_vec();
    }
    let step = points.len().div_ceil(MARKERS_ON_A_LINE);
    points.iter().skip(series * step / SHAPES % step).step_by(step).copied().collect()
}

/// The series' marker. Shape and colour both tell series apart, so that a grey print still reads.
pub(super) fn draw_marker<C: CoordTranslate>(
    area: &DrawingArea<SVGBackend<'_>, C>,
    at: C::From,
    series: usize,
) -> Drawn
where
    C::From: Clone,
{
    let colour = colour(series);
    // Open shapes are white inside, so that a line does not run through them.
    let (filled, line) = (colour.filled(), colour.stroke_width(2));
    let square = [(-4, -4), (4, 4)];
    let at_marker = || EmptyElement::at(at.clone());
    match style(series).0 {
        0 => area.draw(&Circle::new(at, 4, filled))?,
        1 => area.draw(&TriangleMarker::new(at, 6, filled))?,
        2 => area.draw(&Cross::new(at, 4, line))?,
        3 => area.draw(&(at_marker() + Rectangle::new(square, filled)))?,
        4 => {
            area.draw(&(at_marker() + Polygon::new([(0, -6), (6, 0), (0, 6), (-6, 0)], filled)))?
        }
        5 => {
            area.draw(&Circle::new(at.clone(), 4, WHITE.filled()))?;
            area.draw(&Circle::new(at, 4, line))?;
        }
        6 => {
            area.draw(&(at_marker() + PathElement::new([(-5, 0), (5, 0)], line)))?;
            area.draw(&(at_marker() + PathElement::new([(0, -5), (0, 5)], line)))?;
        }
        _ => {
            area.draw(&(at_marker() + Rectangle::new(square, WHITE.filled())))?;
            area.draw(&(at_marker() + Rectangle::new(square, line)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_series_share_both_shape_and_dashes() {
        let styles: HashSet<(usize, usize)> = (0..MOST_SERIES).map(style).collect();
        assert_eq!(styles.len(), MOST_SERIES);
        let shapes: HashSet<usize> = (0..SHAPES).map(|at| style(at).0).collect();
        assert!(shapes.len() >= 8);
        let patterns: HashSet<_> = DASHES.iter().collect();
        assert_eq!(patterns.len(), DASHES.len());
    }

    #[test]
    fn every_shape_is_drawn_otherwise() {
        let drawn = |series: usize| {
            let mut text = String::new();
            {
                let area = SVGBackend::with_string(&mut text, (20, 20)).into_drawing_area();
                draw_marker(&area, (10, 10), series).unwrap();
            }
            text.replace(&format!("{:?}", colour(series)), "")
        };
        // Same colour, other shape: 7 and 8 have no common divisor either.
        let texts: HashSet<String> = (0..SHAPES)
            .map(|shape| {
                let series = (0..56).find(|at| at % 7 == 0 && at % SHAPES == shape).unwrap();
                drawn(series)
            })
            .collect();
        assert_eq!(texts.len(), SHAPES);
    }

    #[test]
    fn a_long_line_has_a_dozen_markers_and_a_short_one_all() {
        let points: Vec<usize> = (0..150).collect();
        assert_eq!(marked(&points[..20], 3).len(), 20);
        let [first, second] = [0, 1].map(|series| marked(&points, series));
        assert!((10..=12).contains(&first.len()) && first != second);
    }
}
