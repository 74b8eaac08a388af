//! Where the kill tests end the process: before and after each kind of write.

use crate::engine::Write;

/// Which crash points a group passes.
pub(crate) struct Kinds {
    file: bool,
    append: bool,
    checkpoint: bool,
    replace: bool,
}

impl Kinds {
    pub fn of(group: &[Write]) -> Self {
        Self {
            file: group.iter().any(|w| matches!(w, Write::CommitFile(..))),
            append: group.iter().any(|w| matches!(w, Write::Append(..))),
            checkpoint: group.iter().any(|w| matches!(w, Write::Checkpoints(..))),
            replace: group.iter().any(|w| matches!(w, Write::Replace(..))),
        }
    }

    pub fn before_commit(&self) {
        if self.file {
            fail::fail_point!("commit-before-sync", |_| std::process::abort());
        }
        if self.append {
            fail::fail_point!("append-before-sync", |_| std::process::abort());
        }
        if self.checkpoint {
            fail::fail_point!("checkpoint-before", |_| std::process::abort());
        }
        if self.replace {
            fail::fail_point!("replace-before-sync", |_| std::process::abort());
        }
    }

    pub fn after_commit(&self) {
        if self.file {
            fail::fail_point!("commit-after-sync", |_| std::process::abort());
        }
        if self.append {
            fail::fail_point!("append-after-sync", |_| std::process::abort());
        }
        if self.checkpoint {
            fail::fail_point!("checkpoint-after", |_| std::process::abort());
        }
        if self.replace {
            fail::fail_point!("replace-after-sync", |_| std::process::abort());
        }
    }
}
