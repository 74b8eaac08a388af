//! Clients of MQTT 5 that others wrote: rumqttc, mosquitto's, Python's paho and gmqtt. Three of the four have a codec
//! of their own. What of paho's own suite applies to an endpoint without routing, retained messages and sessions is
//! asked here: basic, zero length client id, assigned client id, will, subscribe failure, unsubscribe, client topic
//! alias, maximum packet size, server keep alive, flow control, session expiry, user properties.

mod support;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use remuda_contracts::uplink::{Arrival, DoorRefusal};
use remuda_model::Lane;
use remuda_wire::{Channel, TraceContext};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use support::*;
use tokio::process::Command;
use tokio::task::JoinHandle;

const SAMPLES: Channel = Channel::Lane(Lane::Samples);
const TRACE_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn trace() -> TraceContext {
    TraceContext {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes(),
        span_id: 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes(),
        flags: 1,
    }
}

impl Stack {
    /// The next payload and what it says about its trace.
    async fn traced(&mut self) -> (Vec<u8>, Option<TraceContext>) {
        match self.next().await {
            Arrival::Payload { payload, trace, channel: SAMPLES, .. } => {
                (payload.to_vec(), trace.map(|trace| *trace))
            }
            other => panic!("expected a payload, not {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rumqttc_is_served() {
    let mut stack = open(64).await;
    let mut options = MqttOptions::new("client", "127.0.0.1", stack.address.port());
    options.set_credentials("VAN1", "").set_keep_alive(Duration::from_secs(5)).set_topic_alias_max(Some(4));
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("remuda/v1/VAN1/down", QoS::AtLeastOnce).await.expect("queued");
    let properties = PublishProperties {
        user_properties: vec![("traceparent".to_owned(), TRACE_PARENT.to_owned())],
        ..PublishProperties::default()
    };
    client
        .publish_with_properties(samples_topic("VAN1"), QoS::AtLeastOnce, false, "traced", properties)
        .await
        .expect("queued");
    client.publish(samples_topic("VAN1"), QoS::AtLeastOnce, false, "plain").await.expect("queued");
    let (heard, mut packets) = tokio::sync::mpsc::channel(64);
    let polling = tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(packet) = event {
                heard.send(packet).await.expect("the test listens");
            }
        }
    });
    let (_, _, downlink) = stack.connected().await;
    assert_eq!(stack.traced().await, (b"traced".to_vec(), Some(trace())));
    assert_eq!(stack.traced().await, (b"plain".to_vec(), None));
    let (mut subscribed, mut acknowledged) = (false, 0);
    while !subscribed || acknowledged < 2 {
        match soon("a packet", packets.recv()).await.expect("served") {
            Packet::SubAck(ack) => {
                subscribed = matches!(ack.return_codes[..], [SubscribeReasonCode::Success(QoS::AtMostOnce)]);
            }
            Packet::PubAck(_) => acknowledged += 1,
            _ => {}
        }
    }
    assert_eq!(downlink.send(Bytes::from_static(b"hello")), Ok(()));
    let said = soon("a message", packets.recv()).await.expect("served");
    assert!(
        matches!(&said, Packet::Publish(p) if p.payload == "hello" && p.topic.ends_with(b"/down")),
        "{said:?}"
    );
    client.disconnect().await.expect("queued");
    soon("the end", polling).await.expect("polled");
    stack.disconnected().await;
}

fn mosquitto(program: &Path, port: u16, id: &str, rest: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-u", id, "-P", "secret", "-V", "mqttv5"])
        .args(rest);
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
    let topic = samples_topic("VAN1");
    for qos in ["0", "1"] {
        let traced = ["-D", "publish", "user-property", "traceparent", TRACE_PARENT];
        let args = ["-q", qos, "-t", &topic, "-m", "hi", "-D", "connect", "session-expiry-interval", "60"];
        let run = mosquitto(&publisher, port, "VAN1", &[&args[..], &traced].concat()).output();
        let done = soon("mosquitto_pub", run).await.expect("run");
        assert!(done.status.success(), "{done:?}");
        stack.connected().await;
        assert_eq!(stack.traced().await, (b"hi".to_vec(), Some(trace())));
        stack.disconnected().await;
    }
    let args = ["-q", "1", "-t", "remuda/v1/VAN2/down", "-C", "1"];
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
    for filter in ["#", "remuda/v1/VAN1/down", "$share/g/x"] {
        let run = mosquitto(&subscriber, port, "VAN2", &["-t", filter, "-C", "1"]).output();
        let refused = soon("mosquitto_sub", run).await.expect("run");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("All subscription requests were denied"), "{filter}: {refused:?}");
        stack.connected().await;
        stack.disconnected().await;
    }
    stack.refused("VAN2", DoorRefusal::ForeignFilter, 3).await;
}

