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
    let mut pending: u128 = 0;
    let mut bits = 0;
    for value in values {
        pending |= u128::from(*value) << bits;
        bits += width;
        while bits >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(pending as u8);
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

    /// Packed values; the caller bounds `count`.
    pub fn packed(&mut self, count: usize, width: u32) -> Option<Packed<'a>> {
        if width > 64 {
            return None;
        }
        let bytes = self.bytes(packed_len(count, width))?;
        Some(Packed { bytes: bytes.iter(), pending: 0, bits: 0, width, left: count })
    }
}

/// The values of [`put_packed`], in order.
#[derive(Debug, Clone)]
pub struct Packed<'a> {
    bytes: std::slice::Iter<'a, u8>,
    pending: u128,
    bits: u32,
    width: u32,
    left: usize,
}

impl Iterator for Packed<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        while self.bits < self.width {
            self.pending |= u128::from(*self.bytes.next()?) << self.bits;
            self.bits += 8;
        }
        let mask = if self.width == 64 { u64::MAX } else { (1 << self.width) - 1 };
        let value = self.pending as u64 & mask;
        self.pending >>= self.width;
        self.bits -= self.width;
        Some(value)
    }
}
