//! The README's table of commands and states is what the code does; stored forms are read for ever.

use std::collections::BTreeMap;
use std::path::Path;

use remuda_eventsourcing::table::{check, decisions};
use remuda_eventsourcing::testing::{context, given, golden_event};
use remuda_eventsourcing::{Aggregate, Context};
use remuda_notifications::channels::Channel;
use remuda_notifications::notification::{
    Failed, Notification, NotificationCommand, NotificationEvent, NotificationState, Rendered, Request,
    Retried, Sent,
};

fn request(channel: Channel) -> Request {
    Request {
        recipient: "ada".into(),
        channel,
        kind: "booking-confirmed".into(),
        parameters: BTreeMap::from([("booking".to_owned(), "b1".to_owned())]),
        urgent: false,
        expires_ms: context().now_ms + 72 * 3_600_000,
    }
}

fn wish(channel: Channel) -> NotificationCommand {
    NotificationCommand::Request(request(channel))
}

fn render() -> NotificationCommand {
    NotificationCommand::Render { locale: "en".into(), not_before_ms: 0 }
}

fn sent() -> NotificationCommand {
    NotificationCommand::MarkSent { receipt: "250".into() }
}

fn failed(worth_a_retry: bool) -> NotificationCommand {
    NotificationCommand::MarkFailed { reason: "busy".into(), worth_a_retry, retry_after_s: None }
}

fn cancel() -> NotificationCommand {
    NotificationCommand::Cancel { reason: "undone".into() }
}

fn after(commands: &[NotificationCommand]) -> NotificationState {
    let mut state = NotificationState::default();
    for command in commands {
        let events = Notification::decide(&state, command, &context());
        for event in events.unwrap_or_else(|no| panic!("{command:?}: {no}")) {
            Notification::evolve(&mut state, &event);
        }
    }
    state
}

#[test]
fn the_table_of_decisions_is_true() {
    let ready = [wish(Channel::InApp), render()];
    let in_inbox = [wish(Channel::InApp), render(), sent()];
    let states = [
        ("new", NotificationState::default()),
        ("requested", after(&ready[..1])),
        ("rendered", after(&ready)),
        ("failed", after(&[&ready[..], &[failed(true)]].concat())),
        ("sent (in-app)", after(&in_inbox)),
        ("sent (e-mail)", after(&[wish(Channel::Email), render(), sent()])),
        ("dead letter", after(&[&ready[..], &[failed(false)]].concat())),
        ("read", after(&[&in_inbox[..], &[NotificationCommand::MarkRead]].concat())),
        ("acknowledged", after(&[&in_inbox[..], &[NotificationCommand::Acknowledge]].concat())),
        ("cancelled", after(&[cancel()])),
    ];
    let mut other = request(Channel::InApp);
    other.kind = "another".into();
    let commands = [
        ("request", wish(Channel::InApp)),
        ("request another", NotificationCommand::Request(other)),
        ("render", render()),
        ("mark sent", sent()),
        ("mark failed for now", failed(true)),
        ("mark failed for good", failed(false)),
        ("retry", NotificationCommand::Retry),
        ("mark read", NotificationCommand::MarkRead),
        ("acknowledge", NotificationCommand::Acknowledge),
        ("cancel", cancel()),
    ];
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let table = decisions::<Notification>(&states, &commands, &context());
    check(&page, &table).unwrap_or_else(|advice| panic!("{advice}"));
}

#[test]
fn attempts_end_and_an_operator_may_begin_again() {
    let mut now = context();
    let mut state = after(&[wish(Channel::Email), render()]);
    let decide = |state: &NotificationState, command: &NotificationCommand, now: &Context| {
        Notification::decide(state, command, now).expect("accepted")
    };
    let mut attempts = 0;
    loop {
        let events = decide(&state, &failed(true), &now);
        events.iter().for_each(|event| Notification::evolve(&mut state, event));
        attempts += 1;
        match &events[..] {
            [NotificationEvent::Failed(f)] => now.now_ms = f.retry_at_ms,
            [NotificationEvent::DeadLettered(_)] => break,
            other => panic!("{other:?}"),
        }
        assert!(attempts < 100, "attempts end");
    }
    assert!(attempts > 5, "but not at once: {attempts}");
    for event in decide(&state, &NotificationCommand::Retry, &now) {
        Notification::evolve(&mut state, &event);
    }
    assert_eq!((state.attempts, state.due_ms), (0, now.now_ms));
    // Said with a patience that the other side asks for.
    let patient = NotificationCommand::MarkFailed {
        reason: "busy".into(),
        worth_a_retry: true,
        retry_after_s: Some(600),
    };
    let events = decide(&after(&[wish(Channel::Webhook), render()]), &patient, &context());
    let expected = context().now_ms + 600_000;
    assert!(matches!(&events[..], [NotificationEvent::Failed(f)] if f.retry_at_ms == expected), "{events:?}");
}

#[test]
fn bad_requests_are_refused() {
    let long = "x".repeat(600);
    for wrong in [
        Request { recipient: String::new(), ..request(Channel::Email) },
        Request { kind: long.clone(), ..request(Channel::Email) },
        Request { parameters: BTreeMap::from([("a".to_owned(), long)]), ..request(Channel::Email) },
        Request {
            parameters: (0..33).map(|n| (format!("p{n}"), String::new())).collect(),
            ..request(Channel::Email)
        },
    ] {
        given::<Notification>([]).when(NotificationCommand::Request(wrong)).then_refused("invalid-text");
    }
}

#[test]
fn stored_forms_are_read_for_ever() {
    golden_event::<Notification>(
        "notification.rendered",
        1,
        "02646501",
        &NotificationEvent::Rendered(Rendered { locale: "de".into(), not_before_ms: -1 }),
    );
    golden_event::<Notification>(
        "notification.sent",
        1,
        "0332353002",
        &NotificationEvent::Sent(Sent { receipt: "250".into(), time_ms: 1 }),
    );
    golden_event::<Notification>(
        "notification.failed",
        1,
        "04627573798001",
        &NotificationEvent::Failed(Failed { reason: "busy".into(), retry_at_ms: 64 }),
    );
    golden_event::<Notification>(
        "notification.retried",
        1,
        "0204",
        &NotificationEvent::Retried(Retried { time_ms: 1, expires_ms: 2 }),
    );
    golden_event::<Notification>(
        "notification.requested",
        1,
        "0361646101016b0101610162010204",
        &NotificationEvent::Requested(remuda_notifications::notification::Requested {
            request: Request {
                recipient: "ada".into(),
                channel: Channel::Email,
                kind: "k".into(),
                parameters: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                urgent: true,
                expires_ms: 1,
            },
            time_ms: 2,
        }),
    );
}
