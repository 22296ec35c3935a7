//! What appends and fetches cost from end to end beside a raw client and librdkafka, measured for `cargo xtask bench`.
//!
//! Invariant: each side is a process, the broker another, and one side works at a time, so that a side's processor time is its
//! own and neither has the other's noise. All send and read the same records in batches of the same size, in the same run.

mod broker;
mod calls;
mod cases;
mod delay;
mod drawing;
mod exclusive;
mod ours;
mod raw;
mod recovery;
mod refresh;
mod report;
mod side;
mod sides;

use std::time::Duration;

use serde_json::json;

use crate::broker::Broker;
use crate::cases::{Case, Limit, On, Side};
use crate::report::Report;
use crate::side::Sample;
use crate::sides::{Measured, program};

const READ: i32 = 1;
const BATCH_BYTES: usize = 1 << 20;
/// What a fetch asks for, as clients do by default: a broker cuts off the batch that does not fit, and that is sent again.
const FETCH_BYTES: usize = 1 << 20;

/// Where a Kafka of one broker is, which `cargo xtask bench` starts where there is Java.
const KAFKA: &str = "KAFKA_CONNECT";

/// What is measured on, as `cargo xtask bench` says it.
const MACHINE: &str = "MACHINE";

/// Half a round trip to the broker that is far away.
const ONE_WAY: Duration = Duration::from_micros(500);

/// `[FILTER]` measures only what has it in its name.
fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let filter = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "",
        [broker::SERVE] => return broker::serve(),
        [sides::SIDE, name, work] => return sides::run(name, work),
        [sides::NEW_TOPIC, work] => return sides::new_topic(work),
        [filter] => filter,
        _ => panic!("not known: {args:?}"),
    };
    let fake = Broker::start();
    let far_away = delay::start(&fake.address, ONE_WAY).expect("a port");
    let kafka = std::env::var(KAFKA).ok();
    if kafka.is_none() {
        eprintln!("no {KAFKA}: nothing is measured on a real broker");
    }
    if program(Side::Rdkafka).is_none() {
        eprintln!("the sides of other clients are not built: nothing is measured beside them");
    }
    let mut report = Report::default();
    for case in cases::all().into_iter().filter(|case| case.name.contains(filter)) {
        let address = match case.on {
            On::AtOnce | On::FarAway => Some(&fake.address),
            On::Kafka => kafka.as_ref(),
        };
        let Some(address) = address else { continue };
        let through = if case.on == On::FarAway { &*far_away } else { "" };
        let measured = sides::measure(&case, address, through);
        for limit in &case.limits {
            row(&case, limit, &measured);
        }
        report.add(case, measured);
    }
    if calls::NAME.contains(filter) {
        calls::count(&fake.address);
    }
    if refresh::NAME.contains(filter) {
        refresh::measure(&fake.address);
    }
    let recovery = kafka.filter(|_| recovery::NAME.contains(filter)).map(|kafka| recovery::measure(&kafka));
    if filter.is_empty() {
        say("whole calls", &report.tables());
        let machine = std::env::var(MACHINE).unwrap_or_default();
        let machine = format!("{machine}; {}", time::OffsetDateTime::now_utc().date());
        say("machine", &format!("{machine}.\n"));
        for (file, drawing) in report.drawings(recovery.as_ref(), &machine) {
            say(file, &drawing);
        }
        if let Some(recovery) = recovery {
            say(recovery::NAME, &recovery.table());
        }
    }
}

/// Prints a part of the page, or a drawing beside it.
fn say(section: &str, text: &str) {
    println!("{}", json!({ "section": section, "text": text }));
}

/// Prints a line for `cargo xtask bench`, if both sides were measured.
fn row(case: &Case, limit: &Limit, measured: &[Measured]) {
    let of = |side: Side| measured.iter().find(|measured| measured.side == side);
    let (Some(subject), Some(baseline)) = (of(limit.side), of(limit.than)) else { return };
    let Limit { side, measure, times, beyond, than } = *limit;
    let ns = |sample: &Sample| measure.of(sample);
    let pairs: Vec<(f64, f64)> =
        subject.samples.iter().zip(&baseline.samples).map(|(one, other)| (ns(one), ns(other))).collect();
    let what = format!("{} of {}, {}, {}", measure.name(), case.what, side.name(), case.on.name());
    let name = format!("{}/{}/{}/{}", case.name, side.name(), measure.name(), than.name());
    let line = json!({
        "name": name.replace(", ", "-"),
        "what": what,
        "baseline_is": format!("{}'s", than.name()),
        "times": times,
        "per_record_ns": beyond,
        "instructions_tell": false,
        "records": if measure.is_of_all() { case.records_of_sample() } else { 1.0 },
        "pairs_ns": pairs,
    });
    println!("{line}");
}
