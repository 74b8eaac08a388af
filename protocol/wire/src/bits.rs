//! Variable-length integers and packed bits: what sample blocks are made of.

/// Appends an LEB128 varint: 7 bits a byte, least significant first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Length of [`put_varint`]'s output, bytes.
pub const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Maps small negative and positive numbers to small unsigned ones: 0, -1, 1, -2 to 0, 1, 2, 3.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Inverse of [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bits that hold every one of these values; 0 when all are zero.
pub fn width(values: &[u64]) -> u32 {
    64 - values.iter().fold(0, |all, v| all | v).leading_zeros()
}

/// Appends the low `width` bits of each value, least significant bit first, filled up to a whole byte.
pub fn put_packed(out: &mut Vec<u8>, values: &[u64], width: u32) {
    let mut writer = BitWriter::new(out);
    values.iter().for_each(|value| writer.put(*value, width));
    writer.finish();
}

/// Appends Rice codes: for each value `value >> k` one bits and a zero bit, then its low `k` bits.
pub fn put_rice(out: &mut Vec<u8>, values: &[u64], k: u32) {
    let mut writer = BitWriter::new(out);
    for value in values {
        let mut ones = value >> k;
        while ones > 0 {
            let now = ones.min(32) as u32;
            writer.put((1 << now) - 1, now);
            ones -= u64::from(now);
        }
        writer.put(0, 1);
        writer.put(value & ((1 << k) - 1), k);
    }
    writer.finish();
}

/// Bytes of [`put_rice`]'s output.
pub fn rice_len(values: &[u64], k: u32) -> usize {
    let bits =
        values.iter().fold(0_u64, |bits, v| bits.saturating_add((v >> k).saturating_add(1 + u64::from(k))));
    bits.div_ceil(8) as usize
}

/// The parameter that codes these values in the fewest bytes, and how many.
pub fn rice_best(values: &[u64]) -> (u32, usize) {
    let sum: u128 = values.iter().map(|v| u128::from(*v)).sum();
    let mean = (sum / values.len().max(1) as u128) as u64;
    // The best parameter for a falling distribution is within one of the logarithm of its mean.
    let near = mean.max(1).ilog2().min(RICE_MAX - 1);
    (near.saturating_sub(1)..=near + 1)
        .map(|k| (k, rice_len(values, k)))
        .min_by_key(|(_, bytes)| *bytes)
        .unwrap_or((0, usize::MAX))
}

/// Largest Rice parameter.
pub const RICE_MAX: u32 = 63;

/// Gathers bits into bytes, least significant first.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u128,
    bits: u32,
}

impl<'a> BitWriter<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, bits: 0 }
    }

    /// The caller has nothing above `width` in `value`.
    fn put(&mut self, value: u64, width: u32) {
        self.pending |= u128::from(value) << self.bits;
        self.bits += width;
        while self.bits >= 8 {
            self.out.push(self.pending as u8);
            self.pending >>= 8;
            self.bits -= 8;
        }
    }

    fn finish(self) {
        if self.bits > 0 {
            self.out.push(self.pending as u8);
        }
    }
}

/// Bytes of `count` packed values.
pub const fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Reads from the front of a slice; every read answers `None` when the bytes do not suffice.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// How many bytes are left.
    pub const fn left(&self) -> usize {
        self.left.len()
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(*first)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.left.split_at_checked(count)?;
        self.left = rest;
        Some(front)
    }

    /// A varint; `None` also for one over 64 bits.
    pub fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A varint that counts something, at most `max`.
    pub fn count(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|count| *count <= max)
    }

    /// The bits of so many bytes.
    pub fn bits(&mut self, bytes: usize) -> Option<BitReader<'a>> {
        Some(BitReader { left: self.bytes(bytes)?, pending: 0, bits: 0 })
    }

    /// The bits of everything left; [`Self::after`] goes on behind the last byte that was touched.
    pub const fn all_bits(&self) -> BitReader<'a> {
        BitReader { left: self.left, pending: 0, bits: 0 }
    }

    /// Goes on where these bits ended.
    pub const fn after(&mut self, bits: &BitReader<'a>) {
        self.left = bits.left;
    }
}

