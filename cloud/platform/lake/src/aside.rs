//! Work that would hold up the runtime's threads.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does the work on a thread of its own; `None` when it panicked. On a runtime with one thread it is done in place: the
/// order of things is then the scheduler's alone, and a simulation can be repeated.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
