//! The figures as bars: CPU, throughput and latency of the raw client, of this one and of librdkafka.

use std::fmt::Write as _;

use crate::cases::{Measure, Side};
use crate::ours::Way;
use crate::report::{Measurement, rate, time};

/// Name, colour, and which side it is: of ours, the first that was measured.
const SERIES: [(&str, &str, &[Side]); 3] = [
    ("raw client", "#999999", &[Side::Raw]),
    (
        "rskafka",
        "#1b7837",
        &[
            Side::Ours(Way::Batch, 5),
            Side::Ours(Way::BatchProducer, 5),
            Side::Ours(Way::Records, 5),
            Side::Ours(Way::Records, 1),
        ],
    ),
    ("librdkafka", "#d95f02", &[Side::Rdkafka]),
];

/// Title, what is drawn, what it is as text, and whether a longer bar is more of the measure or less.
type Panel = (&'static str, &'static [Measure], fn(f64) -> String, bool);

const PANELS: [Panel; 3] = [
    ("CPU per record: less is better", &[Measure::Cpu], time, true),
    ("Records/s: more is better", &[Measure::Wall], rate, false),
    ("Latency: less is better", &[Measure::P50, Measure::P99], time, true),
];

const PANEL_WIDTH: f64 = 440.0;
const NAME_WIDTH: f64 = 150.0;
const LONGEST: f64 = 200.0;
const BAR: f64 = 12.0;

/// Each group of bars has its own scale: the longest is its largest.
pub(crate) fn svg(cases: &[Measurement]) -> String {
    let (mut body, mut height) = (String::new(), 0.0_f64);
    for (index, (title, measures, text, is_more)) in (0..).zip(PANELS) {
        let left = f64::from(index) * PANEL_WIDTH;
        let mut top = 60.0;
        let _ = writeln!(body, r#"<text x="{}" y="45" font-weight="bold">{title}</text>"#, left + 10.0);
        for case in cases {
            for measure in measures {
                let bars = bars(case, *measure);
                // Nothing to compare.
                if bars.len() < 2 {
                    continue;
                }
                let name = match measure {
                    Measure::Cpu | Measure::Wall | Measure::Faults => case.case.name.clone(),
                    _ => format!("{}, {}", case.case.name, measure.name()),
                };
                top = group(&mut body, (left, top), &name, &bars, (text, is_more));
            }
        }
        height = height.max(top);
    }
    let width = PANEL_WIDTH * PANELS.len() as f64;
    let legend: String = (0..)
        .zip(SERIES)
        .map(|(index, (name, colour, _))| {
            let x = 10 + 110 * index;
            format!("<rect x=\"{x}\" y=\"10\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"19\">{name}</text>\n", x + 15)
        })
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n<g fill=\"#444\">\n{legend}{body}</g>\n</svg>\n"
    )
}

/// Colours and values of those that were measured.
fn bars(case: &Measurement, measure: Measure) -> Vec<(&'static str, f64)> {
    let value = |sides: &[Side]| sides.iter().find_map(|side| case.median(*side, measure));
    SERIES.iter().filter_map(|(_, colour, sides)| Some((*colour, value(sides)?))).collect()
}

/// Draws a group; gives where the next begins.
fn group(
    body: &mut String,
    (left, mut top): (f64, f64),
    name: &str,
    bars: &[(&str, f64)],
    (text, is_more): (fn(f64) -> String, bool),
) -> f64 {
    let length = |value: f64| if is_more { value } else { 1.0 / value };
    let longest = bars.iter().map(|(_, value)| length(*value)).fold(0.0, f64::max);
    let x = left + NAME_WIDTH;
    let _ = writeln!(body, r#"<text x="{}" y="{}" text-anchor="end">{name}</text>"#, x - 5.0, top + 10.0);
    for (colour, value) in bars {
        let width = (length(*value) / longest * LONGEST).max(1.0);
        let _ = writeln!(
            body,
            r#"<rect x="{x}" y="{top}" width="{width:.0}" height="10" fill="{colour}"/><text x="{:.0}" y="{}">{}</text>"#,
            x + width + 4.0,
            top + 9.0,
            text(*value)
        );
        top += BAR;
    }
    top + 6.0
}
