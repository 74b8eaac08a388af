//! W3C Trace Context as text (`traceparent`).

use remuda_wire::TraceContext;

/// Reads `00-<32 hex>-<16 hex>-<2 hex>`, and of later versions what they have in common with it. `None` for anything
/// else, as the standard wants: a broken trace is no trace.
pub(crate) fn parse(text: &str) -> Option<TraceContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let [version] = hex::<1>(version)?;
    let more = parts.next().is_some();
    if version == 0xff || (version == 0 && more) {
        return None;
    }
    let (trace_id, span_id, [flags]) = (hex::<16>(trace)?, hex::<8>(span)?, hex::<1>(flags)?);
    let real = trace_id != [0; 16] && span_id != [0; 8];
    real.then_some(TraceContext { trace_id, span_id, flags })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_trace_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = parse(good).expect("the standard's own example");
        assert_eq!((read.trace_id[0], read.span_id[7], read.flags), (0x4b, 0xb7, 1));
        assert!(parse(&good.replacen("00", "cc", 1)).is_some());
        assert!(parse(&format!("{}-more", good.replacen("00", "cc", 1))).is_some());
        for bad in [
            "",
            "00",
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            &good.to_uppercase(),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &good[..54],
            &good.replace('b', "\u{e9}"),
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
