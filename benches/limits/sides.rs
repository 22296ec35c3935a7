//! Runs the sides of a case, each in processes of its own, in turn.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use crate::broker::runtime;
use crate::cases::{Case, PARTITIONS, Side};
use crate::exclusive;
use crate::ours::{self, Way};
use crate::raw;
use crate::side::{Sample, Work};

/// The argument that has this program be the side whose name follows.
pub(crate) const SIDE: &str = "--side";
/// The argument that has this program make a topic, for a side that is run alone.
pub(crate) const NEW_TOPIC: &str = "--new-topic";
/// The programs of other clients, beside the folder that this program is in.
const RDKAFKA: &str = "rskafka-benches-rdkafka";
const EARLIER: &str = "rskafka-benches-earlier";

pub(crate) struct Measured {
    pub(crate) side: Side,
    pub(crate) samples: Vec<Sample>,
}

/// A running side. It ends with its standard input.
struct Process {
    child: Child,
    asks: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

/// The program of a side, if it was built.
pub(crate) fn program(side: Side) -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let program = match side {
        Side::Rdkafka => this.parent()?.with_file_name(RDKAFKA),
        Side::Earlier => this.parent()?.with_file_name(EARLIER),
        _ => this,
    };
    program.is_file().then_some(program)
}

/// The command that runs a side.
pub(crate) fn command(side: Side, work: &Work) -> Option<Command> {
    let mut command = Command::new(program(side)?);
    command.args([SIDE, &side.name(), &serde_json::to_string(work).expect("it is JSON")]);
    Some(command)
}

pub(crate) fn work(case: &Case, side: Side, address: &str, through: &str) -> Work {
    let in_flight = match side {
        Side::RawInFlight(in_flight) | Side::Ours(_, in_flight) | Side::Wal(in_flight) => in_flight,
        _ => 1,
    };
    Work {
        call: case.call,
        records: case.records,
        size: case.size,
        is_lz4: case.is_lz4,
        in_flight,
        partitions: if side == Side::Spread { PARTITIONS } else { 1 },
        callers: case.callers,
        timestamp: now(),
        address: address.to_owned(),
        through: through.to_owned(),
    }
}

pub(crate) fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_millis() as i64
}

/// Is the side of this name.
pub(crate) fn run(name: &str, work: &str) {
    let work: Work = serde_json::from_str(work).expect("it says what to work on");
    match name {
        "raw, encoding" => raw::run(true, &work),
        _ if name.starts_with("raw") => raw::run(false, &work),
        "BatchProducer" => ours::run(Way::BatchProducer, &work),
        _ if name.starts_with("wal") => exclusive::run(&work),
        "new stream" => ours::run(Way::NewStream, &work),
        "stream" => ours::run(Way::Stream, &work),
        "single fetches" => ours::run(Way::Loop, &work),
        _ if name.starts_with("batch") => ours::run(Way::Batch, &work),
        _ => ours::run(Way::Records, &work),
    }
}

pub(crate) fn new_topic(work: &str) {
    let work: Work = serde_json::from_str(work).expect("it says what to work on");
    runtime().block_on(ours::new_topic(&work.address, &work));
}

/// Measures all sides of a case whose programs are there.
pub(crate) fn measure(case: &Case, address: &str, through: &str) -> Vec<Measured> {
    let last = *case.sides.last().expect("it has sides");
    runtime().block_on(ours::new_topic(address, &work(case, last, address, "")));
    let command = |side: Side| command(side, &work(case, side, address, through));
    let sides = case.sides.iter().filter(|&&side| command(side).is_some());
    let mut measured: Vec<_> = sides.map(|&side| Measured { side, samples: Vec::new() }).collect();
    for _ in 0..case.rounds {
        let started = measured.iter().filter_map(|measured| command(measured.side)).map(Process::start);
        let mut processes: Vec<Process> = started.collect();
        // Connects, learns the leader, lets buffers grow.
        for process in &mut processes {
            process.sample(case.calls);
        }
        for sample in 0..case.samples {
            // None is always the first.
            for turn in 0..processes.len() {
                let side = (turn + sample) % processes.len();
                measured[side].samples.push(processes[side].sample(case.calls));
            }
        }
    }
    measured
}

impl Process {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a side");
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { asks: child.stdin.take(), child, answers }
    }

    fn sample(&mut self, calls: u32) -> Sample {
        let asks = self.asks.as_mut().expect("it is running");
        writeln!(asks, "{calls}").expect("the side reads");
        let line = self.answers.next().expect("the side did not fail").expect("it is text");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.asks.take());
        let _ = self.child.wait();
    }
}
