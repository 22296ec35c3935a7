//! The project's own commands: `cargo xtask --help`.
//!
//! Small on purpose: it starts environments and runs cargo; no crate of the project is compiled into it.

mod bench;
mod children;
mod demo;
mod env;
mod flags;
mod fuzz;
mod libtest;
mod lint;
mod outside;
mod process;
mod progress;
mod schema;
mod sim;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

use crate::flags::{EnvCmd, Xtask, XtaskCmd};

fn main() -> ExitCode {
    let flags = Xtask::parse();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: Xtask) -> Result<()> {
    children::end_with_this_process()?;
    match flags.subcommand {
        XtaskCmd::Env(env) => match env.subcommand {
            EnvCmd::Up(up) => env::up(&up.name, up.version.as_deref(), up.brokers),
            EnvCmd::Down(down) => env::down(&down.name),
            EnvCmd::Status(status) => env::status(&status.name),
        },
        XtaskCmd::Demo(demo) => demo::command(demo.env.as_deref(), demo.records, demo.break_reads.as_deref()),
        XtaskCmd::Test(test) => test::command(test.env.as_deref(), test.version.as_deref()),
        XtaskCmd::Sim(sim) => sim::command(sim::Options {
            seeds: sim.seeds,
            seed: sim.seed,
            trace: sim.trace,
            profile: sim.profile,
            shrink: sim.shrink,
            check: sim.check,
            only: sim.only,
        }),
        XtaskCmd::Fuzz(fuzz) => fuzz::command(fuzz.target.as_deref(), fuzz.seconds),
        XtaskCmd::Bench(bench) => bench::command(bench::Options {
            check: bench.check,
            instructions: bench.instructions,
            write_docs: bench.write_docs,
        }),
        XtaskCmd::Schema(_) => schema::command(),
        XtaskCmd::Lint(_) => lint::command(),
    }
}