fn start(python: &Path, script: &str, arguments: &[&str]) -> JoinHandle<std::io::Result<Output>> {
    let mut command = Command::new(python);
    command.args(["-c", script]).args(arguments);
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::spawn(async move { command.output().await })
}

async fn said(what: &str, running: JoinHandle<std::io::Result<Output>>) -> Vec<String> {
    let done = soon(what, running).await.expect("joined").expect("run");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect()
}

/// Everything in one script, each line of what it prints one answer of the door.
const PAHO: &str = r##"
import sys, threading
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
port, own, other, trace = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
DOWN = "remuda/v1/VAN1/down"

class Session:
    def __init__(self, client_id="", keepalive=30, clean=True, user="VAN1", will=None, connect=None):
        self.client = c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.connected, self.gone, self.heard, self.answered = (threading.Event() for _ in range(4))
        c.username_pw_set(user, "secret")
        c.on_connect, c.on_disconnect, c.on_message = self.on_connect, self.on_disconnect, self.on_message
        c.on_subscribe = c.on_unsubscribe = self.on_answer
        if will: c.will_set(*will)
        properties = Properties(PacketTypes.CONNECT)
        for name, value in (connect or {}).items(): setattr(properties, name, value)
        c.connect("127.0.0.1", port, keepalive=keepalive, clean_start=clean, properties=properties)
        c.loop_start()
        assert self.connected.wait(20)
    def on_connect(self, c, u, flags, reason, properties):
        self.reason, self.present, self.properties = reason, flags.session_present, properties.json()
        self.connected.set()
    def on_disconnect(self, c, u, flags, reason, properties):
        self.end, self.end_by_server = reason, flags.is_disconnect_packet_from_server
        self.words = getattr(properties, "ReasonString", None)
        self.gone.set()
    def on_message(self, c, u, message):
        self.message = message.payload.decode(); self.heard.set()
    def on_answer(self, c, u, mid, reasons, properties):
        self.reasons = [reason.value for reason in reasons]; self.answered.set()
    def ask(self, what):
        self.answered.clear(); what(); assert self.answered.wait(20); return self.reasons
    def publish(self, topic, payload, qos=1, **names):
        properties = Properties(PacketTypes.PUBLISH)
        for name, value in names.items(): setattr(properties, name, value)
        info = self.client.publish(topic, payload, qos=qos, properties=properties)
        if qos: info.wait_for_publish(20); assert info.is_published()
    def ended(self):
        assert self.gone.wait(20); self.client.loop_stop()
        return self.end.getName(), self.end_by_server, self.words
    def leave(self):
        self.client.disconnect(); assert self.gone.wait(20); self.client.loop_stop()

s = Session(keepalive=0, clean=False, connect={"SessionExpiryInterval": 100})
p = s.properties
print(s.reason, s.present, p["AssignedClientIdentifier"], p["SessionExpiryInterval"], p["ServerKeepAlive"])
print(p["ReceiveMaximum"], p["MaximumQoS"], p["RetainAvailable"], p["MaximumPacketSize"], p["TopicAliasMaximum"],
      p["WildcardSubscriptionAvailable"], p["SubscriptionIdentifierAvailable"], p["SharedSubscriptionAvailable"])
print(s.ask(lambda: s.client.subscribe([(DOWN, 2), ("#", 0), ("$share/g/x", 0), ("remuda/v1/VAN2/down", 0)])))
s.publish(own, b"traced", UserProperty=[("a", "b"), ("traceparent", trace)], TopicAlias=1)
s.publish("", b"by its alias", qos=1, TopicAlias=1)
assert s.heard.wait(20); print(s.message)
print(s.ask(lambda: s.client.unsubscribe([DOWN, DOWN])))
s.leave()
for topic, kwargs in [(other, {}), (own, {"qos": 0, "TopicAlias": 9})]:
    s = Session(client_id="anything")
    assert "AssignedClientIdentifier" not in s.properties and "ServerKeepAlive" not in s.properties
    properties = Properties(PacketTypes.PUBLISH)
    if "TopicAlias" in kwargs: properties.TopicAlias = kwargs["TopicAlias"]
    s.client.publish(topic, b"x", qos=kwargs.get("qos", 1), properties=properties)
    print(s.ended())
