//! What is drawn, what is refused.

use super::marks::MOST_SERIES;
use super::*;

fn line() -> Chart {
    let points =
        [1.0, 2.0, 4.0].map(|x| Point { x, y: x, interval: Some((x - 0.5, x + 0.5)), n: None });
    Chart::lines("T", "x", "y").series("s", points)
}

fn refused(figure: Chart) -> String {
    render(&figure).unwrap_err().to_string()
}

#[test]
fn texts_are_escaped_and_the_figure_has_a_name() {
    let figure = Chart::lines("<T & \"U\">", "<x>", "y & z")
        .series("<s>", [Point::bare(0.0, 1.0), Point::bare(1.0, 2.0)])
        .reference("<r>", 1.5);
    let svg = render(&figure).unwrap();
    assert!(svg.starts_with("<svg role=\"img\" aria-label=\"&lt;T &amp; &quot;U&quot;>\" viewBox"));
    for raw in ["<x>", "<s>", "<r>", "y & z"] {
        assert!(!svg.contains(raw), "{raw}");
    }
    for escaped in ["&lt;x&gt;", "&lt;s&gt;", "&lt;r&gt;", "y &amp; z"] {
        assert!(svg.contains(escaped), "{escaped}");
    }
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_point_named() {
    assert_eq!(refused(Chart::lines("T", "x", "y")), "figure `T`: it has no points");
    let nan = line().series("bad", [Point::bare(1.0, f64::NAN)]);
    assert!(refused(nan).contains("point 0 of `bad` is not finite"));
    let zero = line().x_scale(Scale::Log2).series("bad", [Point::bare(0.0, 1.0)]);
    assert!(refused(zero).contains("point 0 of `bad` has x = 0 on a log scale"));
    let beyond = Chart::dots("T", ["a"], "v").series("s", [Point::bare(1.0, 1.0)]);
    assert!(refused(beyond).contains("index 1, there are 1 categories"));
    assert!(refused(line().value_range(1.0, 1.0)).contains("low < high"));
}

#[test]
fn ticks_are_round_and_within_the_axis() {
    let shown = |ends, count| -> Vec<String> {
        Axis::plain(ends, count).ticks.into_iter().map(|(_, text)| text).collect()
    };
    assert_eq!(shown((0.0, 1.0), 5.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    assert_eq!(shown((-3.2, 11.0), 4.0), ["0", "5", "10"]);
    assert_eq!(shown((0.081, 0.102), 5.0), ["0.085", "0.090", "0.095", "0.100"]);
    assert_eq!(whole_ticks((-0.2, 8.1)), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert!(whole_ticks((0.0, 100.0)).len() <= 13);
}

#[test]
fn a_single_value_and_a_fixed_range_draw_within_the_figure() {
    let single = Chart::dots("T", ["a"], "v").series("s", [Point::bare(0.0, 0.7)]);
    render(&single).unwrap();
    let cut = render(&line().value_range(0.0, 2.0)).unwrap();
    let heights = cut.split("cy=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for height in heights {
        assert!((0..=430).contains(&height.parse::<i32>().unwrap()), "{height}");
    }
}

#[test]
fn legends_take_as_many_rows_as_they_need() {
    let figure = (0..12).fold(line(), |figure, at| {
        figure.series(format!("a rather long name of arm {at}"), [Point::bare(1.0, 1.0)])
    });
    let items = legend_layout(&figure);
    assert_eq!(items.len(), 13);
    assert!(items.iter().all(|item| item.x < WIDTH as i32 - 100));
    assert!(items.last().unwrap().y > items[0].y);
}

#[test]
fn every_band_lies_under_every_line() {
    let other = [1.0, 2.0, 4.0].map(|x| Point { x, y: 2.0, interval: Some((0.0, 4.0)), n: None });
    let svg = render(&line().series("other", other)).unwrap();
    let last_band = svg.rfind("<polygon opacity=\"0.16\"").unwrap();
    let blue = "stroke=\"#0072B2\" stroke-width=\"2\"";
    // The first series' line in the plot: the last one of its colour.
    assert!(svg.rfind(blue).unwrap() > last_band, "{svg}");
}

#[test]
fn a_fixed_range_is_the_whole_axis_and_what_lies_beyond_is_not_drawn() {
    let shares = Chart::lines("T", "x", "share").value_range(0.0, 1.0).series(
        "s",
        [0.0, 1.0].map(|x| Point { x, y: 0.98, interval: Some((0.9, 1.06)), n: None }),
    );
    assert_eq!(value_ends(&shares), (0.0, 1.0));
    let axis = Axis::plain(value_ends(&shares), 7.0);
    assert!(axis.ticks.iter().all(|(at, _)| (0.0..=1.0).contains(at)));
    let cut = within_range(shares.clone());
    assert_eq!(cut.series[0].points[0].interval, Some((0.9, 1.0)));
    let beyond = shares.reference("above", 1.2).reference("chance", 0.5);
    let shown: Vec<usize> = shown_references(&beyond).map(|(at, _)| at).collect();
    assert_eq!(shown, [1]);
}

#[test]
fn more_series_than_can_be_told_apart_are_refused() {
    let many = |count: usize| {
        (1..count).fold(line(), |figure, at| {
            figure.series(at.to_string(), [Point::bare(1.0, 1.0), Point::bare(2.0, 1.0)])
        })
    };
    render(&many(MOST_SERIES)).unwrap();
    assert!(refused(many(MOST_SERIES + 1)).contains("41 series: allowed are 40"));
}
