//! Seeded mutations, so that the ordinary test run tries the same every time.

use rand::prelude::*;

/// Makes wrong inputs of right ones.
pub struct Mutator {
    dice: StdRng,
}

const NUMBERS: &[u64] =
    &[0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
const BYTES_MAX: usize = 64 * 1024;

impl Mutator {
    /// The same seed makes the same mutations.
    pub fn new(seed: u64) -> Self {
        Self { dice: StdRng::seed_from_u64(seed) }
    }

    /// A mutation of one of these.
    pub fn next(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus.choose(&mut self.dice).cloned().unwrap_or_default();
        for _ in 0..self.dice.random_range(1..=5) {
            self.once(&mut bytes, corpus);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() { 0 } else { self.dice.random_range(0..bytes.len()) }
    }

    fn once(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.place(bytes);
        let to = at + self.place(&bytes[at..]).min(256);
        match self.dice.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                let into = self.place(bytes);
                bytes.splice(into..into, part);
            }
            3 => {
                let number = NUMBERS.choose(&mut self.dice).copied().unwrap_or_default().to_le_bytes();
                let width = [1, 2, 4, 8].choose(&mut self.dice).copied().unwrap_or(1);
                let end = bytes.len().min(at + width);
                let width = end - at;
                bytes[at..end].copy_from_slice(&number[..width]);
            }
            4 => {
                let other = corpus.choose(&mut self.dice).cloned().unwrap_or_default();
                let from = self.place(&other);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => {
                let byte = self.dice.random();
                bytes.insert(at, byte);
            }
            6 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.dice.random_range(0..8);
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.dice.random();
                }
            }
        }
    }
}
