//! What the figures were measured on, and what else went on there.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

/// A machine's class and its load.
#[derive(Debug)]
pub(super) struct Machine {
    processor: String,
    cores: usize,
    /// Processes that ran or wanted to, in the mean of the last minute.
    load: f64,
}

impl Machine {
    pub(super) fn now() -> Result<Self> {
        let info = fs::read_to_string("/proc/cpuinfo").context("benches need Linux")?;
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).context("no load average")?;
        let values = |key: &'static str| info.lines().filter(move |line| line.starts_with(key));
        let processor = values("model name").next().and_then(|line| line.split(": ").nth(1));
        Ok(Self {
            processor: processor.unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: values("processor").count(),
            load,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, load } = self;
        let is_loaded = *load >= 0.5 * *cores as f64;
        let loaded = if is_loaded { ", so the machine was loaded by other work" } else { "" };
        write!(f, "{cores} cores of {processor}; load average {load:.1} before the start{loaded}")
    }
}
