//! What follows from a wish.

use remuda_eventsourcing::Context;
use remuda_webhooks::{Next, RetryPlan};

use super::error::NotificationRefusal as No;
use super::{
    Acknowledged, Cancelled, DeadLettered, Failed, NotificationCommand, NotificationEvent, NotificationState,
    Read, Rendered, Request, Requested, Retried, Sent, Status,
};
use crate::channels::Channel;
use crate::limits::{LIFETIME_MS, PARAMETERS_MAX, TEXT_BYTES_MAX};

type Decision = Result<Vec<NotificationEvent>, No>;

pub(super) fn decide(
    state: &NotificationState,
    command: &NotificationCommand,
    context: &Context,
) -> Decision {
    let now_ms = context.now_ms;
    if let NotificationCommand::Request(request) = command {
        return wanted(state, request, now_ms);
    }
    if let NotificationCommand::Cancel { reason } = command {
        return cancel(state, reason);
    }
    let Some(request) = &state.request else {
        return Err(if state.status == Status::Cancelled { No::Cancelled } else { No::Unknown });
    };
    match command {
        NotificationCommand::Render { locale, not_before_ms } => match state.status {
            Status::Requested => {
                text("the language", locale)?;
                // Whoever sleeps longer than the message lives learns of it at once or never; at once is
                // better.
                let not_before_ms = (*not_before_ms).clamp(now_ms, request.expires_ms.max(now_ms));
                Ok(vec![NotificationEvent::Rendered(Rendered { locale: locale.clone(), not_before_ms })])
            }
            Status::Rendered | Status::Failed => Ok(Vec::new()),
            _ => Err(gone(state.status)),
        },
        NotificationCommand::MarkSent { receipt } => match state.status {
            Status::Rendered | Status::Failed => {
                let receipt = cut(receipt);
                Ok(vec![NotificationEvent::Sent(Sent { receipt, time_ms: now_ms })])
            }
            Status::Sent | Status::Read | Status::Acknowledged => Ok(Vec::new()),
            Status::Requested => Err(No::NotRendered),
            _ => Err(gone(state.status)),
        },
        NotificationCommand::MarkFailed { reason, worth_a_retry, retry_after_s } => match state.status {
            Status::Requested | Status::Rendered | Status::Failed => {
                Ok(vec![failed(state, request, reason, *worth_a_retry, *retry_after_s, context)])
            }
            _ => Err(gone(state.status)),
        },
        NotificationCommand::Retry => match state.status {
            Status::DeadLetter => {
                let expires_ms = now_ms.saturating_add(LIFETIME_MS);
                Ok(vec![NotificationEvent::Retried(Retried { time_ms: now_ms, expires_ms })])
            }
            _ => Err(No::NotDead),
        },
        NotificationCommand::MarkRead => match (request.channel, state.status) {
            (Channel::InApp, Status::Sent) => Ok(vec![NotificationEvent::Read(Read { time_ms: now_ms })]),
            (Channel::InApp, Status::Read | Status::Acknowledged) => Ok(Vec::new()),
            _ => Err(No::NotInInbox),
        },
        NotificationCommand::Acknowledge => match (request.channel, state.status) {
            (Channel::InApp, Status::Sent | Status::Read) => {
                Ok(vec![NotificationEvent::Acknowledged(Acknowledged { time_ms: now_ms })])
            }
            (Channel::InApp, Status::Acknowledged) => Ok(Vec::new()),
            _ => Err(No::NotInInbox),
        },
        NotificationCommand::Request(_) | NotificationCommand::Cancel { .. } => Ok(Vec::new()),
    }
}

fn gone(status: Status) -> No {
    match status {
        Status::Cancelled => No::Cancelled,
        Status::DeadLetter => No::DeadLetter,
        Status::Sent | Status::Read | Status::Acknowledged => No::AlreadySent,
        Status::New | Status::Requested | Status::Rendered | Status::Failed => No::Unknown,
    }
}

fn text(what: &'static str, value: &str) -> Result<(), No> {
    if (1..=TEXT_BYTES_MAX).contains(&value.len()) { Ok(()) } else { Err(No::Text(what)) }
}

/// What others say is cut rather than refused: it must not keep an outcome from being noted.
fn cut(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}

fn wanted(state: &NotificationState, request: &Request, now_ms: i64) -> Decision {
    match (state.status, &state.request) {
        (Status::Cancelled, _) => return Err(No::Cancelled),
        (_, Some(known)) => {
            // Asked again later it lives longer, and is still the same message.
            let same = Request { expires_ms: known.expires_ms, ..request.clone() } == *known;
            return if same { Ok(Vec::new()) } else { Err(No::AlreadyRequested) };
        }
        (_, None) => {}
    }
    text("the recipient", &request.recipient)?;
    text("the kind", &request.kind)?;
    if request.parameters.len() > PARAMETERS_MAX {
        return Err(No::Text("the parameters"));
    }
    for (name, value) in &request.parameters {
        text("a parameter's name", name)?;
        if value.len() > TEXT_BYTES_MAX {
            return Err(No::Text("a parameter"));
        }
    }
    Ok(vec![NotificationEvent::Requested(Requested { request: request.clone(), time_ms: now_ms })])
}

fn cancel(state: &NotificationState, reason: &str) -> Decision {
    text("the reason", reason)?;
    match state.status {
        Status::New | Status::Requested | Status::Rendered | Status::Failed | Status::DeadLetter => {
            Ok(vec![NotificationEvent::Cancelled(Cancelled { reason: reason.to_owned() })])
        }
        Status::Cancelled => Ok(Vec::new()),
        Status::Sent | Status::Read | Status::Acknowledged => Err(No::AlreadySent),
    }
}

fn failed(
    state: &NotificationState,
    request: &Request,
    reason: &str,
    worth_a_retry: bool,
    retry_after_s: Option<u64>,
    context: &Context,
) -> NotificationEvent {
    let now_ms = context.now_ms;
    let reason = cut(reason);
    let spread = jitter(&[&request.recipient, &request.kind]);
    let next = RetryPlan::default().next(state.attempts + 1, state.since_ms, now_ms, spread, retry_after_s);
    match next {
        Next::RetryAt(retry_at_ms) if worth_a_retry && retry_at_ms <= request.expires_ms => {
            NotificationEvent::Failed(Failed { reason, retry_at_ms })
        }
        _ => NotificationEvent::DeadLettered(DeadLettered { reason, time_ms: now_ms }),
    }
}

/// FNV-1a over texts: spreads retries of different messages.
pub fn jitter(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
