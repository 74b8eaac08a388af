//! The baseline's two halves, over a relay that is as small as one can be.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use remuda_fleet::broker::{PublishSettings, count, publish};
use rumqttc::mqttbytes::v4::Packet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc, watch};

/// Answers CONNECT and SUBSCRIBE; relays every PUBLISH to whoever subscribed. Tells when somebody has.
async fn relay(listener: TcpListener, subscribed: mpsc::Sender<()>) {
    let (sender, _) = broadcast::channel(10_000);
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, sender.clone(), subscribed.clone()));
    }
}

async fn serve(
    mut stream: TcpStream,
    hub: broadcast::Sender<Vec<u8>>,
    subscribed: mpsc::Sender<()>,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        while let Ok(packet) = Packet::read(&mut buffer, 1 << 20) {
            match packet {
                Packet::Connect(_) => stream.write_all(&[0x20, 2, 0, 0]).await?,
                Packet::Publish(publish) => {
                    let mut out = BytesMut::new();
                    publish.write(&mut out).expect("written");
                    let _ = hub.send(out.to_vec());
                }
                Packet::Subscribe(_) => {
                    let mut receiver = hub.subscribe();
                    stream.write_all(&[0x90, 3, 0, 1, 0]).await?;
                    subscribed.send(()).await.expect("the test waits");
                    while let Ok(bytes) = receiver.recv().await {
                        stream.write_all(&bytes).await?;
                    }
                }
                _ => {}
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn what_is_published_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let broker = listener.local_addr().expect("an address").to_string();
    let (told, mut subscribed) = mpsc::channel(1);
    let relay = tokio::spawn(relay(listener, told));
    let (stop, stopped) = watch::channel(false);
    let counting = {
        let (broker, stopped) = (broker.clone(), stopped.clone());
        tokio::spawn(async move { count(&broker, 2, Duration::from_secs(1), stopped).await })
    };
    subscribed.recv().await.expect("the counter subscribes");
    let settings = PublishSettings {
        broker,
        vehicles: 5,
        rate: 20.0,
        signals: 10,
        frames: 2,
        duration: Duration::from_millis(600),
    };
    let published = publish(settings, stopped).await.expect("published");
    let counted = counting.await.expect("no panic").expect("counted");
    assert!(published.payloads >= 10, "{published:?}");
    assert_eq!((counted.payloads, counted.frames), (published.payloads, published.frames));
    drop(stop);
    relay.abort();
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let broker = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let (_stop, stopped) = watch::channel(false);
    assert!(count(&broker, 1, Duration::from_secs(1), stopped).await.is_err());
}
