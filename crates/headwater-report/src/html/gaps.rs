//! Everything that is not there and why, each reason once.

use maud::{Markup, html};

use headwater_protocol::by_reason;

use crate::FindingReport;

pub(super) fn gaps(report: &FindingReport) -> Markup {
    let finding = &report.found;
    html! {
        @if !finding.not_run.is_empty() {
            h3 { "Not run" }
            ul { @for (reason, arms) in by_reason(&finding.not_run) { li {
                @if arms.len() == 1 { "Arm " } @else { "Arms " }
                @for (at, arm) in arms.iter().enumerate() {
                    @if at > 0 { ", " }
                    code { (arm) }
                }
                ": " (reason) "."
                @let left_out: Vec<&str> = finding.omitted.iter()
                    .filter(|omitted| omitted.reason == reason).map(|o| o.name.as_str()).collect();
                @if !left_out.is_empty() {
                    " Left out for it: "
                    @for (at, name) in left_out.iter().enumerate() { @if at > 0 { "; " } "“" (name) "”" }
                    "."
                }
            } } }
        }
        @if !finding.failures.is_empty() {
            h3 { "Cells without a record" }
            ul.failures { @for failure in &finding.failures {
                li {
                    code { (failure.arm) } ", seed " (failure.seed) ", "
                    @if failure.ran { "failed: " } @else { "skipped: " } (failure.reason)
                }
            } }
        }
        @if !report.not_shown.is_empty() {
            h3 { "Not shown" }
            ul { @for text in &report.not_shown { li { (text) } } }
        }
        @if !finding.defects.is_empty() {
            h3 { "Defects of this finding’s code" }
            ul.failures { @for defect in &finding.defects { li { (defect) } } }
        }
    }
}
