//! What became of a vehicle's frames, and what it says of itself.

use std::io::{self, Write};

use remuda_api::vehicles::v1::{Delivery, Gap, QuarantinedFrame, Report};
use serde_json::{Value, json};

use crate::text::{age_of, rfc3339};

/// Gaps and quarantined frames that a table shows, newest first; JSON has all.
const SHOWN: usize = 5;

pub(crate) fn write_delivery(out: &mut dyn Write, delivery: &Delivery, now_ms: i64) -> io::Result<()> {
    if delivery.frames_reprocessed > 0 {
        writeln!(out, "reprocessed: {} frames that were in quarantine", delivery.frames_reprocessed)?;
    }
    for gap in delivery.gaps.iter().rev().take(SHOWN) {
        let Gap { lane, incarnation, from_seq, to_seq, reason, .. } = gap;
        let age = age_of(gap.record_time.as_ref(), now_ms);
        writeln!(out, "gap: {lane} {from_seq} to {to_seq} of {incarnation}, {reason}, {age} ago")?;
    }
    for frame in delivery.quarantined.iter().rev().take(SHOWN) {
        let QuarantinedFrame { lane, incarnation, seq, reason, bytes, .. } = frame;
        let age = age_of(frame.record_time.as_ref(), now_ms);
        writeln!(out, "quarantine: {lane} {seq} of {incarnation}, {reason}, {bytes} bytes, {age} ago")?;
    }
    if let Some(time) = &delivery.clone_time {
        let age = age_of(Some(time), now_ms);
        writeln!(out, "two agents answered for this vehicle {age} ago: is its disk cloned?")?;
    }
    Ok(())
}

pub(crate) fn write_report(out: &mut dyn Write, report: &Report, now_ms: i64) -> io::Result<()> {
    let policy = |name: &str, revision: u32| match (name, revision) {
        (_, 0) => "the built-in policy".to_owned(),
        ("", revision) => format!("revision {revision}"),
        (name, revision) => format!("{name}, revision {revision}"),
    };
    let desired = policy(&report.desired_policy, report.desired_revision);
    if report.report_time.is_none() {
        return writeln!(out, "\npolicy: {desired} is desired; the vehicle has not reported yet");
    }
    let age = age_of(report.report_time.as_ref(), now_ms);
    let follows = if report.reported_revision == report.desired_revision {
        format!("follows {desired}")
    } else {
        format!("follows {}; {desired} is desired", policy("", report.reported_revision))
    };
    writeln!(out, "\npolicy: {follows}; collects {}, as of {age} ago", report.collection)?;
    if report.refused_revision > 0 {
        writeln!(out, "refused revision {}: {}", report.refused_revision, report.refused_reason)?;
    }
    if let Some(budget) = &report.budget {
        let megabytes = |bytes: i64| bytes as f64 / 1e6;
        let (spent, all) = (megabytes(budget.spent_bytes), megabytes(budget.bytes));
        writeln!(out, "budget: {spent:.1} of {all:.0} MB spent in {}", budget.month)?;
    }
    let held = if report.bulk_held { ", held back" } else { "" };
    writeln!(
        out,
        "vehicle: agent {}, clock {}, link {}, backlog {} frames{held}",
        report.agent_version, report.clock, report.link, report.frames_held
    )?;
    if report.frames_shed + report.frames_damaged + report.readings_dropped > 0 {
        let Report { frames_shed, frames_damaged, readings_dropped, .. } = report;
        writeln!(
            out,
            "since its start: {frames_shed} frames shed, {frames_damaged} damaged, {readings_dropped} readings dropped"
        )?;
    }
    Ok(())
}

pub(crate) fn gap_json(gap: &Gap) -> Value {
    json!({
        "lane": gap.lane,
        "incarnation": gap.incarnation,
        "fromSeq": gap.from_seq,
        "toSeq": gap.to_seq,
        "reason": gap.reason,
        "recordTime": gap.record_time.as_ref().map(rfc3339),
    })
}

pub(crate) fn frame_json(frame: &QuarantinedFrame) -> Value {
    json!({
        "lane": frame.lane,
        "incarnation": frame.incarnation,
        "seq": frame.seq,
        "reason": frame.reason,
        "bytes": frame.bytes,
        "recordTime": frame.record_time.as_ref().map(rfc3339),
    })
}

pub(crate) fn report_json(report: &Report) -> Value {
    json!({
        "reportTime": report.report_time.as_ref().map(rfc3339),
        "agentVersion": report.agent_version,
        "boot": report.boot,
        "desiredPolicy": report.desired_policy,
        "desiredRevision": report.desired_revision,
        "reportedRevision": report.reported_revision,
        "refusedRevision": report.refused_revision,
        "refusedReason": report.refused_reason,
        "clock": report.clock,
        "link": report.link,
        "collection": report.collection,
        "bulkHeld": report.bulk_held,
        "budget": report.budget.as_ref().map(|budget| json!({
            "month": budget.month,
            "spentBytes": budget.spent_bytes,
            "bytes": budget.bytes,
        })),
        "framesHeld": report.frames_held,
        "framesShed": report.frames_shed,
        "framesDamaged": report.frames_damaged,
        "readingsDropped": report.readings_dropped,
    })
}
