//! A bound on connections.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};

/// Hands out at most `max` connections at a time, and `share` to one address; more wait to be accepted, and those of an
/// address that has its share are closed. `refused` hears of each of them.
pub(crate) fn bounded(
    incoming: TcpIncoming,
    max: usize,
    share: usize,
    refused: impl Fn() + Send + Sync + 'static,
) -> impl Stream<Item = io::Result<Connection>> {
    let slots = Arc::new(Semaphore::new(max));
    let shares = Arc::new(Shares { share, held: Mutex::default() });
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
            Some(Ok(Connection { socket, _slot: slot, _place: place }))
        }
    });
    accepted.filter_map(|connection| connection)
}

/// How many connections each address has.
struct Shares {
    share: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address; given back when it closes.
struct Place(Arc<Shares>, Option<IpAddr>);

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

impl Shares {
    fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let Some(address) = address.map(network_of) else { return Some(Place(Arc::clone(self), None)) };
        let mut held = self.held.lock();
        let count = held.entry(address).or_default();
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(Place(Arc::clone(self), Some(address)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.1 else { return };
        let mut held = self.0.held.lock();
        if let Some(count) = held.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&address);
            }
        }
    }
}

/// A socket that gives its slot back when it closes.
pub(crate) struct Connection {
    socket: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
    _place: Place,
}

impl Connection {
    fn socket(self: Pin<&mut Self>) -> Pin<&mut TcpStream> {
        Pin::new(&mut self.get_mut().socket)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
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
