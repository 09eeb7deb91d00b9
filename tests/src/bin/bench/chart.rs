//! Charts of the wall times: for each repository one picture, for each piece of work a group of bars.

use std::fmt::Write;

use crate::{
    figures::Figure,
    report::seconds,
    results::{Outcome, by_work},
    targets::short,
};

const WALL: Figure = |sample| sample.wall;

const BAR: usize = 18;
const GAP: usize = 6;
const GROUP: usize = 44;
const NAMES: f64 = 240.0;
const WIDTH: f64 = 860.0;

/// The longest bar.
const LONGEST: f64 = 420.0;

const MIRROR: &str = "#d97706";
const OTHER: &str = "#64748b";

/// Returns the name of each repository and its picture.
pub(crate) fn all(outcomes: &[Outcome]) -> Vec<(&str, String)> {
    let same = |a: &Outcome, b: &Outcome| a.repository == b.repository;
    let charts = outcomes.chunk_by(same).filter_map(|outcomes| {
        let first = outcomes.first()?;
        Some((
            first.repository.as_str(),
            chart(&first.repository, outcomes),
        ))
    });
    charts.collect()
}

fn chart(title: &str, outcomes: &[Outcome]) -> String {
    let mut body = String::new();
    let mut y = GROUP;
    for ways in by_work(outcomes) {
        group(&mut body, &mut y, ways);
    }
    let mut svg = String::new();
    put(
        &mut svg,
        &format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="12">"#
        ),
    );
    put(
        &mut svg,
        r#"<rect width="100%" height="100%" fill="white"/>"#,
    );
    put(
        &mut svg,
        &format!(
            r#"<text x="10" y="24" font-size="16" font-weight="bold">{}: seconds, less is better</text>"#,
            escaped(title)
        ),
    );
    svg + &body + "</svg>\n"
}

/// Draws the ways of one piece of work. The bars are as long as the times are, compared with the longest of the group; a
/// thin line goes from the least to the most.
fn group(svg: &mut String, y: &mut usize, ways: &[Outcome]) {
    let Some(first) = ways.first() else { return };
    *y += GROUP / 2;
    put(
        svg,
        &format!(
            r#"<text x="10" y="{y}" font-weight="bold">{}</text>"#,
            escaped(first.work)
        ),
    );
    *y += GAP;
    let most = ways.iter().filter_map(|way| Some(way.range(WALL)?.1));
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    let long = |seconds: f64| seconds / most * LONGEST;
    for way in ways {
        let middle = *y as f64 + BAR as f64 * 0.7;
        put(
            svg,
            &format!(
                r#"<text x="{}" y="{middle}" text-anchor="end">{}</text>"#,
                NAMES - 8.0,
                escaped(way.way)
            ),
        );
        let output = match (way.median(WALL), way.range(WALL)) {
            (Some(median), Some((least, most))) => {
                let color = if way.way.starts_with("mirror") {
                    MIRROR
                } else {
                    OTHER
                };
                put(
                    svg,
                    &format!(
                        r#"<rect x="{NAMES}" y="{y}" width="{:.1}" height="{BAR}" fill="{color}"/>"#,
                        long(median).max(1.0)
                    ),
                );
                let center = *y + BAR / 2;
                put(
                    svg,
                    &format!(
                        r#"<line x1="{:.1}" x2="{:.1}" y1="{center}" y2="{center}" stroke="black"/>"#,
                        NAMES + long(least),
                        NAMES + long(most)
                    ),
                );
                let ratio = way.ratio(WALL, first, WALL).map(short);
                let ratio = ratio.map_or(String::new(), |ratio| format!(" ({ratio}x)"));
                (long(most), format!("{}{ratio}", seconds(median)))
            }
            _ => (0.0, "failed".to_owned()),
        };
        put(
            svg,
            &format!(
                r#"<text x="{:.1}" y="{middle}">{}</text>"#,
                NAMES + output.0 + 8.0,
                output.1
            ),
        );
        *y += BAR + GAP;
    }
}

fn put(svg: &mut String, line: &str) {
    // A string takes all.
    let _ = writeln!(svg, "{line}");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
