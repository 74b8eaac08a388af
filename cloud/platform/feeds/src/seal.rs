//! What keeps a cursor's content from who may see a part of the organization only: it says how much there is in the whole, and
//! whose row was the last.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// A key of this node, AES-256-GCM-SIV: the same bytes always become the same, which tells that they are the same and nothing else.
pub(crate) struct Seal(LessSafeKey);

/// What the bytes are filled up to: their length tells little.
const BLOCK: usize = 256;

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn bound_to() -> Aad<&'static [u8]> {
    Aad::from(b"remuda cursor 1".as_slice())
}

impl Seal {
    /// Of a key of 32 bytes.
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).ok()?)))
    }

    /// Seals some kilobytes at most.
    pub fn close(&self, bytes: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(bytes.len() + 2 * BLOCK);
        sealed.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        sealed.extend_from_slice(bytes);
        sealed.resize(sealed.len().next_multiple_of(BLOCK), 0);
        // Only a text of gigabytes is not sealed.
        match self.0.seal_in_place_append_tag(nonce(), bound_to(), &mut sealed) {
            Ok(()) => sealed,
            Err(_) => Vec::new(),
        }
    }

    /// What was sealed; none when it was not, or not by this.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = sealed.to_vec();
        let opened = self.0.open_in_place(nonce(), bound_to(), &mut sealed).ok()?;
        let (length, bytes) = opened.split_first_chunk::<4>()?;
        Some(bytes.get(..u32::from_le_bytes(*length) as usize)?.to_vec())
    }
}
