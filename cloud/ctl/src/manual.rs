//! What the program says of itself: man pages and completion for shells.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::error::CtlError;

/// How commands end.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  it is done
  1  it failed: the server refused it or cannot be reached, or what was waited for ended otherwise
  2  it was typed wrongly: unknown words, options that do not go together, files that cannot be read, requests that the server
     calls invalid";

/// Which shell.
#[derive(Debug, Clone, Args)]
pub struct CompletionArgs {
    /// The shell; `source <(remudactl completion bash)` is enough for one session.
    #[arg(value_enum)]
    shell: Shell,
}

/// Where to write.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Folder for one page a command, such as `~/.local/share/man/man1`; without it the main page is written to standard output.
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn completion(args: &CompletionArgs, out: &mut dyn Write) -> Result<(), CtlError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "remudactl", &mut text);
    out.write_all(&text)?;
    Ok(())
}

pub(crate) fn man(args: &ManArgs, out: &mut dyn Write) -> Result<(), CtlError> {
    let Some(dir) = &args.dir else { return Ok(page(Cli::command()).render(out)?) };
    let unwritable = |file: &Path| {
        let file = file.display().to_string();
        move |source| CtlError::Unwritable { file, source }
    };
    fs::create_dir_all(dir).map_err(unwritable(dir))?;
    let mut program = Cli::command().disable_help_subcommand(true);
    // Gives each command its whole name, and the options that all of them take.
    program.build();
    let mut written = 0;
    let mut waiting = vec![program];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().cloned());
        page(command).generate_to(dir).map_err(unwritable(dir))?;
        written += 1;
    }
    writeln!(out, "{written} pages in {}", dir.display())?;
    Ok(())
}

fn page(command: clap::Command) -> Man {
    Man::new(command).manual("Remuda").source(concat!("remudactl ", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let mut said = Vec::new();
        man(&ManArgs { dir: Some(folder.path().to_owned()) }, &mut said).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let list = read("remudactl-vehicles-list.1");
        for part in
            [".TH remudactl-vehicles-list 1", "Lists vehicles", "page\\-size", "\\-\\-context", "Remuda"]
        {
            assert!(list.contains(part), "{part} in {list}");
        }
        let main = read("remudactl.1");
        assert!(main.contains("Exit codes") && main.contains("remudactl\\-vehicles(1)"), "{main}");
        let commands = commands(&Cli::command());
        assert!(commands > 80);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), commands);
        assert!(String::from_utf8(said).unwrap().starts_with(&commands.to_string()));
    }

    fn commands(command: &clap::Command) -> usize {
        1 + command.get_subcommands().map(commands).sum::<usize>()
    }

    #[test]
    fn shells_learn_the_words() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            completion(&CompletionArgs { shell }, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("vehicles") && text.contains("page-size"), "{shell}");
        }
    }
}
