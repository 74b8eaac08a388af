//! Reads stopped vehicles' disks: what their outboxes made, hold and shed.

use std::path::Path;

use remuda_edge_agent::outbox::offline;

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

/// Enters every outbox in or below a folder into the books.
pub(crate) fn enter(books: &mut Books, folder: &Path, fate: Fate) -> Result<(), LedgerError> {
    let unreadable = |e: remuda_edge_agent::outbox::OutboxError| LedgerError::Outbox {
        folder: folder.to_path_buf(),
        reason: e.to_string(),
    };
    for of_stream in offline::open(folder).map_err(unreadable)? {
        let key = of_stream.key;
        let stream = Stream { vehicle: key.vehicle, incarnation: key.incarnation, lane: key.lane };
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
