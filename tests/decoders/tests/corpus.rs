//! Every decoder against its seeds, against what fuzzing once found, and against seeded mutations of both.
// A test may unwrap.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use remuda_decoders::{Mutator, TARGETS, Target};

fn kept(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target.name);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn try_on(target: &Target, what: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let file = std::env::temp_dir().join(format!("remuda-{}", target.name));
        std::fs::write(&file, input).unwrap();
        panic!("{} fails on {what}: {} bytes, kept in {}", target.name, input.len(), file.display());
    }
}

#[test]
fn nothing_that_comes_from_outside_brings_a_decoder_down() {
    let full = std::env::var("REMUDA_TEST_TIER").is_ok_and(|tier| tier == "full");
    for target in TARGETS {
        let begun = std::time::Instant::now();
        let mut corpus = (target.seeds)();
        assert!(corpus.iter().any(|seed| !seed.is_empty()), "{} has no seeds", target.name);
        for (n, seed) in corpus.iter().enumerate() {
            try_on(target, &format!("seed {n}"), seed);
        }
        for (n, input) in kept(target).into_iter().enumerate() {
            try_on(target, &format!("finding {n}"), &input);
            corpus.push(input);
        }
        let mut mutator = Mutator::new(7);
        let mutations = target.mutations * if full { 20 } else { 1 };
        for n in 0..mutations {
            try_on(target, &format!("mutation {n}"), &mutator.next(&corpus));
        }
        eprintln!(
            "{:<20} {mutations:>8} mutations in {:>6.0} ms",
            target.name,
            begun.elapsed().as_secs_f64() * 1e3
        );
    }
}

#[test]
fn each_target_has_its_fuzz_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let file = folder.join("fuzz_targets").join(format!("{}.rs", target.name));
        assert!(file.is_file(), "fuzz/fuzz_targets/{}.rs is missing", target.name);
        assert!(
            manifest.contains(&format!("name = \"{}\"", target.name)),
            "fuzz/Cargo.toml lacks {}",
            target.name
        );
    }
}
