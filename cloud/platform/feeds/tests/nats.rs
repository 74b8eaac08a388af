//! NATS JetStream: a real server, killed and started again.

mod common;

use std::collections::BTreeSet;

use async_nats::jetstream;
use common::{Server, World, check, create, free_port, organization, wait_until};
use futures_util::StreamExt;
use remuda_feeds::{FeedSpec, Filter, Phase, Secret, SinkSpec};

fn server(world: &World) -> Server {
    let port = free_port();
    let store = world.folder.path().join("jetstream");
    let args = ["-js", "-sd", &store.display().to_string(), "-a", "127.0.0.1", "-p", &port.to_string()];
    Server::new("nats-server", args.map(str::to_owned).to_vec(), port)
}

fn spec(port: u16, stream: &str) -> FeedSpec {
    let sink = SinkSpec::Nats {
        url: format!("nats://127.0.0.1:{port}"),
        username: String::new(),
        password: Secret::default(),
        subject_prefix: "remuda.test".into(),
        stream: stream.into(),
    };
    FeedSpec { name: "to-nats".into(), filter: Filter::everything(), sink, refusals_max: 0 }
}

/// What is in the stream, in its order, and on which subjects.
async fn stored(port: u16) -> (Vec<serde_json::Value>, BTreeSet<String>) {
    let client = async_nats::connect(format!("nats://127.0.0.1:{port}")).await.expect("connected");
    let jetstream = jetstream::new(client);
    let mut stream = jetstream.get_stream("TEST").await.expect("a stream");
    let count = stream.info().await.expect("told").state.messages as usize;
    let config = jetstream::consumer::pull::Config::default();
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let (mut items, mut subjects) = (Vec::new(), BTreeSet::new());
    while items.len() < count {
        let message = messages.next().await.expect("one more").expect("a message");
        subjects.insert(message.subject.to_string());
        items.push(serde_json::from_slice(&message.payload).expect("JSON"));
        message.ack().await.expect("acknowledged");
    }
    (items, subjects)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_gets_each_thing_once_and_in_order() {
    let world = World::new().await;
    world.drive(3, 30).await;
    let mut server = server(&world);
    let feeds = world.feeds().await;
    create(&feeds, spec(server.port, "TEST")).await;
    let status = || async { feeds.get(&organization(), "to-nats").await.expect("there").status };
    wait_until("nobody listens", || async { status().await.phase == Phase::Retrying }).await;
    server.start().await;
    for _ in 0..3 {
        wait_until("it gets on", || async { status().await.delivered > 0 }).await;
        world.drive(3, 12).await;
        server.kill();
        world.drive(3, 12).await;
        server.start().await;
    }
    wait_until("everything is confirmed", || async { status().await.delivered as usize == world.written() })
        .await;
    let (items, subjects) = stored(server.port).await;
    check(&world, &items);
    assert_eq!(items.len(), world.written(), "what was sent again, the server has dropped by its id");
    assert!(
        subjects.contains("remuda.test.telemetry.VAN1") && subjects.contains("remuda.test.events.VAN0"),
        "{subjects:?}"
    );
    feeds.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_stream_is_told_of_and_waited_for() {
    let world = World::new().await;
    world.drive(1, 3).await;
    let mut server = server(&world);
    server.start().await;
    let feeds = world.feeds().await;
    create(&feeds, spec(server.port, "")).await;
    let status = || async { feeds.get(&organization(), "to-nats").await.expect("there").status };
    wait_until("it says what to do", || async {
        status()
            .await
            .last_error
            .is_some_and(|(_, text)| text.contains("no stream of the server takes remuda.test.>"))
    })
    .await;
    let client = async_nats::connect(format!("nats://127.0.0.1:{}", server.port)).await.expect("connected");
    let wanted = jetstream::stream::Config {
        name: "TEST".into(),
        subjects: vec!["remuda.test.>".into()],
        ..jetstream::stream::Config::default()
    };
    jetstream::new(client).create_stream(wanted).await.expect("made");
    wait_until("it goes on", || async { status().await.delivered as usize == world.written() }).await;
    check(&world, &stored(server.port).await.0);
    feeds.stop().await;
}
