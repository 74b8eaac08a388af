//! The commands that the API's reference shows are commands of this program.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use clap::{CommandFactory, Parser};
use remuda_ctl::Cli;

/// Words as a shell makes them, of a line that quotes with `'` only.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            words.last_mut().unwrap().push_str(part);
            continue;
        }
        for (n, piece) in part.split(' ').enumerate() {
            if n > 0 {
                words.push(String::new());
            }
            words.last_mut().unwrap().push_str(piece);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_reference_parses() {
    let mut parsed = 0;
    for line in include_str!("../../console/src/rest/commands.txt").lines() {
        let (method, command) = line.split_once('\t').unwrap();
        let words = words(command);
        assert!(Cli::command().find_subcommand(&words[1]).is_some(), "{method}: there is no `{}`", words[1]);
        if let Err(error) = Cli::try_parse_from(&words) {
            panic!("{method}: {command}: {error}");
        }
        parsed += 1;
    }
    assert!(parsed > 30);
    assert!(Cli::try_parse_from(words("remudactl vehicles fly CAR1")).is_err());
}
