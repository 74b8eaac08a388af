//! A bound on connections, and their TLS handshakes.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::StreamExt;
use tonic::transport::server::{Connected, TcpIncoming};

use crate::limits;
use crate::tls::{ConsoleTls, Peer, ShownCertificate, reason_of};

/// Hands out at most `max` connections at a time, and `share` to one address; more wait to be accepted, and those of an
/// address that has its share are closed. `refused` hears of each of them.
pub(crate) fn bounded(
    incoming: TcpIncoming,
    max: usize,
    share: usize,
    refused: impl Fn() + Send + Sync + 'static,
) -> impl Stream<Item = io::Result<Connection>> {
    let slots = Arc::new(Semaphore::new(max));
    let shares = Arc::new(Shares::new(share));
    let refused = Arc::new(refused);
    let accepted = incoming.then(move |socket| {
        let (slots, shares, refused) = (Arc::clone(&slots), Arc::clone(&shares), Arc::clone(&refused));
        async move {
            let socket = match socket {
                Ok(socket) => socket,
                Err(error) => return Some(Err(error)),
            };
            let Some(place) = shares.take(socket.peer_addr().ok().map(|peer| peer.ip())) else {
                refused();
                return None;
            };
            // Never closed, so there is always a slot in the end.
            let slot = slots.acquire_owned().await.ok();
            let socket = Socket::Plain(socket);
            Some(Ok(Connection { socket, certificate: None, _slot: slot, _place: place }))
        }
    });
    accepted.filter_map(|connection| connection)
}

/// The same connections after their TLS handshakes, which are made beside each other: who says nothing holds up nobody. `refused`
/// hears the stable reason of each that failed.
pub(crate) fn secured(
    incoming: impl Stream<Item = io::Result<Connection>>,
    tls: Arc<ConsoleTls>,
    refused: impl Fn(&'static str) + Send + Sync + 'static,
) -> impl Stream<Item = io::Result<Connection>> {
    let shared = Arc::new(Handshakes {
        tls,
        places: Arc::new(Semaphore::new(limits::HANDSHAKES_MAX)),
        shares: Arc::new(Shares::new(limits::HANDSHAKES_PER_ADDRESS_MAX)),
    });
    let refused = Arc::new(refused);
    let handshakes = StreamExt::map(incoming, move |connection| {
        let (shared, refused) = (Arc::clone(&shared), Arc::clone(&refused));
        // A task of its own, so that all cores take part.
        let made = tokio::spawn(async move {
            let connection = match connection {
                Ok(connection) => connection,
                Err(error) => return Some(Err(error)),
            };
            match tokio::time::timeout(limits::HANDSHAKE_PATIENCE, shared.handshake(connection)).await {
                Ok(Ok(connection)) => return Some(Ok(connection)),
                Ok(Err(reason)) => refused(reason),
                Err(_) => refused("tls_timeout"),
            }
            None
        });
        async move { made.await.ok().flatten() }
    });
    let made = futures_util::StreamExt::buffer_unordered(handshakes, limits::CONNECTIONS_MAX);
    StreamExt::filter_map(made, |connection| connection)
}

/// What all handshakes share.
struct Handshakes {
    tls: Arc<ConsoleTls>,
    places: Arc<Semaphore>,
    shares: Arc<Shares>,
}

/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;
/// For whoever speaks plain HTTP here.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    this port speaks TLS: the address begins with https://\n";

impl Handshakes {
    async fn handshake(&self, connection: Connection) -> Result<Connection, &'static str> {
        let Connection { socket, _slot, _place, .. } = connection;
        let Socket::Plain(mut tcp) = socket else { return Err("tls_failed") };
        let address = tcp.peer_addr().ok().map(|peer| peer.ip());
        // Who has not begun takes no place from those who have.
        let mut first = [0];
        match tcp.peek(&mut first).await {
            Ok(1) if first[0] == HANDSHAKE_RECORD => {}
            Ok(1) => {
                // Read first: a socket that closes on unread bytes takes back what it wrote. They may be gone already.
                let _ = tcp.read(&mut [0; 4_096]).await;
                let _ = tcp.write_all(SPEAK_TLS).await;
                let _ = tcp.shutdown().await;
                return Err("tls_not_spoken");
            }
            _ => return Err("tls_gone"),
        }
        let _share = self.shares.take(address).ok_or("handshakes_exhausted")?;
        let _place_here = self.places.acquire().await.map_err(|_| "tls_failed")?;
        let accepted = TlsAcceptor::from(self.tls.config()).accept(tcp).await;
        let stream = accepted.map_err(|error| reason_of(&error))?;
        let certificate = self.tls.shown(stream.get_ref().1.peer_certificates());
        Ok(Connection { socket: Socket::Secure(Box::new(stream)), certificate, _slot, _place })
    }
}

