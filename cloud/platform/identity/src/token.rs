//! Enrolment tokens: `remuda1.{vehicle}.{SHA-256 of the authority's certificate, hex}.{secret, hex}`.

use std::fmt;
use std::str::FromStr;

use rand::TryRngCore;
use rand::rngs::OsRng;
use remuda_model::VehicleId;
use sha2::{Digest, Sha256};

/// SHA-256 of the authority's certificate (DER): by it a vehicle knows the server before it trusts anything.
pub type CaFingerprint = [u8; 32];

/// A token, once in full. Only its hash is kept; `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    vehicle: VehicleId,
    fingerprint: CaFingerprint,
    secret: [u8; 32],
}

/// A text that is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not an enrolment token; it looks like remuda1.VAN1.(64 hex digits).(64 hex digits), in one piece"
)]
pub struct TokenForm;

impl EnrolmentToken {
    /// A new secret for a vehicle.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn random(vehicle: VehicleId, fingerprint: CaFingerprint) -> Result<Self, String> {
        let mut secret = [0; 32];
        OsRng.try_fill_bytes(&mut secret).map_err(|e| format!("the system gives no random numbers: {e}"))?;
        Ok(Self { vehicle, fingerprint, secret })
    }

    /// Whom it is for.
    pub const fn vehicle(&self) -> VehicleId {
        self.vehicle
    }

    /// The authority by whose certificate the vehicle knows the server.
    pub const fn fingerprint(&self) -> &CaFingerprint {
        &self.fingerprint
    }

    /// What is kept of the secret: it has 256 random bits, so a plain hash keeps it as well as a slow one would.
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.secret).into())
    }

    /// The whole token, to hand it over.
    pub fn reveal(&self) -> String {
        format!("remuda1.{}.{}.{}", self.vehicle, hex(&self.fingerprint), hex(&self.secret))
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentToken({}, ..)", self.vehicle)
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenForm;

    fn from_str(text: &str) -> Result<Self, TokenForm> {
        let mut parts = text.trim().split('.');
        let (Some("remuda1"), Some(vehicle), Some(fingerprint), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenForm);
        };
        let bytes = |text| bytes_of_hex(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        Ok(Self {
            vehicle: VehicleId::new(vehicle).map_err(|_| TokenForm)?,
            fingerprint: bytes(fingerprint).ok_or(TokenForm)?,
            secret: bytes(secret).ok_or(TokenForm)?,
        })
    }
}

/// SHA-256 of a token's secret, or of a public key; written in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenHash(pub(crate) [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hex(&hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = bytes_of_hex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("a hash has 64 hex digits")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lower and upper case; `None` for anything but pairs of hex digits.
pub(crate) fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_is_its_text(id in "[A-Za-z0-9]{1,48}", fingerprint: [u8; 32]) {
            let vehicle = VehicleId::new(&id).expect("an id");
            let token = EnrolmentToken::random(vehicle, fingerprint).expect("random");
            let read: EnrolmentToken = token.reveal().parse().expect("a token");
            prop_assert_eq!(&read, &token);
            prop_assert_eq!(read.hash(), token.hash());
            let shown = format!("{token:?}");
            prop_assert!(!shown.contains(&hex(&token.secret)));
        }

        #[test]
        fn anything_else_is_refused(text in "\\PC*") {
            prop_assert!(text.parse::<EnrolmentToken>().is_err());
        }

        #[test]
        fn a_token_with_a_character_less_or_more_is_refused(cut in 0usize..140) {
            let token = EnrolmentToken::random(VehicleId::new("VAN1").expect("an id"), [7; 32]).expect("random");
            let mut text = token.reveal();
            let cut = cut % text.len();
            text.remove(cut);
            // Without a character of its id it is another vehicle's token, which the register refuses.
            let of_another = text.parse::<EnrolmentToken>().is_ok_and(|read| read.vehicle != token.vehicle);
            prop_assert!(of_another || text.parse::<EnrolmentToken>().is_err());
            let mut longer = token.reveal();
            longer.push('a');
            prop_assert!(longer.parse::<EnrolmentToken>().is_err());
        }
    }
}
