//! MQTT: a real broker that comes late, and a subscriber of the customer's.

mod common;

use std::sync::Arc;

use common::{Server, World, check, create, free_port, in_order, organization, wait_until};
use parking_lot::Mutex;
use remuda_feeds::{FeedSpec, Filter, Phase, Secret, SinkSpec};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_gets_everything_in_order_however_late_it_comes() {
    let world = World::new().await;
    world.drive(3, 30).await;
    let port = free_port();
    let config = world.folder.path().join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
    std::fs::write(&config, text).expect("written");
    let mut server = Server::new("mosquitto", vec!["-c".into(), config.display().to_string()], port);
    let feeds = world.feeds().await;
    let sink = SinkSpec::Mqtt {
        url: format!("mqtt://127.0.0.1:{port}"),
        username: String::new(),
        password: Secret::default(),
        topic_prefix: "remuda/test".into(),
    };
    let spec = FeedSpec { name: "to-mqtt".into(), filter: Filter::everything(), sink, refusals_max: 0 };
    create(&feeds, spec).await;
    let status = || async { feeds.get(&organization(), "to-mqtt").await.expect("there").status };
    wait_until("nobody listens", || async { status().await.phase == Phase::Retrying }).await;
    feeds.pause(&organization(), "to-mqtt", true).await.expect("paused");
    server.start().await;
    let (got, topics) =
        (Arc::<Mutex<Vec<serde_json::Value>>>::default(), Arc::<Mutex<Vec<String>>>::default());
    let (client, mut events) = AsyncClient::new(MqttOptions::new("customer", "127.0.0.1", port), 10);
    client.subscribe("remuda/test/#", QoS::AtLeastOnce).await.expect("asked");
    let (there, on, subscribed) =
        (Arc::clone(&got), Arc::clone(&topics), Arc::new(tokio::sync::Notify::new()));
    let told = Arc::clone(&subscribed);
    let reading = tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::SubAck(_))) => told.notify_one(),
                Ok(Event::Incoming(Incoming::Publish(message))) => {
                    on.lock().push(message.topic.clone());
                    there.lock().push(serde_json::from_slice(&message.payload).expect("JSON"));
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    subscribed.notified().await;
    feeds.pause(&organization(), "to-mqtt", false).await.expect("resumed");
    world.drive(3, 12).await;
    wait_until("everything arrives", || async {
        in_order(&got.lock()).0.values().map(Vec::len).sum::<usize>() == world.written()
    })
    .await;
    check(&world, &got.lock());
    assert!(topics.lock().iter().any(|topic| topic == "remuda/test/telemetry/VAN2"));
    feeds.stop().await;
    reading.abort();
}
