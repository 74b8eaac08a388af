//! CAN payloads decoded as a DBC file says.

use std::path::Path;

use can_dbc::{ByteOrder, Dbc, MessageId, Signal, ValueType};
use remuda_edge_agent_core::Reading;
use remuda_model::{SignalDef, signal};

use super::mapping::MappedSignal;
use super::{ReplayError, read};

/// Where a signal's bits are, and what they mean.
#[derive(Debug, Clone, PartialEq)]
struct Bits {
    /// Index of each bit, most significant first: `byte * 8 + bit`, bit 0 being the least significant.
    places: Vec<usize>,
    signed: bool,
    factor: f64,
    offset: f64,
}

impl Bits {
    /// `None` when it does not lie within eight bytes.
    fn of(signal: &Signal) -> Option<Self> {
        let (start, size) = (usize::try_from(signal.start_bit).ok()?, usize::try_from(signal.size).ok()?);
        if !(1..=64).contains(&size) || start >= 64 {
            return None;
        }
        let places: Vec<usize> = match signal.byte_order {
            // Intel: the start is the least significant bit, and numbers count upwards.
            ByteOrder::LittleEndian => (start..start.checked_add(size)?).rev().collect(),
            // Motorola: the start is the most significant bit; downwards in a byte, then on at the next one's top.
            ByteOrder::BigEndian => {
                let next = |at: &usize| Some(if at.is_multiple_of(8) { at + 15 } else { at - 1 });
                std::iter::successors(Some(start), next).take(size).collect()
            }
        };
        let fits = places.iter().all(|place| *place < 64);
        let signed = signal.value_type == ValueType::Signed;
        fits.then_some(Self { places, signed, factor: signal.factor, offset: signal.offset })
    }

    fn physical(&self, payload: &[u8; 8]) -> f64 {
        let bit = |place: &usize| u64::from(payload[place / 8] >> (place % 8) & 1);
        let raw = self.places.iter().fold(0, |raw, place| raw << 1 | bit(place));
        let unused = 64 - self.places.len() as u32;
        let value = if self.signed { ((raw << unused) as i64 >> unused) as f64 } else { raw as f64 };
        value * self.factor + self.offset
    }
}

/// One mapped signal of a message.
#[derive(Debug)]
struct SignalDecoder {
    bits: Bits,
    plus: Option<Bits>,
    factor: f64,
    offset: f64,
    target: &'static SignalDef,
}

/// The mapped signals of one message on one bus.
#[derive(Debug)]
pub(crate) struct MessageDecoder {
    bus: i64,
    address: i64,
    signals: Vec<SignalDecoder>,
}

impl MessageDecoder {
    pub fn is_for(&self, bus: i64, address: i64) -> bool {
        self.address == address && self.bus == bus
    }

    pub fn decode(&self, payload: &[u8; 8], mono_ns: u64) -> Vec<Reading> {
        let reading = |decoder: &SignalDecoder| {
            let plus = decoder.plus.as_ref().map_or(0.0, |bits| bits.physical(payload));
            let physical = (decoder.bits.physical(payload) + plus) * decoder.factor + decoder.offset;
            Reading { signal: decoder.target.id, raw: decoder.target.to_raw(physical), mono_ns }
        };
        self.signals.iter().map(reading).collect()
    }
}

/// The decoders that a mapping asks for.
pub(crate) fn decoders(
    dbc_file: &Path,
    mapping_file: &Path,
    mapping: &[MappedSignal],
) -> Result<Vec<MessageDecoder>, ReplayError> {
    let text = String::from_utf8_lossy(&read(dbc_file)?).into_owned();
    let dbc = Dbc::try_from(text.as_str()).map_err(|e| ReplayError::Format {
        file: dbc_file.to_path_buf(),
        what: format!("no DBC file: {e:?}"),
    })?;
    let missing = |what: String| ReplayError::Mapping { file: mapping_file.to_path_buf(), what };
    let mut decoders: Vec<MessageDecoder> = Vec::new();
    for mapped in mapping {
        let message = dbc.messages.iter().find(|m| m.name == mapped.message).ok_or_else(|| {
            missing(format!("the message {}, which {} does not have", mapped.message, dbc_file.display()))
        })?;
        let bits = |name: &str| {
            let signal = message.signals.iter().find(|s| s.name == name);
            signal.and_then(Bits::of).ok_or_else(|| {
                missing(format!(
                    "the signal {}.{name}, which {} does not have within eight bytes",
                    mapped.message,
                    dbc_file.display()
                ))
            })
        };
        let target = signal::by_path(&mapped.path).ok_or_else(|| {
            missing(format!("the path {}, which is not in the signal registry", mapped.path))
        })?;
        let decoder = SignalDecoder {
            bits: bits(&mapped.signal)?,
            plus: mapped.plus.as_deref().map(bits).transpose()?,
            factor: mapped.factor,
            offset: mapped.offset,
            target,
        };
        let address = match message.id {
            MessageId::Standard(id) => i64::from(id),
            MessageId::Extended(id) => i64::from(id),
        };
        match decoders.iter_mut().find(|d| d.is_for(mapped.bus, address)) {
            Some(known) => known.signals.push(decoder),
            None => decoders.push(MessageDecoder { bus: mapped.bus, address, signals: vec![decoder] }),
        }
    }
    Ok(decoders)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_bits(line: &str) -> Option<Bits> {
        let text = format!("VERSION \"\"\n\nNS_ :\n\nBS_:\n\nBU_: X\n\nBO_ 1 M: 8 X\n {line}\n\n");
        let dbc = Dbc::try_from(text.as_str()).expect("a DBC file");
        Bits::of(&dbc.messages[0].signals[0])
    }

    fn bits(line: &str) -> Bits {
        try_bits(line).expect("fits")
    }

    #[test]
    fn what_does_not_fit_eight_bytes_costs_nothing() {
        for order in [0, 1] {
            for place in
                ["0|4000000000", "7|18446744073709551615", "18446744073709551615|8", "64|1", "0|0", "60|6"]
            {
                let line = format!("SG_ A : {place}@{order}+ (1,0) [0|0] \"\" X");
                assert!(order == 0 && place == "60|6" || try_bits(&line).is_none(), "{line}");
            }
        }
    }

    #[test]
    fn motorola_and_intel_signals() {
        let payload = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0];
        for (line, expected) in [
            ("SG_ A : 7|16@0+ (1,0) [0|0] \"\" X", f64::from(0x1234)),
            ("SG_ A : 6|15@0+ (0.01,-67.67) [0|0] \"\" X", f64::from(0x1234) * 0.01 - 67.67),
            ("SG_ A : 3|12@0+ (1,0) [0|0] \"\" X", f64::from(0x234)),
            ("SG_ A : 0|16@1+ (1,0) [0|0] \"\" X", f64::from(0x3412)),
            ("SG_ A : 32|8@1- (1,0) [0|0] \"\" X", f64::from(0x9a_u8 as i8)),
            ("SG_ A : 39|8@0- (2,1) [0|0] \"\" X", f64::from(0x9a_u8 as i8) * 2.0 + 1.0),
            ("SG_ A : 60|1@0+ (1,0) [0|0] \"\" X", 1.0),
        ] {
            assert!((bits(line).physical(&payload) - expected).abs() < 1e-9, "{line}");
        }
    }
}
