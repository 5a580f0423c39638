//! The report as one HTML page that needs nothing else: no script, no font, no image from
//! elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use headwater_protocol::number::{duration, fixed, interval, short};
use headwater_protocol::{FEWEST_SEEDS, Preset, Verdict};

use crate::chart::Kind;
use crate::{Chart, FindingReport, Grid, GridValue, Report};

mod comparisons;
mod forest;
mod gaps;
mod summary;

/// Beside every interval over two seeds.
const TWO_SEEDS: &str = "Intervals over n = 2 seeds mean nothing: with one degree of freedom they are 13 times as \
                         wide as the two values lie apart.";

/// A table that scrolls sideways on a screen too narrow for its columns, instead of breaking every
/// word.
fn wide(columns: usize, table: Markup) -> Markup {
    let width = format!("min-width:{}rem", 6 * columns);
    html! { div.wide tabindex="0" { table style=[(columns > 6).then_some(width)] { (table) } } }
}

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Headwater report · " (report.preset) }
                style { (PreEscaped(include_str!("report.css"))) }
            }
            body {
                main {
                    (head(report))
                    (summary::summary(report))
                    @for finding in &report.findings { (section(finding)) }
                    (how_to_read())
                }
            }
        }
    }
    .into_string()
}

fn head(report: &Report) -> Markup {
    let cells: usize = report.findings.iter().map(|finding| finding.found.cells).sum();
    html! {
        header {
            p.brand { "Headwater" }
            h1 { "What reproduces, and what does not" }
            dl.facts {
                div { dt { "Preset" } dd { (report.preset) } }
                div { dt { "Device" } dd { (report.device) } }
                div { dt { "Cells" } dd { (cells) } }
                div { dt { "Cost on one core" } dd { (duration(report.seconds)) } }
                div { dt { "Last run" } dd {
                    (duration(report.wall_seconds)) ", " (report.jobs) " at a time, "
                    (report.cores) @if report.cores == 1 { " core" } @else { " cores" }
                } }
                div { dt { "Version" } dd { (report.version) } }
                div { dt { "Code" } dd { code { (report.code_version) } } }
                div { dt { "Compiler" } dd { (report.compiler) } }
                div { dt { "Instruction set" } dd { (report.instructions) } }
            }
            (notices(report))
        }
    }
}

/// What a reader must know before the first verdict.
fn notices(report: &Report) -> Markup {
    html! {
        @if report.preset == Preset::Smoke {
            p.notice {
                strong { "Smoke preset. " }
                "Few seeds and short runs: this page shows that the machinery works. It decides nothing about \
                 the claims, so every verdict is inconclusive."
            }
        }
        @if report.seeds_by_hand {
            p.notice {
                strong { "Seeds by hand. " }
                "The number of seeds was named on the command line and is not the preset’s own"
                @let by_hand: Vec<&str> = report.findings.iter().map(|f| &f.found).filter(|f| f.seeds_by_hand)
                    .map(|f| f.id.as_str()).collect();
                @if by_hand.len() < report.findings.len() { " (" (by_hand.join(", ")) ")" }
                ": where seeds are added until a result pleases (optional stopping), intervals and p values \
                 are wrong, so read the verdicts only if the number was fixed before the first run."
            }
        }
        @if let Some(rendered_by) = &report.rendered_by {
            p.notice {
                strong { "Two versions of the code. " }
                "The cells were run by " code { (report.code_version) } "; this page was made by "
                code { (rendered_by) } ", and contrasts, thresholds and rules are those of the latter."
            }
        }
        @if !report.dropped.is_empty() {
            div.notice {
                strong { "Not in this report. " }
                "This directory held findings of another run:"
                ul { @for dropped in &report.dropped {
                    li { code { (dropped.finding) } ": " (dropped.reason) "." }
                } }
            }
        }
    }
}

/// Word, colour and sign all say it, so that none of them has to.
fn badge(verdict: Verdict) -> Markup {
    let (class, sign) = match verdict {
        Verdict::Reproduced => ("reproduced", "✓"),
        Verdict::NotReproduced => ("not-reproduced", "✕"),
        Verdict::Inconclusive => ("inconclusive", "?"),
        Verdict::Invalid => ("invalid", "!"),
    };
    html! { span class={ "badge " (class) } { span aria-hidden="true" { (sign) } " " (verdict.name()) } }
}

fn section(report: &FindingReport) -> Markup {
    let finding = &report.found;
    html! {
        section.finding id=(finding.id) {
            h2 { (finding.id) " " (badge(finding.verdict)) }
            p.claim { (finding.claim) }
            p.source { (finding.source) }
            @if !finding.only.is_empty() {
                p.note {
                    "Only this was run: " (finding.only.join(", ")) ". The verdict and the adjusted p \
                     values are of its comparisons alone."
                }
            }
            p.why { (finding.why) }
            @if !finding.contrasts.is_empty() {
                h3 { "Contrasts" }
                (comparisons::contrasts(finding))
            }
            @if !finding.controls.is_empty() {
                h3 { "Negative controls" }
                (comparisons::controls(&finding.controls))
            }
            @for part in &report.parts {
                @if !(part.heading.is_empty() || part.figures.is_empty() && part.tables.is_empty()) {
                    h3.part { (part.heading) }
                }
                @for (svg, drawn) in &part.figures { (figure(svg, drawn)) }
                @for shown in &part.tables { (table(shown)) }
            }
            (gaps::gaps(report))
            @if !report.differs.is_empty() {
                h3 { "What differs from the paper" }
                ul { @for text in &report.differs { li { (text) } } }
            }
            @if finding.seeds_by_hand { p.note { "The number of seeds was set by hand." } }
            p.note {
                @if finding.experiments.len() == 1 { "Experiment: " } @else { "Experiments: " }
                (finding.experiments.join(", ")) "."
            }
            p.cost { "Cost: " (finding.cells) " cells, " (duration(finding.seconds)) " on one core." }
        }
    }
}

