//! `remudactl contexts`: which servers there are.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use crate::args::{Global, OutputFormat};
use crate::contexts::{Context, Contexts, ContextsFile, check_name};
use crate::error::CtlError;
use crate::table::{Tint, cell, write};
use crate::target::{Secret, split_address};

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextsCommand {
    /// Lists them; the current one is marked.
    List,
    /// Prints the name of the current one.
    Current,
    /// Makes one the current one.
    Use {
        /// Which.
        name: String,
    },
    /// Makes one, or changes it: --server, --organization, --token, --ca, --cert and --key are kept; an empty text takes a value
    /// away. Another server loses the token, unless one comes with it.
    Set {
        /// Which.
        name: String,
        /// Read the token from standard input, so that it stands in no history of commands.
        #[arg(long)]
        token_stdin: bool,
        /// Make it the current one; the first is without being told.
        #[arg(long)]
        current: bool,
    },
    /// Forgets one, with its token.
    Delete {
        /// Which.
        name: String,
    },
}

pub(crate) fn run(
    command: ContextsCommand,
    global: &Global,
    file: &ContextsFile,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    match command {
        ContextsCommand::List => list(&file.load()?, global, out, colours)?,
        ContextsCommand::Current => {
            let contexts = file.load()?;
            let current = contexts.current.as_ref().ok_or(CtlError::NoContext)?;
            known(&contexts, current)?;
            writeln!(out, "{current}")?;
        }
        ContextsCommand::Use { name } => {
            file.change(|contexts| {
                known(contexts, &name)?;
                contexts.current = Some(name.clone());
                Ok(())
            })?;
            writeln!(out, "the current context is {name}")?;
        }
        ContextsCommand::Set { name, token_stdin, current } => {
            check_name(&name)?;
            let token = if token_stdin { Some(token_of_stdin(global)?) } else { global.token.clone() };
            let server = file.change(|contexts| {
                let context = contexts.all.entry(name.clone()).or_default();
                set(context, global, token)?;
                let server = context.server.clone();
                if current || contexts.current.is_none() {
                    contexts.current = Some(name.clone());
                }
                Ok(server)
            })?;
            writeln!(out, "the context {name} is for {server}")?;
        }
        ContextsCommand::Delete { name } => {
            file.change(|contexts| {
                known(contexts, &name)?;
                contexts.all.remove(&name);
                contexts.current.take_if(|current| *current == name);
                Ok(())
            })?;
            writeln!(out, "the context {name} is forgotten")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn known(contexts: &Contexts, name: &str) -> Result<(), CtlError> {
    if contexts.all.contains_key(name) {
        return Ok(());
    }
    Err(CtlError::NoSuchContext { name: name.to_owned(), known: contexts.all.keys().cloned().collect() })
}

fn token_of_stdin(global: &Global) -> Result<Secret, CtlError> {
    if global.token.is_some() {
        return Err(CtlError::Usage("--token and --token-stdin do not go together"));
    }
    let mut text = String::new();
    // Longer than any token that a server reads.
    std::io::stdin()
        .take(64 * 1024)
        .read_to_string(&mut text)
        .map_err(|source| CtlError::File { file: "standard input".to_owned(), source })?;
    match text.trim() {
        "" => Err(CtlError::Usage("there is no token on standard input")),
        token => Ok(Secret::new(token)),
    }
}

/// Changes what was said.
fn set(context: &mut Context, global: &Global, token: Option<Secret>) -> Result<(), CtlError> {
    let mut token = token;
    if let Some(server) = &global.server {
        let (address, carried) = split_address(server)?;
        if address != context.server {
            // A token is for the server that it was made for.
            context.token = None;
            context.login = None;
        }
        context.server = address;
        token = token.or(carried);
    }
    if context.server.is_empty() {
        return Err(CtlError::Usage("a new context needs a --server"));
    }
    if let Some(organization) = &global.in_organization {
        context.organization = Some(organization.clone()).filter(|name| !name.is_empty());
    }
    if let Some(token) = token {
        context.token = Some(token).filter(|token| !token.reveal().is_empty());
        context.login = None;
    }
    for (said, kept) in
        [(&global.ca, &mut context.ca), (&global.cert, &mut context.cert), (&global.key, &mut context.key)]
    {
        if let Some(path) = said {
            *kept = whole(path)?;
        }
    }
    fits(context)
}

/// Whether the parts of a context go together.
pub(crate) fn fits(context: &Context) -> Result<(), CtlError> {
    if context.cert.is_some() != context.key.is_some() {
        return Err(CtlError::Usage("--cert and --key go together: the client's certificate and its key"));
    }
    if context.server.starts_with("http://") && (context.ca.is_some() || context.cert.is_some()) {
        return Err(CtlError::Usage("--ca, --cert and --key are for https:// addresses"));
    }
    Ok(())
}

/// A path that holds in every folder; none for an empty one.
pub(crate) fn whole(path: &Path) -> Result<Option<PathBuf>, CtlError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let unreadable = |source| CtlError::File { file: path.display().to_string(), source };
    path.canonicalize().map(Some).map_err(unreadable)
}

fn list(contexts: &Contexts, global: &Global, out: &mut dyn Write, colours: bool) -> Result<(), CtlError> {
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    match global.output {
        OutputFormat::Json => {
            let all = contexts.all.iter().map(|(name, context)| {
                json!({
                    "name": name,
                    "current": is_current(name),
                    "server": context.server,
                    "organization": context.organization.as_deref().unwrap_or("default"),
                    "by": context.by(),
                    "issuer": context.login.as_ref().map(|login| &login.issuer),
                })
            });
            writeln!(out, "{:#}", json!({ "contexts": all.collect::<Vec<_>>() }))?;
        }
        OutputFormat::Name => {
            for name in contexts.all.keys() {
                writeln!(out, "{name}")?;
            }
        }
        OutputFormat::Table | OutputFormat::Wide => {
            if contexts.all.is_empty() {
                eprintln!("no context yet; make one with `remudactl contexts set` or `remudactl login`");
                return Ok(());
            }
            let rows = contexts.all.iter().map(|(name, context)| {
                vec![
                    cell(if is_current(name) { "*" } else { "" }).tint(Tint::Good),
                    cell(name),
                    cell(&context.server),
                    cell(context.organization.as_deref().unwrap_or("default")),
                    cell(context.by()),
                ]
            });
            let heads = ["", "CONTEXT", "SERVER", "ORGANIZATION", "BY"];
            write(out, Some(&heads), &rows.collect::<Vec<_>>(), &mut Vec::new(), colours)?;
        }
    }
    Ok(())
}
