//! Clients that others wrote: rumqttc, mosquitto's, Python's paho.

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use remuda_contracts::uplink::Arrival;
use remuda_model::Lane;
use remuda_wire::Channel;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use support::*;
use tokio::process::Command;

const SAMPLES: Channel = Channel::Lane(Lane::Samples);

#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_is_served() {
    let mut stack = open(64).await;
    let mut options = MqttOptions::new("client", "127.0.0.1", stack.address.port());
    options.set_credentials("VAN1", "").set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("remuda/v1/VAN1/down", QoS::AtLeastOnce).await.expect("queued");
    for text in ["one", "two"] {
        client.publish(samples_topic("VAN1"), QoS::AtLeastOnce, false, text).await.expect("queued");
    }
    // A client lives only while it is polled; it ends when the connection does.
    let (heard, mut packets) = tokio::sync::mpsc::channel(64);
    let polling = tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(packet) = event {
                heard.send(packet).await.expect("the test listens");
            }
        }
    });
    let (_, van, downlink) = stack.connected().await;
    for text in ["one", "two"] {
        assert_eq!(stack.payload().await, (van, SAMPLES, text.as_bytes().to_vec()));
    }
    let (mut subscribed, mut acknowledged) = (false, 0);
    while !subscribed || acknowledged < 2 {
        match soon("a packet", packets.recv()).await.expect("served") {
            Packet::SubAck(_) => subscribed = true,
            Packet::PubAck(_) => acknowledged += 1,
            _ => {}
        }
    }
    assert_eq!(downlink.send(Bytes::from_static(b"hello")), Ok(()));
    let said = soon("a message", packets.recv()).await.expect("served");
    assert!(
        matches!(&said, Packet::Publish(p) if p.payload == "hello" && p.topic.ends_with("/down")),
        "{said:?}"
    );
    client.disconnect().await.expect("queued");
    soon("the end", polling).await.expect("polled");
    stack.disconnected().await;
}

fn mosquitto(program: &Path, port: u16, id: &str, rest: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-u", id, "-P", "secret"]).args(rest);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_and_sub_are_served() {
    let (Some(publisher), Some(subscriber)) =
        (program("mosquitto_pub", "mosquitto-clients"), program("mosquitto_sub", "mosquitto-clients"))
    else {
        return;
    };
    let mut stack = open(64).await;
    let port = stack.address.port();
    for qos in ["0", "1"] {
        let topic = samples_topic("VAN1");
        let args = ["-V", "mqttv311", "-q", qos, "-t", &topic, "-m", "hi"];
        let done =
            soon("mosquitto_pub", mosquitto(&publisher, port, "VAN1", &args).output()).await.expect("run");
        assert!(done.status.success(), "{done:?}");
        stack.connected().await;
        assert_eq!(stack.payload().await, (vehicle("VAN1"), SAMPLES, b"hi".to_vec()));
        stack.disconnected().await;
    }
    let args = ["-V", "mqttv311", "-q", "1", "-t", "remuda/v1/VAN2/down", "-C", "1"];
    let listening = mosquitto(&subscriber, port, "VAN2", &args).spawn().expect("started");
    let (_, _, downlink) = stack.connected().await;
    let listened = tokio::spawn(listening.wait_with_output());
    // What is said before it has subscribed is not sent, so it is said until it was heard.
    soon("mosquitto_sub", async {
        while !listened.is_finished() {
            let _ = downlink.send(Bytes::from_static(b"hello"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let heard = listened.await.expect("joined").expect("run");
    assert_eq!((heard.status.success(), &heard.stdout[..]), (true, &b"hello\n"[..]));
    stack.disconnected().await;
}

const PAHO: &str = r##"
import sys, threading
import paho.mqtt.client as mqtt
port, own, other = int(sys.argv[1]), sys.argv[2], sys.argv[3]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="anything", protocol=mqtt.MQTTv311)
client.username_pw_set("VAN1", "secret")
heard = threading.Event()
codes = []
client.on_message = lambda c, u, message: (codes.append(message.payload.decode()), heard.set())
def on_subscribe(c, u, mid, reasons, properties):
    codes.append(reasons[0].value)
    if len(codes) == 2:
        c.publish(own, b"from paho", qos=1)
client.on_subscribe = on_subscribe
def on_connect(c, u, flags, reason, properties):
    codes.clear()
    c.subscribe("#", 1)
    c.subscribe("remuda/v1/VAN1/down", 1)
client.on_connect = on_connect
client.connect("127.0.0.1", port, keepalive=5)
client.loop_start()
assert heard.wait(20), codes
gone = threading.Event()
client.on_disconnect = lambda *a: gone.set()
client.publish(other, b"not mine", qos=0)
assert gone.wait(20)
client.loop_stop()
print(codes)
"##;

#[tokio::test(flavor = "multi_thread")]
async fn paho_is_served() {
    let Some(python) = python() else { return };
    let mut stack = open(64).await;
    let mut command = Command::new(&python);
    let port = stack.address.port().to_string();
    command.args(["-c", PAHO, &port, &samples_topic("VAN1"), &samples_topic("VAN2")]);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = tokio::spawn(command.output());
    let (_, van, downlink) = stack.connected().await;
    assert_eq!(stack.payload().await, (van, SAMPLES, b"from paho".to_vec()));
    assert_eq!(downlink.send(Bytes::from_static(b"hello")), Ok(()));
    while !matches!(stack.next().await, Arrival::Disconnected { .. }) {}
    let done = soon("paho", running).await.expect("joined").expect("run");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "[128, 0, 'hello']");
    assert_eq!(stack.metric("remuda_ingress_refusals_total", "foreign_topic"), 1);
}