/// Reads bits, least significant first; takes a byte only when it needs one.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    left: &'a [u8],
    pending: u128,
    bits: u32,
}

impl BitReader<'_> {
    /// So many bits, at most 64.
    pub fn take(&mut self, width: u32) -> Option<u64> {
        while self.bits < width {
            self.pull()?;
        }
        let value = self.pending & ((1 << width) - 1);
        self.pending >>= width;
        self.bits -= width;
        Some(value as u64)
    }

    /// One value of [`put_rice`]; `None` also for one over 64 bits.
    pub fn rice(&mut self, k: u32) -> Option<u64> {
        let high = self.ones()?;
        let low = self.take(k)?;
        (high.leading_zeros() >= k).then(|| high << k | low)
    }

    /// How many one bits stand before the next zero bit, which it takes too.
    fn ones(&mut self) -> Option<u64> {
        let mut count = 0;
        loop {
            if self.bits == 0 {
                self.pull()?;
            }
            // Above `bits` there are only zeros, so the run ends there at the latest.
            let run = self.pending.trailing_ones();
            count += u64::from(run);
            self.pending >>= run;
            self.bits -= run;
            if self.bits > 0 {
                self.pending >>= 1;
                self.bits -= 1;
                return Some(count);
            }
        }
    }

    fn pull(&mut self) -> Option<()> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        self.pending |= u128::from(*first) << self.bits;
        self.bits += 8;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(values in proptest::collection::vec(any::<u64>(), 1..40), width in 1..=64_u32, rice in 0..RICE_MAX) {
            let cut: Vec<u64> = values.iter().map(|v| v >> (64 - width)).collect();
            let mut out = Vec::new();
            put_packed(&mut out, &cut, width);
            prop_assert_eq!(out.len(), packed_len(cut.len(), width));
            let mut reader = Reader::new(&out).all_bits();
            let back: Option<Vec<u64>> = cut.iter().map(|_| reader.take(width)).collect();
            prop_assert_eq!(back.as_ref(), Some(&cut));

            // At most 63 ones a value, so that the test stays small.
            let cut: Vec<u64> = values.iter().map(|v| v >> (64 - (rice + 6).min(64))).collect();
            let mut out = Vec::new();
            put_rice(&mut out, &cut, rice);
            prop_assert_eq!(out.len(), rice_len(&cut, rice));
            out.push(0xab);
            let mut reader = Reader::new(&out);
            let mut bits = reader.all_bits();
            let back: Option<Vec<u64>> = cut.iter().map(|_| bits.rice(rice)).collect();
            prop_assert_eq!(back.as_ref(), Some(&cut));
            reader.after(&bits);
            prop_assert_eq!((reader.byte(), reader.left()), (Some(0xab), 0));
        }

        #[test]
        fn varints_come_back(value in any::<u64>(), signed in any::<i64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(Reader::new(&out).varint(), Some(value));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }
    }

    #[test]
    fn a_varint_over_64_bits_is_refused() {
        assert_eq!(Reader::new(&[0xff; 10]).varint(), None);
        assert_eq!(Reader::new(&[0x80; 11]).varint(), None);
        let ten = |last| [[0xff; 9].as_slice(), &[last]].concat();
        assert_eq!(Reader::new(&ten(1)).varint(), Some(u64::MAX));
        assert_eq!(Reader::new(&ten(2)).varint(), None);
        // 2^6 ones and k = 63: the product has 70 bits.
        let rice = [[0xff; 8].as_slice(), &[0; 9]].concat();
        assert_eq!(Reader::new(&rice).all_bits().rice(63), None);
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX]);
    }
}