s = Session(); s.client.publish(own, b"x" * 200_000); print(s.ended())
s = Session(will=(own.rsplit("/", 1)[0] + "/session", b"gone", 0, False)); print(s.reason)
s.client.disconnect(reasoncode=mqtt.ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message"))
assert s.gone.wait(20)
for will in [(own, b"x", 2, False), (own, b"x", 0, True)]:
    s = Session(will=will); print(s.reason); s.client.disconnect(); s.client.loop_stop()
s = Session(user="not a vehicle"); print(s.reason); s.client.disconnect(); s.client.loop_stop()
s = Session(); t = Session(); print(s.ended()); t.leave()
"##;

#[tokio::test(flavor = "multi_thread")]
async fn paho_is_served() {
    let Some(python) = python() else { return };
    let mut stack = open(64).await;
    let port = stack.address.port().to_string();
    let (own, other) = (samples_topic("VAN1"), samples_topic("VAN2"));
    let running = start(&python, PAHO, &[&port, &own, &other, TRACE_PARENT]);
    let (_, _, downlink) = stack.connected().await;
    assert_eq!(stack.traced().await, (b"traced".to_vec(), Some(trace())));
    assert_eq!(stack.traced().await, (b"by its alias".to_vec(), None));
    assert_eq!(downlink.send(Bytes::from_static(b"hello")), Ok(()));
    // Everything else that it publishes is refused, except one will. A session's end may come after the beginning of the next.
    let taking = tokio::spawn(async move {
        let mut wills = Vec::new();
        loop {
            match tokio::time::timeout(SOON, stack.arrivals.recv()).await {
                Ok(Some(Arrival::Payload { channel, payload, .. })) => wills.push((channel, payload)),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return wills,
            }
            if wills.len() == 1 && stack.metric("remuda_ingress_closes_total", "taken_over") > 0 {
                return wills;
            }
        }
    });
    let told = said("paho", running).await;
    let expected = [
        "Success False VAN1 0 800",
        "64 1 0 131584 8 0 0 0",
        "[0, 162, 158, 135]",
        "hello",
        "[0, 17]",
        "('Not authorized', True, 'foreign_topic')",
        "('Topic alias invalid', True, 'topic_alias')",
        "('Packet too large', True, 'too_large')",
        "Success",
        "QoS not supported",
        "Retain not supported",
        "Not authorized",
        "('Session taken over', True, 'taken_over')",
    ];
    assert_eq!(told, expected);
    let wills = soon("the will", taking).await.expect("taken");
    assert_eq!(wills, [(Channel::Session, Bytes::from_static(b"gone"))]);
}

/// An implementation of its own, on asyncio.
const GMQTT: &str = r#"
import asyncio, sys
from gmqtt import Client
from gmqtt.mqtt.constants import MQTTv50
port, own, trace = int(sys.argv[1]), sys.argv[2], sys.argv[3]

async def main():
    heard, ended, subscribed = asyncio.Event(), asyncio.Event(), asyncio.Event()
    said = []
    client = Client("anything", session_expiry_interval=60)
    client.set_auth_credentials("VAN1", "secret")
    def on_message(client, topic, payload, qos, properties):
        said.append(payload.decode()); heard.set(); return 0
    def on_subscribe(client, mid, qos, properties):
        said.append(list(qos)); subscribed.set()
    client.on_message, client.on_subscribe = on_message, on_subscribe
    client.on_disconnect = lambda client, packet, exc=None: ended.set()
    await client.connect("127.0.0.1", port, version=MQTTv50, keepalive=20)
    client.subscribe("remuda/v1/VAN1/down", qos=1)
    await asyncio.wait_for(subscribed.wait(), 20)
    client.publish(own, "from gmqtt", qos=1, user_property=("traceparent", trace))
    await asyncio.wait_for(heard.wait(), 20)
    await client.disconnect()
    print(said)

asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn gmqtt_is_served() {
    let Some(python) = python() else { return };
    let mut stack = open(64).await;
    let port = stack.address.port().to_string();
    let running = start(&python, GMQTT, &[&port, &samples_topic("VAN1"), TRACE_PARENT]);
    let (_, _, downlink) = stack.connected().await;
    assert_eq!(stack.traced().await, (b"from gmqtt".to_vec(), Some(trace())));
    assert_eq!(downlink.send(Bytes::from_static(b"hello")), Ok(()));
    assert_eq!(said("gmqtt", running).await, ["[[0], 'hello']"]);
    stack.disconnected().await;
    assert_eq!(stack.metric("remuda_ingress_closes_total", "goodbye"), 1);
}
