//! The binary.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use clap::Parser;
use remuda_ctl::{Cli, CtlError, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Clap ends with 2 on wrong usage by itself.
    let cli = Cli::parse();
    let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match run(cli, &mut stdout().lock(), colours).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads us has seen enough, as `head` does.
        Err(CtlError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("remudactl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
