//! Bytes that must be read for ever.

use crate::aggregate::{Aggregate, Encoded};

/// A stored event, as hexadecimal digits, and what it means. Such cases are only ever added: when a form changes, the
/// case of the old one stays, and [`Aggregate::decode`] makes the newest event out of it (an upcast).
///
/// ```text
/// // Version 1 knew no currency; it was always the euro.
/// golden_event::<Account>("account.credited", 1, "e807", &Event::Credited { amount: 1000, currency: EUR });
/// golden_event::<Account>("account.credited", 2, "e80703455552", &Event::Credited { amount: 1000, currency: EUR });
/// ```
///
/// # Panics
/// When it is read as something else; or, for the newest form, when it would now be written otherwise.
pub fn golden_event<A: Aggregate>(event_type: &str, schema_version: u16, hex: &str, meaning: &A::Event) {
    let payload = from_hex(hex);
    let read = A::decode(event_type, schema_version, &payload)
        .unwrap_or_else(|e| panic!("an old event can no longer be read: {e}"));
    assert_eq!(&read, meaning, "{event_type} version {schema_version} is read as something else");
    let Encoded { event_type: newest_type, schema_version: newest, payload: written } = A::encode(meaning);
    if newest_type == event_type && newest == schema_version {
        assert_eq!(to_hex(&written), hex, "{event_type} is written otherwise: give its form a new version");
    } else {
        assert!(
            newest_type != event_type || newest > schema_version,
            "{event_type} went back to version {newest}"
        );
    }
    let later = A::decode(event_type, u16::MAX, &payload);
    assert!(later.is_err(), "{event_type} of a version that is not known yet must not be guessed at");
}

/// The digits of an event as it is written now, for a new golden case.
pub fn written_now<A: Aggregate>(event: &A::Event) -> String {
    to_hex(&A::encode(event).payload)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Vec<u8> {
    assert!(
        digits.len().is_multiple_of(2) && digits.is_ascii(),
        "hexadecimal digits come in pairs: {digits}"
    );
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal digits"))
        .collect()
}
