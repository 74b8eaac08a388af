//! What the demo can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// A whole fleet on this machine.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Simulated vehicles, each with the real agent and its own outbox.
    #[arg(long, default_value_t = 100)]
    pub vehicles: usize,
    /// OpenStreetMap extract to drive on (.osm.pbf, .osm, .osm.gz); without one a town is made up from the seed.
    #[arg(long)]
    pub map: Option<PathBuf>,
    /// Same seed, same world.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Sensor readings per second and vehicle.
    #[arg(long, default_value_t = 10.0)]
    pub rate: f64,
    /// Stops after this time, such as 60s or 5m; without it, at Ctrl-C.
    #[arg(long = "for", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Prints one JSON object with the figures and the ledger on standard output at the end.
    #[arg(long)]
    pub json: bool,
    /// Keeps the data there, and goes on where the last run stopped.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Where the console listens; a free port when not given.
    #[arg(long)]
    pub console: Option<SocketAddr>,
    /// What is logged, such as info or warn,remuda_lake=debug.
    #[arg(long, default_value = "warn")]
    pub log: String,
}

impl DemoArgs {
    /// Checks what the parser cannot.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=20_000).contains(&self.vehicles) {
            return Err(format!("--vehicles is {}, it must be 1 to 20000", self.vehicles));
        }
        if !(self.rate > 0.0 && self.rate <= 100.0) {
            return Err(format!(
                "--rate is {}, it must be above 0 and at most 100 readings per second",
                self.rate
            ));
        }
        Ok(())
    }
}

/// `90`, `90s`, `5m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err("write a time as 90s, 5m or 2h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a time as 90s, 5m or 2h".to_owned())?;
    match number.checked_mul(seconds) {
        Some(0) | None => Err("the time must be at least 1s".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "s", "5x", "0s", "-1", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
