//! The figures as plots: what a record costs by its size, what callers wait for and get together, and how long a recovery takes;
//! of the raw client, of this one and of others.

use std::error::Error;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use crate::cases::{Measure, On, Side};
use crate::ours::Way;
use crate::recovery::{Reader, Recovery};
use crate::report::{Measurement, rate, time};
use crate::side::Call;

/// What is drawn on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) file: &'static str,
    background: RGBColor,
    text: RGBColor,
    grid: RGBColor,
    /// Of [`SERIES`].
    colours: [RGBColor; 4],
}

pub(crate) const STYLES: [Style; 2] = [
    Style {
        file: "benchmarks-light.svg",
        background: RGBColor(255, 255, 255),
        text: RGBColor(51, 51, 51),
        grid: RGBColor(222, 222, 222),
        colours: [
            RGBColor(130, 130, 130),
            RGBColor(27, 120, 55),
            RGBColor(217, 95, 2),
            RGBColor(117, 112, 179),
        ],
    },
    Style {
        file: "benchmarks-dark.svg",
        background: RGBColor(13, 17, 23),
        text: RGBColor(201, 209, 217),
        grid: RGBColor(48, 54, 61),
        colours: [
            RGBColor(160, 160, 160),
            RGBColor(86, 190, 120),
            RGBColor(244, 160, 90),
            RGBColor(170, 165, 235),
        ],
    },
];

/// Name, and which sides are it: of these, the first that was measured.
const SERIES: [(&str, &[Side]); 4] = [
    ("raw client", &[Side::Raw]),
    (
        "rskafka",
        &[Side::Ours(Way::BatchProducer, 5), Side::Ours(Way::Records, 1), Side::Ours(Way::Records, 5)],
    ),
    ("librdkafka", &[Side::Rdkafka]),
    ("rskafka 0.6", &[Side::Earlier]),
];

const SIZE: (u32, u32) = (880, 1320);
const LEGEND: u32 = 80;
const FONT: &str = "sans-serif";

/// What a panel compares. Both axes are logarithmic.
struct Panel<'a> {
    title: &'a str,
    call: Call,
    on: On,
    x: Axis,
    /// Each with whether its lines are dashed.
    measures: &'a [(Measure, bool)],
    text: fn(f64) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// Of a value.
    Size,
    Callers,
}

const PANELS: [Panel<'static>; 7] = [
    Panel {
        title: "CPU per record, appends of 1 MiB",
        call: Call::Produce,
        on: On::AtOnce,
        x: Axis::Size,
        measures: &[(Measure::Cpu, false)],
        text: time,
    },
    Panel {
        title: "CPU per record, fetches of 1 MiB",
        call: Call::Fetch,
        on: On::AtOnce,
        x: Axis::Size,
        measures: &[(Measure::Cpu, false)],
        text: time,
    },
    Panel {
        title: "MiB/s of values, appends of 1 MiB on Kafka",
        call: Call::Produce,
        on: On::Kafka,
        x: Axis::Size,
        measures: &[(Measure::Wall, false)],
        text: mebibytes,
    },
    Panel {
        title: "MiB/s of values, fetches of 1 MiB on Kafka",
        call: Call::Fetch,
        on: On::Kafka,
        x: Axis::Size,
        measures: &[(Measure::Wall, false)],
        text: mebibytes,
    },
    Panel {
        title: "Time of one append on Kafka",
        call: Call::Append,
        on: On::Kafka,
        x: Axis::Size,
        measures: &[(Measure::P50, false), (Measure::P99, true)],
        text: time,
    },
    Panel {
        title: "Records/s on Kafka, 100 B",
        call: Call::Append,
        on: On::Kafka,
        x: Axis::Callers,
        measures: &[(Measure::Wall, false)],
        text: |per_second| rate(1e9 / per_second),
    },
    Panel {
        title: "Time of an append of many tasks on Kafka, 100 B",
        call: Call::Append,
        on: On::Kafka,
        x: Axis::Callers,
        measures: &[(Measure::P50, false), (Measure::P99, true)],
        text: time,
    },
];

struct Line {
    series: usize,
    is_dashed: bool,
    points: Vec<(f64, f64)>,
}

