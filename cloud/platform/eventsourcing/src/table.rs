//! What an aggregate answers to each command in each state, as a Markdown table: made from the code, kept in its README,
//! compared by a test.

use std::fmt::Write as _;
use std::path::Path;

use crate::aggregate::{Aggregate, Context, Refusal};

/// Opens the table in a page.
pub const BEGIN: &str =
    "<!-- decisions: made from the code, see the test `the_table_of_decisions_is_true` -->";
/// Closes it.
pub const END: &str = "<!-- end of decisions -->";

/// One row per command, one column per state: the events that follow (without the aggregate's name), `-` when it is
/// already so, or the refusal's code in italics.
pub fn decisions<A: Aggregate>(
    states: &[(&str, A::State)],
    commands: &[(&str, A::Command)],
    context: &Context,
) -> String {
    let mut out = String::from("| |");
    states.iter().for_each(|(name, _)| {
        let _ = write!(out, " {name} |");
    });
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(states.len()));
    for (name, command) in commands {
        let _ = write!(out, "\n| **{name}** |");
        for (_, state) in states {
            let answer = match A::decide(state, command, context) {
                Ok(events) if events.is_empty() => "-".to_owned(),
                Ok(events) => events.iter().map(|event| short::<A>(event)).collect::<Vec<_>>().join(", "),
                Err(refusal) => format!("*{}*", refusal.code()),
            };
            let _ = write!(out, " {answer} |");
        }
    }
    out.push('\n');
    out
}

fn short<A: Aggregate>(event: &A::Event) -> String {
    let name = A::encode(event).event_type;
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

/// Compares the table between [`BEGIN`] and [`END`] of a page with `table`; with `REMUDA_WRITE_TABLES=1` in the
/// environment it writes it there instead.
///
/// # Errors
/// A sentence that says what to do.
pub fn check(page: &Path, table: &str) -> Result<(), String> {
    let name = page.display();
    let text = std::fs::read_to_string(page).map_err(|error| format!("{name} cannot be read: {error}"))?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        return Err(format!("{name} needs the lines `{BEGIN}` and `{END}`"));
    };
    let begin = begin + BEGIN.len();
    if text.get(begin..end).map(str::trim) == Some(table.trim()) {
        return Ok(());
    }
    if std::env::var_os("REMUDA_WRITE_TABLES").is_none() {
        return Err(format!(
            "the table in {name} is not what the code does; run this test with REMUDA_WRITE_TABLES=1"
        ));
    }
    let page_text = format!("{}\n\n{}\n\n{}", &text[..begin], table.trim(), &text[end..]);
    std::fs::write(page, page_text).map_err(|error| format!("{name} cannot be written: {error}"))
}
