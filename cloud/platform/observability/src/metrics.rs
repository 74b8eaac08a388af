//! One registry a process, rendered on demand.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::process;

/// A registry that crates add their metrics to at start-up. Cheap to clone.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Lets a crate register its metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The OpenMetrics text, with the process's own figures first.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let _ = write!(
            text,
            "# HELP process_resident_memory_bytes Resident memory.\n\
             # TYPE process_resident_memory_bytes gauge\n\
             process_resident_memory_bytes {}\n\
             # HELP process_cpu_seconds Processor time used, user and system.\n\
             # TYPE process_cpu_seconds counter\n\
             process_cpu_seconds_total {}\n\
             # HELP process_open_fds Open file handles.\n\
             # TYPE process_open_fds gauge\n\
             process_open_fds {}\n",
            process::resident_bytes(),
            process::cpu_seconds(),
            process::open_files()
        );
        // Encoding into a String cannot fail.
        let _ = encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn shows_what_was_registered_and_the_process() {
        let metrics = Metrics::default();
        let counter: Counter = Counter::default();
        metrics.register(|registry| registry.register("remuda_test_things", "Things", counter.clone()));
        counter.inc_by(3);
        let text = metrics.render();
        assert!(text.contains("remuda_test_things_total 3"), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
