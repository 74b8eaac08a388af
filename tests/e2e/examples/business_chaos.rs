//! `business_chaos BOOKINGS SEED FOLDER`: the chaos run of the whole business (docs/business.md). Prints one JSON object; exit
//! code 1 when something is wrong.

use std::path::PathBuf;
use std::process::ExitCode;

use remuda_e2e::chaos::{Plan, run};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(bookings), Some(seed), Some(folder)) = (args.next(), args.next(), args.next()) else {
        eprintln!("business_chaos BOOKINGS SEED FOLDER");
        return ExitCode::from(2);
    };
    let (Ok(bookings), Ok(seed)) = (bookings.parse(), seed.parse()) else {
        eprintln!("BOOKINGS and SEED are numbers");
        return ExitCode::from(2);
    };
    let folder = PathBuf::from(folder);
    if folder.exists() {
        eprintln!("{} is there already; name a new folder", folder.display());
        return ExitCode::from(2);
    }
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    // A death in some four hundred bookings: 13 in 5,000.
    let plan = Plan { bookings, seed, lives: 40, death: 15 };
    let (found, report) = run(&folder, plan, |line| eprintln!("{line}"));
    println!("{report:#}");
    if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