/// How many connections, or streams, each has: an address, or who calls.
pub(crate) struct Shares<K: Eq + Hash = IpAddr> {
    share: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// One of somebody's share; given back when it is dropped. Nobody's when it is not known whose.
pub(crate) struct Place<K: Eq + Hash = IpAddr>(Arc<Shares<K>>, Option<K>);

/// An address; of IPv6 the network, since one caller has all of it.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4(four),
        IpAddr::V6(six) => {
            let mut parts = six.segments();
            parts[4..].fill(0);
            IpAddr::V6(parts.into())
        }
    }
}

impl<K: Eq + Hash + Clone> Shares<K> {
    /// At most `share` for each.
    pub fn new(share: usize) -> Self {
        Self { share, held: Mutex::default() }
    }

    /// One more; none for whoever has their share.
    pub fn take_of(self: &Arc<Self>, whose: K) -> Option<Place<K>> {
        let mut held = self.held.lock();
        let count = held.entry(whose.clone()).or_default();
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(Place(Arc::clone(self), Some(whose)))
    }
}

impl Shares {
    /// One more; none for an address that has its share.
    pub fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        match address.map(network_of) {
            Some(network) => self.take_of(network),
            None => Some(Place(Arc::clone(self), None)),
        }
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let Some(whose) = &self.1 else { return };
        let mut held = self.0.held.lock();
        if let Some(count) = held.get_mut(whose) {
            *count -= 1;
            if *count == 0 {
                held.remove(whose);
            }
        }
    }
}

enum Socket {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// A socket that gives its slot back when it closes.
pub(crate) struct Connection {
    socket: Socket,
    certificate: Option<Arc<ShownCertificate>>,
    _slot: Option<OwnedSemaphorePermit>,
    _place: Place,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        let tcp = match &self.socket {
            Socket::Plain(tcp) => tcp,
            Socket::Secure(tls) => tls.get_ref().0,
        };
        Peer { address: tcp.peer_addr().ok(), certificate: self.certificate.clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Secure(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Socket::Secure(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Secure(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Secure(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Socket::Secure(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Socket::Plain(tcp) => tcp.is_write_vectored(),
            Socket::Secure(tls) => tls.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_waits_until_another_closes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = Box::pin(bounded(TcpIncoming::from(listener), 1, 9, || ()));
        let _clients = [TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap()];
        let first = incoming.next().await.unwrap().unwrap();
        let mut second = Box::pin(incoming.next());
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut second).await.is_err());
        drop(first);
        tokio::time::timeout(Duration::from_secs(10), second)
            .await
            .expect("a slot is free")
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn an_address_that_has_its_share_is_turned_away_and_comes_back_later() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let refused = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&refused);
        let count = move || _ = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut incoming = Box::pin(bounded(TcpIncoming::from(listener), 9, 1, count));
        let _clients = [TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap()];
        let first = incoming.next().await.unwrap().unwrap();
        // The second is closed, and the one after it waits for nobody once there is room.
        assert!(tokio::time::timeout(Duration::from_millis(50), incoming.next()).await.is_err());
        assert_eq!(refused.load(std::sync::atomic::Ordering::SeqCst), 1);
        drop(first);
        let _third = TcpStream::connect(addr).await.unwrap();
        let third = tokio::time::timeout(Duration::from_secs(10), incoming.next()).await;
        third.expect("there is room").unwrap().unwrap();
    }

    #[test]
    fn a_network_is_one_caller() {
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1:2:3:4"), of("2001:db8::9:8:7:6"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
