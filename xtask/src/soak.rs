//! `cargo xtask soak`: libFuzzer on every decoder that meets the outside, one after the other.
//!
//! Coverage comes from rustc's own passes, so that the toolchain of the build is enough; `fuzz/` is also what
//! `cargo fuzz` expects to find. New inputs gather in `target/fuzz/corpus`; what brings a decoder down is kept in
//! `target/fuzz/findings`: mend it, and keep the input in `fuzz/corpus/TARGET`, where the ordinary tests try it for ever.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{Outcome, command, output, root, run, target};

/// What cargo-fuzz asks of rustc, but for the sanitizers that only a nightly one has.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
/// Memory that one decoder may take, MB: more is a finding.
const MEMORY_MB: u32 = 2_048;
/// Longest that one input may take, s: more is a finding.
const INPUT_S: u32 = 20;
/// Longest input, bytes.
const INPUT_BYTES: u32 = 65_536;

/// What became of one target.
struct Soaked {
    name: String,
    executions: u64,
    seconds: f64,
    findings: Vec<PathBuf>,
}

/// Soaks every target, or the one named, so many minutes in all.
///
/// # Errors
/// When something cannot be built or started, or a decoder was brought down: the sentence names the inputs.
pub fn soak(minutes: f64, only: Option<&str>, json: bool) -> Outcome {
    let names = targets(only)?;
    let binaries = build()?;
    let place = target().join("fuzz");
    let mut seeds = crate::run::cargo();
    seeds.args(["run", "--quiet", "--package", "remuda-decoders", "--example", "write_seeds", "--"]);
    run(seeds.arg(place.join("corpus")))?;
    let workers = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(names.len());
    let each = Duration::from_secs_f64(minutes * 60.0 * workers as f64 / names.len() as f64);
    let mut soaked = Vec::new();
    let mut failures = Vec::new();
    for group in names.chunks(workers) {
        let results: Vec<Result<Soaked, String>> = thread::scope(|scope| {
            let running: Vec<_> =
                group.iter().map(|name| scope.spawn(|| one(name, &binaries, &place, each))).collect();
            running
                .into_iter()
                .map(|r| r.join().unwrap_or_else(|_| Err("a worker panicked".into())))
                .collect()
        });
        for result in results {
            match result {
                Ok(done) => {
                    let Soaked { name, executions, seconds, findings } = &done;
                    eprintln!(
                        "── {name}: {executions} executions in {seconds:.0} s, {} findings",
                        findings.len()
                    );
                    soaked.push(done);
                }
                Err(sentence) => failures.push(sentence),
            }
        }
    }
    if json {
        println!("{}", report(&soaked));
    }
    let found =
        soaked.iter().flat_map(|s| &s.findings).map(|file| format!("{} brings it down", file.display()));
    failures.extend(found);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn targets(only: Option<&str>) -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let stem = |entry: fs::DirEntry| entry.path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut all: Vec<String> = entries.flatten().filter_map(stem).collect();
    all.sort();
    let Some(only) = only else { return Ok(all) };
    if all.iter().any(|name| name == only) {
        return Ok(vec![only.to_owned()]);
    }
    Err(format!("no fuzz target is called {only}; there are: {}", all.join(", ")))
}

/// Builds the binaries, and answers their folder. Named for its host, so that build scripts carry no instrumentation.
fn build() -> Result<PathBuf, String> {
    let host = output(command("rustc").arg("-vV"))?;
    let host =
        host.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not name its host")?;
    let folder = target().join("fuzz");
    let mut cargo = crate::run::cargo();
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(root().join("fuzz/Cargo.toml"));
    cargo.args(["--target", host]).env("CARGO_TARGET_DIR", &folder).env("RUSTFLAGS", COVERAGE);
    run(&mut cargo)?;
    Ok(folder.join(host).join("release"))
}

fn one(name: &str, binaries: &Path, place: &Path, each: Duration) -> Result<Soaked, String> {
    let (corpus, findings) = (place.join("corpus").join(name), place.join("findings"));
    fs::create_dir_all(&corpus).and_then(|()| fs::create_dir_all(&findings)).map_err(|e| e.to_string())?;
    let begun = Instant::now();
    let log = place.join(format!("{name}.log"));
    let file = fs::File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
    let mut fuzzer = command(binaries.join(name));
    fuzzer.arg(&corpus).arg(root().join("fuzz/corpus").join(name)).env("RUST_BACKTRACE", "1");
    fuzzer.arg(format!("-max_total_time={}", each.as_secs().max(1))).arg(format!("-max_len={INPUT_BYTES}"));
    fuzzer.arg(format!("-artifact_prefix={}/{name}-", findings.display()));
    fuzzer.arg(format!("-rss_limit_mb={MEMORY_MB}")).arg(format!("-malloc_limit_mb={MEMORY_MB}"));
    fuzzer.args([format!("-timeout={INPUT_S}"), "-print_final_stats=1".into(), "-close_fd_mask=1".into()]);
    fs::create_dir_all(root().join("fuzz/corpus").join(name)).map_err(|e| e.to_string())?;
    let status = fuzzer.stdout(Stdio::null()).stderr(file).status().map_err(|e| e.to_string())?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    let executions = text
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
        .unwrap_or(0);
    let found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path.trim()))
        // Slow is not down; what takes longer than `INPUT_S` ends the fuzzer.
        .filter(|path| !path.contains("slow-unit"))
        .map(PathBuf::from)
        .collect();
    if !status.success() && found.is_empty() {
        return Err(format!("{name} ended with {status}; see {}", log.display()));
    }
    Ok(Soaked { name: name.to_owned(), executions, seconds: begun.elapsed().as_secs_f64(), findings: found })
}

fn report(soaked: &[Soaked]) -> String {
    let of = |s: &Soaked| {
        format!(
            "\"{}\":{{\"executions\":{},\"seconds\":{:.0},\"findings\":{}}}",
            s.name,
            s.executions,
            s.seconds,
            s.findings.len()
        )
    };
    let hours: f64 = soaked.iter().map(|s| s.seconds).sum::<f64>() / 3_600.0;
    let targets: Vec<String> = soaked.iter().map(of).collect();
    format!("{{\"cpu_hours\":{hours:.3},\"targets\":{{{}}}}}", targets.join(","))
}
