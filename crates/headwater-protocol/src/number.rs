//! Numbers as readers see them. `report.json` has them in full.

/// Three significant digits, without exponents for sizes people write without, a true minus sign.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    let text = if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e6).contains(&size) {
        format!("{value:.2e}")
    } else {
        let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
        let fixed = format!("{value:.decimals$}");
        if fixed.contains('.') {
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            fixed
        }
    };
    minus(text)
}

/// `decimals` digits after the point, a true minus sign.
#[must_use]
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    // A value that rounds to nothing has no sign.
    let is_zero = text.chars().all(|c| matches!(c, '-' | '0' | '.'));
    minus(if is_zero { text.replace('-', "") } else { text })
}

/// `estimate [low, high]` at a common number of decimals: three significant digits of the widest.
#[must_use]
pub fn interval(estimate: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    let Some(estimate) = estimate else { return "–".to_owned() };
    let (Some(low), Some(high)) = (low, high) else {
        return format!("{} [–, –]", short(estimate));
    };
    let size = estimate.abs().max(high - low);
    if size == 0.0 || !(1e-4..1e6).contains(&size) {
        return format!("{} [{}, {}]", short(estimate), short(low), short(high));
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let at = |value| fixed(value, decimals);
    format!("{} [{}, {}]", at(estimate), at(low), at(high))
}

/// A p value: three decimals, `< 0.001` below that, `–` where there is none.
#[must_use]
pub fn p_value(p: Option<f64>) -> String {
    match p {
        None => "–".to_owned(),
        Some(p) if p < 0.001 => "< 0.001".to_owned(),
        Some(p) => fixed(p, 3),
    }
}

/// A duration in the unit a reader would choose.
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn minus(text: String) -> String {
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shown = [0.0, 0.1, -0.012_345, 1234.0, 123_456.7, 1e-7, -0.5].map(short);
        assert_eq!(shown, ["0", "0.1", "−0.0123", "1234", "123457", "1.00e−7", "−0.5"]);
        assert_eq!(fixed(-0.0004, 2), "0.00");
        assert_eq!(interval(Some(0.123_4), Some(-0.02), Some(0.3)), "0.123 [−0.020, 0.300]");
        assert_eq!(interval(Some(0.5), None, None), "0.5 [–, –]");
        assert_eq!([None, Some(0.0004), Some(0.04)].map(p_value), ["–", "< 0.001", "0.040"]);
        assert_eq!([3.21, 90.0, 600.0, 9000.0].map(duration), ["3.2 s", "90 s", "10 min", "2.5 h"]);
    }
}