type Drawn = Result<(), Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// `machine` is what all was measured on, and when.
pub(crate) fn svg(
    style: &Style,
    cases: &[Measurement],
    recovery: Option<&Recovery>,
    machine: &str,
) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&style.background)?;
        let (top, below) = area.split_vertically(LEGEND);
        legend(style, &top, machine)?;
        let places = below.split_evenly((4, 2));
        for (panel, place) in PANELS.iter().zip(&places) {
            panel.draw(style, place, cases)?;
        }
        if let (Some(recovery), Some(place)) = (recovery, places.last()) {
            bars(style, place, recovery)?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn legend(style: &Style, area: &Area<'_>, machine: &str) -> Drawn {
    let font = (FONT, 14).into_font().color(&style.text);
    for ((x, (name, _)), colour) in (0..).zip(SERIES).zip(style.colours) {
        let left = 14 + 120 * x;
        area.draw(&Rectangle::new([(left, 12), (left + 12, 24)], colour.filled()))?;
        area.draw(&Text::new(name, (left + 18, 11), font.clone()))?;
    }
    let lines = "lines: the median; dashed: the 99th percentile; less is better but for what is per second";
    area.draw(&Text::new(lines, (14, 33), font.clone()))?;
    area.draw(&Text::new(machine, (14, 55), font.clone()))?;
    Ok(())
}

impl Panel<'_> {
    fn draw(&self, style: &Style, area: &Area<'_>, cases: &[Measurement]) -> Drawn {
        let lines = self.lines(cases);
        let all = || lines.iter().flat_map(|line| &line.points);
        if all().next().is_none() {
            return Ok(());
        }
        let range = |of: fn(&(f64, f64)) -> f64, room: f64| {
            let least = all().map(of).fold(f64::INFINITY, f64::min);
            let most = all().map(of).fold(0.0, f64::max);
            (least / room..most * room).log_scale()
        };
        let small = (FONT, 12).into_font().color(&style.text);
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, (FONT, 15).into_font().color(&style.text))
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(58)
            .build_cartesian_2d(range(|point| point.0, 1.1), range(|point| point.1, 1.4))?;
        chart
            .configure_mesh()
            .label_style(small.clone())
            .axis_desc_style(small)
            .axis_style(style.text)
            .bold_line_style(style.grid)
            .light_line_style(style.background)
            .x_desc(if self.x == Axis::Size {
                "bytes of a value"
            } else {
                "tasks, each with one record at a time"
            })
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| (self.text)(*y))
            .draw()?;
        for Line { series, is_dashed, points } in lines {
            let colour = style.colours[series];
            let stroke = colour.stroke_width(2);
            if is_dashed {
                let dashes = DashedPathElement::new(points, 5, 4, stroke);
                chart.draw_series([dashes])?;
            } else {
                chart.draw_series(LineSeries::new(points.iter().copied(), stroke))?;
                chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            }
        }
        Ok(())
    }

    fn lines(&self, cases: &[Measurement]) -> Vec<Line> {
        let mut lines = Vec::new();
        for (series, (_, sides)) in SERIES.iter().enumerate() {
            for (measure, is_dashed) in self.measures {
                let mut points: Vec<_> =
                    cases.iter().filter_map(|case| self.point(case, sides, *measure)).collect();
                points.sort_by(|one, other| one.0.total_cmp(&other.0));
                points.dedup_by_key(|point| point.0);
                lines.push(Line { series, is_dashed: *is_dashed, points });
            }
        }
        lines
    }

    fn point(&self, measured: &Measurement, sides: &[Side], measure: Measure) -> Option<(f64, f64)> {
        let case = &measured.case;
        // Of what one task appends, the lines of many have their own measurement, by the same call as these.
        let is_together = case.sides.first() == Some(&Side::Ours(Way::BatchProducer, 5));
        let is_of_it = case.call == self.call
            && case.on == self.on
            && !case.is_lz4
            && is_together == (self.x == Axis::Callers)
            && case.sides.contains(&Side::Earlier);
        let x = if self.x == Axis::Size { case.size } else { case.callers } as f64;
        let y = sides.iter().find_map(|side| measured.median(*side, measure)).filter(|_| is_of_it)?;
        let y = match (measure, self.x) {
            (Measure::Wall, Axis::Callers) => 1e9 / y,
            (Measure::Wall, Axis::Size) => x * 1e9 / y / f64::from(1 << 20),
            _ => y,
        };
        Some((x, y))
    }
}

fn mebibytes(per_second: f64) -> String {
    format!("{per_second:.0}")
}

/// How long each reader takes.
fn bars(style: &Style, area: &Area<'_>, recovery: &Recovery) -> Drawn {
    let readers = recovery.readers();
    let longest = readers.iter().map(|measured| measured.near.wall).fold(0.0, f64::max) / 1e9;
    let font = (FONT, 12).into_font().color(&style.text);
    let title = format!("Recovery of {:.0} GiB of 1 KiB records from Kafka: s", recovery.gib());
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 15).into_font().color(&style.text))
        .margin(10)
        .build_cartesian_2d(0.0..longest * 1.1, readers.len() as f64..0.0)?;
    for (row, measured) in readers.iter().enumerate() {
        let (top, seconds) = (row as f64, measured.near.wall / 1e9);
        let series = match measured.reader {
            Reader::Peer(Side::Raw) => 0,
            Reader::Peer(Side::Rdkafka) => 2,
            Reader::Peer(_) => 3,
            _ => 1,
        };
        let colour = style.colours[series];
        chart.draw_series([Rectangle::new([(0.0, top + 0.45), (seconds, top + 0.85)], colour.filled())])?;
        let text = format!("{}: {seconds:.2} s", measured.reader.name());
        chart.draw_series([Text::new(text, (0.0, top + 0.18), font.clone())])?;
    }
    Ok(())
}
