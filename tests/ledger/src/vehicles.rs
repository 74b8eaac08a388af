//! Reads stopped vehicles' disks: what their outboxes made, hold and shed.

use std::path::Path;

use remuda_edge_agent::outbox::StreamKey;
use remuda_edge_agent::outbox::offline::{self, StreamBooks};
use remuda_model::Seq;

use crate::LedgerError;
use crate::books::{Books, Stream};

/// Whether an outbox is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is, and holds what it holds.
    Alive,
    /// A copy of one that was destroyed: what it held died with it.
    Destroyed,
}

/// Every stream of every outbox in or below a folder.
fn streams(folder: &Path) -> Result<Vec<(Stream, StreamBooks)>, LedgerError> {
    let all = offline::open(folder)
        .map_err(|e| LedgerError::Outbox { folder: folder.to_path_buf(), reason: e.to_string() })?;
    let named = |books: StreamBooks| {
        let StreamKey { vehicle, incarnation, lane } = books.key;
        (Stream { vehicle, incarnation, lane }, books)
    };
    Ok(all.into_iter().map(named).collect())
}

/// Enters what outboxes had let go of when a backup was begun: it was durable in the cloud by then. What they had given up
/// may be told to the cloud later.
pub(crate) fn enter_backup(books: &mut Books, folder: &Path) -> Result<(), LedgerError> {
    for (stream, of_stream) in streams(folder)? {
        let given_up = of_stream.shed.iter().map(|shed| shed.from.saturating_sub(1)).min();
        books.in_backup(stream, 1, given_up.unwrap_or(Seq::MAX).min(of_stream.trimmed_to));
    }
    Ok(())
}

/// Enters every outbox in or below a folder into the books.
pub(crate) fn enter(books: &mut Books, folder: &Path, fate: Fate) -> Result<(), LedgerError> {
    for (stream, of_stream) in streams(folder)? {
        books.made(stream, 1, of_stream.made);
        if let Some((from, to)) = of_stream.held {
            match fate {
                Fate::Alive => books.in_outbox(stream, from, to),
                Fate::Destroyed => books.died_with_outbox(stream, from, to),
            }
        }
        for shed in of_stream.shed {
            books.shed(stream, shed.from, shed.to);
        }
    }
    Ok(())
}
