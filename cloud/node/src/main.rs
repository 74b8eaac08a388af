//! `remuda`: the cloud, its roles chosen by configuration.

use std::process::ExitCode;

fn main() -> ExitCode {
    remuda_node::cli::main()
}