fn figure(svg: &str, figure: &Chart) -> Markup {
    let (few, most) = figure.seeds();
    let fewer = figure.with_fewer();
    html! {
        figure {
            h4 { (figure.title) }
            // The drawing code escapes every label it writes.
            div.drawing { (PreEscaped(svg)) }
            figcaption {
                @if !figure.caption.is_empty() { (figure.caption) " " }
                @if most > 0 {
                    "n = " @if few < most { (few) " to " } (most) @if most == 1 { " seed." } @else { " seeds." }
                }
                @if !fewer.is_empty() { " Fewer seeds: " (fewer.join(", ")) "." }
                @if has_intervals(figure) { " Intervals: 95%, Student’s t over seeds." }
                @if has_intervals(figure) && most == 2 { " " (TWO_SEEDS) }
            }
            details {
                summary { "The numbers of this figure" }
                div.wide tabindex="0" { (figure_data(figure)) }
            }
        }
    }
}

fn has_intervals(figure: &Chart) -> bool {
    figure.series.iter().flat_map(|series| &series.points).any(|point| point.interval.is_some())
}

fn figure_data(figure: &Chart) -> Markup {
    let (few, most) = figure.seeds();
    let x_head = match &figure.kind {
        Kind::Lines { x_label, .. } => x_label.as_str(),
        Kind::Categories { .. } => "",
    };
    let x_text = |x: f64| match &figure.kind {
        Kind::Lines { .. } => short(x),
        Kind::Categories { names, .. } => names.get(x as usize).cloned().unwrap_or_default(),
    };
    html! {
        table {
            thead { tr {
                th { "Series" } th { (x_head) } th.number { (figure.value_label) }
                @if few < most { th.number { "n" } }
            } }
            tbody { @for series in &figure.series { @for point in &series.points { tr {
                td { (series.label) }
                td { (x_text(point.x)) }
                td.number {
                    @match point.interval {
                        Some((low, high)) => (interval(Some(point.y), Some(low), Some(high))),
                        None => (short(point.y)),
                    }
                }
                @if few < most { td.number { @if let Some(n) = point.n { (n) } } }
            } } } }
        }
    }
}

fn table(table: &Grid) -> Markup {
    let is_text =
        |column: usize| table.rows.iter().filter_map(|row| row.get(column)).any(GridValue::is_text);
    let class = |column: usize| if is_text(column) { "" } else { "number" };
    html! {
        h4 { (table.title) }
        (wide(table.columns.len(), html! {
            thead { tr { @for (at, name) in table.columns.iter().enumerate() {
                th class=(class(at)) { (name) }
            } } }
            tbody { @for row in &table.rows { tr {
                @for (at, (value, fewer)) in row.iter().zip(table.fewer(row)).enumerate() {
                    td class=(class(at)) {
                        (value.text()) @if let Some(n) = fewer { " " small { "(n " (n) ")" } }
                    }
                }
            } } }
        }))
        @if !table.note.is_empty() { p.note { (table.note) } }
        @if table.has_pairs() { p.note { (TWO_SEEDS) } }
    }
}

fn how_to_read() -> Markup {
    html! {
        section #reading {
            h2 { "How to read this" }
            p {
                "Arms that are compared differ in one thing, unless the comparison says otherwise, \
                 and are paired seed by seed. An effect is the mean paired difference over n seeds; \
                 its interval is the 95% Student’s t interval. The smallest effect of \
                 interest, d, is this project’s choice and not the paper’s number. With fewer than "
                (FEWEST_SEEDS) " seeds, or where all seeds give the same difference, a comparison is undecided \
                 whatever the numbers are."
            }
            p {
                "Direction and d of a contrast were fixed at the time that the table names: before any run; \
                 after a pilot that is not part of these results; or post hoc, when results were known. Verdicts \
                 do not rest on post hoc contrasts."
            }
            dl {
                dt { (badge(Verdict::Reproduced)) }
                dd { "Every contrast was measured and holds (at least d, Holm-adjusted p against 0 below "
                    (fixed(0.05, 2)) ", interval on the claimed side), and every negative control was measured \
                    and vanishes." }
                dt { (badge(Verdict::NotReproduced)) }
                dd { "Some contrast is refuted: it lies on the wrong side of d, with a p value against d below "
                    (fixed(0.05, 2)) " after Holm’s adjustment over all contrasts. The negative controls that \
                    were measured, at least one, vanish." }
                dt { (badge(Verdict::Inconclusive)) }
                dd { "Neither. More seeds, or the arms that were not run, might decide it." }
                dt { (badge(Verdict::Invalid)) }
                dd { "A negative control shows the effect although its cause is removed." }
            }
        }
    }
}
