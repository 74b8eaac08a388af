//! What an idle agent keeps: ten thousand of them run in one simulator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use remuda_edge_agent_core::{Agent, Output, Policy, Reading, RefuseAll, SavedState, Settings};
use remuda_model::signal::REGISTRY;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, VehicleId};
use remuda_wire::{Ack, Down, LaneAck, Welcome};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts")]
// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: see above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: see above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: u64 = 1_000_000_000;

/// Connected, 100 s of 40 signals made and acked.
fn busy_agent(n: u64, policy: &Arc<Policy>) -> Agent {
    let (vehicle, incarnation) = (VehicleId::new("VAN1").expect("an id"), Incarnation(n));
    let settings = Settings { policy: Arc::clone(policy), ..Settings::new(vehicle, incarnation, n) };
    let mut agent = Agent::new(settings, Arc::new(RefuseAll), SavedState::default(), &[], 0);
    agent.handle_timeout(0);
    agent.handle_connected(0);
    let connection = ConnectionId { incarnation, counter: 1 };
    let (epoch, server_time_ms) = (Epoch(1), 1_700_000_000_000);
    let welcome = Welcome { connection, wire: 1, epoch, server_time_ms, acks: vec![], resync: false };
    agent.handle_payload(&Down::Welcome(welcome).encode(), 0);
    for second in 1..100 {
        let now = second * SECOND;
        for def in REGISTRY.iter().take(40) {
            agent.handle_readings(&[Reading { signal: def.id, raw: now as i64, mono_ns: now }], now);
        }
        agent.handle_timeout(now);
        while let Some(output) = agent.poll_output() {
            if let Output::Append { lane, first, .. } = output {
                agent.handle_made(lane, first, 0, now);
                let ack = LaneAck { lane, incarnation, received: first, durable: first, credit: 100_000 };
                let ack = Ack { ack, epoch, server_time_ms, missing: false, greet: false };
                agent.handle_payload(&Down::Ack(ack).encode(), now);
            }
        }
    }
    assert!(agent.figures().frames_acked > 90 && agent.frames_held() == 0);
    assert!(Lane::ALL.len() == 2);
    agent
}

#[test]
fn an_idle_agent_keeps_less_than_10_kb() {
    let policy = Arc::new(Policy::default());
    drop(busy_agent(1, &policy));
    let before = LIVE.load(Ordering::Relaxed);
    let agents: Vec<_> = (0..100).map(|n| busy_agent(n + 10, &policy)).collect();
    let each = (LIVE.load(Ordering::Relaxed) - before) / agents.len();
    eprintln!("{each} bytes an agent");
    assert!(each < 10_000, "{each} bytes an agent");
}
