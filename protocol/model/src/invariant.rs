//! The numbered invariants (DESIGN section 5). Docs, assertions, models and metrics use these ids.

/// What must always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invariant {
    /// A frame is acked only when it is durable; an acked frame is never lost and never counted twice.
    I1,
    /// Samples never enter the journal; decisions never live in the lake alone.
    I2,
    /// Append first, effects after; an effect carries the event's id as its idempotency key.
    I3,
    /// A stream has one writer; the journal and the manifest reject a stale epoch.
    I4,
    /// A command is obeyed at most once, never after its expiry, never from an older epoch, never unsigned.
    I5,
    /// A saga ends completed, or fully compensated, or visibly stuck; money is conserved.
    I6,
    /// Every queue is bounded; every drop is counted with its reason.
    I7,
    /// A vehicle can reach its own topics only; a person only what their role grants, in their organisation.
    I8,
    /// Losing the agent, the microcontroller goes to its safe outputs; losing the cloud never changes motion.
    I9,
    /// Aggregate folders import no tokio, ractor, clock or randomness.
    I10,
    /// Rules, then the files, then one transaction of decisions and manifest, then effects and ack.
    I11,
}
