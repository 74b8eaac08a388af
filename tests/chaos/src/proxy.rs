//! The network between the vehicles and the door: a TCP proxy that breaks what passes through it.
//!
//! It never changes a byte inside a packet: TCP's checksums and TLS catch that. It cuts, holds, delays, delivers late,
//! and puts garbage where a packet should begin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Passes everything on.
    Clear,
    /// Cuts what is connected and refuses what comes.
    Refuse,
    /// Passes everything on after a pause, up to so many ms.
    Delay(u64),
    /// Passes nothing on and closes nothing; what was held goes on when the weather changes.
    HalfOpen,
    /// As half open, but one way only: the door hears and its answers do not arrive.
    Deaf,
    /// Cuts the vehicle off and delivers what it had sent so many ms later, beside its next connection.
    Late(u64),
    /// Cuts in the middle of a packet, either way.
    CutMidPacket,
    /// Random bytes where a packet should begin, either way, then a cut.
    Garbage,
}

/// Chance that a piece of traffic meets the weather where it breaks a connection: some must survive it.
const CHANCE: f64 = 0.3;
/// Bytes passed on at a time.
const PIECE: usize = 16 * 1024;
/// Most garbage at once, bytes.
const GARBAGE_MAX: usize = 512;

#[derive(Debug)]
struct Shared {
    door: Mutex<Option<String>>,
    weather: watch::Sender<Weather>,
    random: Mutex<StdRng>,
    met: AtomicU64,
}

impl Shared {
    fn meets(&self) -> bool {
        let meets = self.random.lock().unwrap_or_else(PoisonError::into_inner).random_bool(CHANCE);
        if meets {
            self.met.fetch_add(1, Ordering::Relaxed);
        }
        meets
    }

    fn below(&self, bound: usize) -> usize {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..bound.max(1))
    }

    fn garbage(&self) -> Vec<u8> {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; random.random_range(1..GARBAGE_MAX)];
        random.fill(bytes.as_mut_slice());
        bytes
    }
}

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    // Dropping it ends every task.
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When the system has no port or no thread.
    pub fn start(seed: u64) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            door: Mutex::new(None),
            weather: watch::channel(Weather::Clear).0,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            met: AtomicU64::new(0),
        });
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _runtime: runtime })
    }

    /// Where vehicles connect.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Where the door is now; none while the cloud is down.
    pub fn lead_to(&self, door: Option<&str>) {
        *self.shared.door.lock().unwrap_or_else(PoisonError::into_inner) = door.map(str::to_owned);
    }

    /// Changes the weather, for what is connected too.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// How many pieces of traffic or connections met bad weather.
    pub fn met(&self) -> u64 {
        self.shared.met.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Errors of accept are those of one connection, or of a full table of files: both pass.
        let Ok((vehicle, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if *shared.weather.borrow() == Weather::Refuse {
            shared.met.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        tokio::spawn(carry(vehicle, Arc::clone(&shared)));
    }
}

async fn carry(vehicle: TcpStream, shared: Arc<Shared>) {
    let door = shared.door.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(door) = door else { return };
    let Ok(door) = TcpStream::connect(door).await else { return };
    // Without it the proxy, not the peers, would decide how packets are grouped.
    let _ = (vehicle.set_nodelay(true), door.set_nodelay(true));
    let (from_vehicle, to_vehicle) = vehicle.into_split();
    let (from_door, to_door) = door.into_split();
    // Both ends are dropped, and so closed, when either way ends; what is held back for later lives on by itself.
    tokio::select! {
        () = pump(from_vehicle, to_door, Way::Up, &shared) => {}
        () = pump(from_door, to_vehicle, Way::Down, &shared) => {}
        () = refused(&shared) => {}
    }
}

async fn refused(shared: &Shared) {
    let mut weather = shared.weather.subscribe();
    if weather.wait_for(|w| *w == Weather::Refuse).await.is_ok() {
        shared.met.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, shared: &Arc<Shared>) {
    let mut weather = shared.weather.subscribe();
    let mut framing = Framing::default();
    let mut piece = vec![0; PIECE];
    loop {
        let Ok(read @ 1..) = from.read(&mut piece).await else { return };
        let now = *weather.borrow_and_update();
        let bytes = &piece[..read];
        match now {
            Weather::Clear => {}
            Weather::Refuse => return,
            Weather::Delay(ms) => {
                let pause = shared.below(ms as usize + 1) as u64;
                shared.met.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            Weather::Deaf if way == Way::Up => {}
            Weather::HalfOpen | Weather::Deaf => {
                shared.met.fetch_add(1, Ordering::Relaxed);
                if weather.changed().await.is_err() {
                    return;
                }
            }
            Weather::Late(ms) if way == Way::Up && shared.meets() => {
                let late = bytes.to_vec();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    // Whether the door still listens on the old connection is its affair.
                    let _ = to.write_all(&late).await;
                    let _ = to.shutdown().await;
                });
                return;
            }
            Weather::CutMidPacket if shared.meets() => {
                let _ = to.write_all(&bytes[..shared.below(read)]).await;
                return;
            }
            Weather::Garbage if shared.meets() => {
                let at = framing.clone().first_boundary(bytes);
                let Some(at) = at else {
                    framing.pass(bytes);
                    if to.write_all(bytes).await.is_err() {
                        return;
                    }
                    continue;
                };
                let mut sent = bytes[..at].to_vec();
                sent.extend(shared.garbage());
                let _ = to.write_all(&sent).await;
                return;
            }
            Weather::Late(_) | Weather::CutMidPacket | Weather::Garbage => {}
        }
        framing.pass(bytes);
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// Where MQTT packets begin in a stream.
#[derive(Debug, Clone, Default)]
struct Framing {
    /// Bytes of the packet's body still to come.
    left: usize,
    /// Bytes of the fixed header seen so far, and the length they give.
    header: usize,
    length: usize,
}

impl Framing {
    /// Takes one byte; true when a packet ends with it.
    fn step(&mut self, byte: u8) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return self.left == 0;
        }
        if self.header > 0 {
            self.length |= usize::from(byte & 0x7f) << (7 * (self.header - 1).min(3));
        }
        self.header += 1;
        if self.header > 1 && (byte & 0x80 == 0 || self.header > 4) {
            self.left = self.length;
            (self.header, self.length) = (0, 0);
            return self.left == 0;
        }
        false
    }

    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// How many of these bytes come before the first place where a packet begins.
    fn first_boundary(mut self, bytes: &[u8]) -> Option<usize> {
        if self.left == 0 && self.header == 0 {
            return Some(0);
        }
        bytes.iter().position(|byte| self.step(*byte)).map(|at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_begin_where_the_one_before_ends() {
        let mut framing = Framing::default();
        // PINGREQ, a packet of 3 bytes, one of 200 with a length of two bytes.
        let mut bytes = vec![0xc0, 0, 0x30, 3, 1, 2, 3, 0x30, 0xc8, 0x01];
        bytes.extend([7; 200]);
        bytes.extend([0xc0, 0]);
        let ends: Vec<usize> =
            bytes.iter().enumerate().filter_map(|(n, byte)| framing.step(*byte).then_some(n + 1)).collect();
        assert_eq!(ends, [2, 7, 210, 212]);
        let mut inside = Framing::default();
        inside.pass(&bytes[..5]);
        assert_eq!(inside.clone().first_boundary(&bytes[5..]), Some(2));
        assert_eq!(Framing::default().first_boundary(&bytes), Some(0));
        inside.pass(&bytes[5..20]);
        assert_eq!(inside.first_boundary(&bytes[20..30]), None);
    }
}
