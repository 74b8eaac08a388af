//! How times, numbers and texts are written.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

/// ISO 8601 (RFC 3339) in UTC with 3, 6 or 9 digits after the second, as many as it needs.
pub fn iso_8601(time_ns: i64) -> String {
    let digits = match time_ns {
        t if t % 1_000_000 == 0 => SecondsFormat::Millis,
        t if t % 1_000 == 0 => SecondsFormat::Micros,
        _ => SecondsFormat::Nanos,
    };
    DateTime::from_timestamp_nanos(time_ns).to_rfc3339_opts(digits, true)
}

/// A finite number with at most so many digits after the point, or as many as it takes; none for what is not finite.
pub fn number(value: f64, decimals: Option<u8>) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let Some(decimals) = decimals else {
        // Rust never writes an exponent by itself, but 300 zeros.
        let plain = value == 0.0 || (1e-9..1e17).contains(&value.abs());
        return Some(if plain { format!("{}", value + 0.0) } else { format!("{value:e}") });
    };
    let mut text = format!("{value:.*}", usize::from(decimals));
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    Some(if text == "-0" { "0".to_owned() } else { text })
}

/// A coordinate in degrees: 7 digits are a centimetre.
pub(crate) fn degrees(value: f64) -> String {
    number(value, Some(7)).unwrap_or_else(|| "0".to_owned())
}

/// Up to here every integer is a number of its own: 2^53.
const INTEGERS_MAX: f64 = 9_007_199_254_740_992.0;

/// As `number`, for JSON: the nearest number to the text.
pub(crate) fn rounded(value: f64, decimals: Option<u8>) -> Option<f64> {
    let Some(decimals) = decimals else { return value.is_finite().then_some(value) };
    let power = 10_f64.powi(i32::from(decimals));
    let scaled = (value * power).round();
    // The quotient of two exact numbers is the nearest to the decimal fraction; ten times quicker than through the text.
    if scaled.abs() < INTEGERS_MAX && decimals <= 22 {
        return Some(scaled / power + 0.0);
    }
    number(value, Some(decimals))?.parse().ok()
}

/// A text for XML 1.0, inside an element or an attribute. Characters that XML cannot carry at all become U+FFFD.
pub(crate) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Written as themselves, a reader would turn them into spaces or line feeds.
            '\t' | '\n' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A property for formats that know texts only.
pub(crate) fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// One part of a topic: a slash, a space, and what would need escaping elsewhere is percent-encoded.
pub(crate) fn topic_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || " /%\"\\".contains(c) {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(part, "%{byte:02X}");
            }
        } else {
            part.push(c);
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_they_need() {
        assert_eq!(iso_8601(1_700_000_000_000_000_000), "2023-11-14T22:13:20.000Z");
        assert_eq!(iso_8601(1_700_000_000_000_001_000), "2023-11-14T22:13:20.000001Z");
        assert_eq!(iso_8601(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(iso_8601(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(iso_8601(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn numbers_are_short_and_exact() {
        let shown = |value, decimals| number(value, decimals).unwrap_or_else(|| "none".into());
        assert_eq!(shown(0.1 + 0.2, Some(2)), "0.3");
        assert_eq!(shown(-0.001, Some(2)), "0");
        assert_eq!(shown(1200.0, Some(0)), "1200");
        assert_eq!(shown(0.1 + 0.2, None), "0.30000000000000004");
        assert_eq!(shown(-0.0, None), "0");
        assert_eq!(shown(1e300, None), "1e300");
        assert_eq!(shown(f64::NAN, None), "none");
        assert_eq!(shown(f64::INFINITY, Some(2)), "none");
        assert_eq!(rounded(24.123_456_789, Some(7)), Some(24.123_456_8));
        for (value, decimals) in
            [(0.1 + 0.2, 2), (-1.005, 2), (36.1, 1), (1e16, 3), (-0.04, 1), (12.340_000_000_000_002, 2)]
        {
            let text = number(value, Some(decimals)).and_then(|text| text.parse().ok());
            assert_eq!(rounded(value, Some(decimals)), text, "{value}");
        }
        assert_eq!((rounded(f64::NAN, Some(2)), rounded(f64::INFINITY, None)), (None, None));
    }

    #[test]
    fn odd_texts_are_escaped() {
        assert_eq!(xml("a<b>&\"c\"\u{1}\n\u{ffff}é"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}&#10;\u{fffd}é");
        assert_eq!(topic_part("V/1 \u{85}é"), "V%2F1%20%C2%85é");
    }
}
