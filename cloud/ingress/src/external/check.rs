//! The self-test: messages of our own go round through the broker, on topics that no vehicle can have (a vehicle id has
//! no `_`). Some brokers grant every subscription and then deliver nothing, so only what arrives is believed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngCore as _;
use remuda_wire::limits::PAYLOAD_BYTES_MAX;
use tokio::sync::mpsc;

use super::Shared;
use super::state::Check;
use crate::door::Mode;

/// Where every topic of the self-test begins.
pub(crate) const PROBE_PREFIX: &str = "remuda/v1/_probe/";
/// What the first receiving connection subscribes to besides, to see that `down` topics can be written.
pub(crate) const PROBE_DOWN: &str = "remuda/v1/_probe/down";

/// How long a message may take to come back.
const WITHIN: Duration = Duration::from_secs(10);
/// A message may be dropped on the way: it is sent again.
const AGAIN: Duration = Duration::from_secs(1);
/// After a failure the check is made again, since somebody may be mending the broker.
const RETRY: Duration = Duration::from_secs(30);
/// Bytes of a small message: any broker passes it on.
const SMALL_BYTES: usize = 64;
/// Bytes by which we know our own.
const NONCE_BYTES: usize = 16;

/// A message of a self-test that came in.
pub(crate) type Probe = (String, Bytes);

/// Checks whenever all connections stand.
pub(crate) async fn run(shared: Arc<Shared>, mut arrived: mpsc::Receiver<Probe>) {
    let mut state = shared.state.subscribe();
    let mut mode = shared.mode.subscribe();
    let checking = async {
        loop {
            if state.wait_for(|state| state.is_connected() && state.check == Check::Pending).await.is_err() {
                return;
            }
            shared.metrics.connected.set(1);
            let mut broken = state.clone();
            let result = tokio::select! {
                result = all(&shared, &mut arrived) => result,
                _ = broken.wait_for(|state| !state.is_connected()) => {
                    note_broken(&shared);
                    continue;
                }
            };
            match result {
                Ok(()) => {
                    shared.metrics.checked.set(1);
                    tracing::info!(broker = %shared.address, "connected to the external broker; messages of every size go round");
                    shared.state.check(Check::Passed);
                }
                Err(sentence) => {
                    shared.metrics.checked.set(0);
                    tracing::warn!(broker = %shared.address, "{sentence}");
                    shared.state.check(Check::Failed(sentence));
                }
            }
            let failed = matches!(state.borrow().check, Check::Failed(_));
            tokio::select! {
                _ = broken.wait_for(|state| !state.is_connected()) => note_broken(&shared),
                () = tokio::time::sleep(RETRY), if failed => shared.state.check(Check::Pending),
            }
        }
    };
    tokio::select! {
        () = checking => {}
        // A sender that is gone is a door that is gone.
        _ = mode.wait_for(|mode| *mode == Mode::Stopping) => {}
    }
    note_broken(&shared);
}

fn note_broken(shared: &Shared) {
    shared.metrics.connected.set(0);
    shared.metrics.checked.set(0);
}

/// Every receiving connection, and the way down; a small message first, so that a refusal is told from a limit.
async fn all(shared: &Shared, arrived: &mut mpsc::Receiver<Probe>) -> Result<(), String> {
    let user = shared
        .settings
        .login
        .as_ref()
        .map_or_else(|| "the cloud's user".to_owned(), |login| format!("the user {}", login.username));
    let ups = (0..shared.settings.connections.max(1)).filter_map(|connection| {
        let shard = shared.settings.shards(connection).next()?;
        Some(format!("{PROBE_PREFIX}up/{shard}/session"))
    });
    for topic in ups.chain([PROBE_DOWN.to_owned()]) {
        if !goes_round(shared, &topic, SMALL_BYTES, arrived).await? {
            return Err(format!(
                "a message to {topic} does not come back: permit {user} at the broker to write remuda/v1/+/down and {PROBE_PREFIX}up/+/session and to read remuda/v1/+/up/+/+ and {PROBE_DOWN} (docs/external-brokers.md)"
            ));
        }
        if !goes_round(shared, &topic, PAYLOAD_BYTES_MAX, arrived).await? {
            return Err(format!(
                "a message of {SMALL_BYTES} bytes to {topic} comes back, one of {PAYLOAD_BYTES_MAX} does not: raise the broker's largest message and packet to at least {} bytes (docs/external-brokers.md)",
                PAYLOAD_BYTES_MAX + 1024
            ));
        }
    }
    Ok(())
}

async fn goes_round(
    shared: &Shared,
    topic: &str,
    length: usize,
    arrived: &mut mpsc::Receiver<Probe>,
) -> Result<bool, String> {
    let mut payload = vec![0; length];
    rand::rng().fill_bytes(&mut payload);
    let payload = Bytes::from(payload);
    let until = tokio::time::Instant::now() + WITHIN;
    while tokio::time::Instant::now() < until {
        shared.down.publish(topic.to_owned(), payload.clone());
        let again = tokio::time::sleep(AGAIN);
        tokio::pin!(again);
        loop {
            let (came_on, came) = tokio::select! {
                probe = arrived.recv() => match probe {
                    Some(probe) => probe,
                    None => return Ok(false),
                },
                () = &mut again => break,
            };
            // Other nodes check, too, and what was sent again comes twice.
            if came_on != topic || came.get(..NONCE_BYTES) != payload.get(..NONCE_BYTES) {
                continue;
            }
            if came != payload {
                return Err(format!(
                    "a message of {length} bytes to {topic} comes back altered: the broker must pass payloads on as they are"
                ));
            }
            return Ok(true);
        }
    }
    Ok(false)
}
