//! An effect beside what matters: a row of a forest plot.

use maud::{Markup, html};

/// Half of the drawing's width, and units of the smallest effect that it shows to either side.
const MIDDLE: f64 = 75.0;
const UNITS: f64 = 3.0;

/// Of lines to compare with, and of what is measured: attributes, which every viewer draws.
const SOFT: &str = "#59636e";
const INK: &str = "#1c2126";
const DASHES: Option<&str> = Some("1.5 2.5");

/// Where a value stands; what is beyond the drawing stands at its edge.
fn place(value: f64, unit: f64) -> f64 {
    MIDDLE + (value / unit).clamp(-UNITS, UNITS) * (MIDDLE - 5.0) / UNITS
}

/// Effect and interval in units of the smallest effect that matters, with lines at 0 and at that
/// effect to either side. Nothing where there is no effect or no unit.
pub(super) fn forest(
    effect: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    unit: f64,
) -> Markup {
    let Some(effect) = effect.filter(|_| unit > 0.0 && unit.is_finite()) else {
        return html! { "–" };
    };
    let at = |value: f64| format!("{:.1}", place(value, unit));
    let is_beyond = |value: f64| (value / unit).abs() > UNITS;
    html! {
        svg.forest viewBox="0 0 150 18" width="150" height="18" aria-hidden="true" {
            @for (line, dashes) in [(-unit, DASHES), (0.0, None), (unit, DASHES)] {
                @let x = at(line);
                line stroke=(SOFT) stroke-dasharray=[dashes] x1=(x) x2=(x) y1="1" y2="17" {}
            }
            @if let (Some(low), Some(high)) = (low, high) {
                line stroke=(INK) stroke-width="1.6" x1=(at(low)) x2=(at(high)) y1="9" y2="9" {}
                @for end in [low, high] {
                    @if is_beyond(end) {
                        @let x = place(end, unit);
                        @let back = x - 5.0 * end.signum();
                        @let tip = format!("M{back:.1} 5 L{x:.1} 9 L{back:.1} 13");
                        path stroke=(INK) stroke-width="1.6" fill="none" d=(tip) {}
                    }
                }
            }
            circle fill=(INK) cx=(at(effect)) cy="9" r="3.5" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_stands_in_units_of_what_matters_and_beyond_the_edge_is_an_arrow() {
        let drawn = forest(Some(0.05), Some(-0.1), Some(0.4), 0.1).into_string();
        assert!(drawn.contains("cx=\"86.7\""), "half a unit right of the middle: {drawn}");
        assert!(drawn.contains("x1=\"51.7\" x2=\"145.0\""), "{drawn}");
        assert_eq!(drawn.matches("<path").count(), 1);
        assert_eq!(forest(Some(1.0), None, None, 0.0).into_string(), "–");
        assert_eq!(forest(None, None, None, 1.0).into_string(), "–");
        assert!(!forest(Some(1.0), None, None, 1.0).into_string().contains("1.6"));
    }
}
