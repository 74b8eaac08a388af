//! The one-time token of an enrolment: `remuda1.{vehicle}.{CA fingerprint}.{secret}`.

use std::fmt;
use std::str::FromStr;

use remuda_model::VehicleId;

const VERSION: &str = "remuda1";
/// Hexadecimal digits of the fingerprint, and of the secret.
const DIGITS: usize = 64;

/// A token. It says whom it is for and which CA the server must have, so that the first connection is authenticated.
#[derive(Clone)]
pub struct Token {
    text: String,
    vehicle: VehicleId,
    ca_sha256: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("vehicle", &self.vehicle).finish_non_exhaustive()
    }
}

/// The text is no token. It does not repeat the text, which may be half a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no enrolment token: {0}; give it whole, as remudactl vehicles enroll-token printed it \
     (remuda1.VEHICLE.FINGERPRINT.SECRET)"
)]
pub struct TokenError(&'static str);

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let [version, vehicle, fingerprint, secret] = text.split('.').collect::<Vec<_>>()[..] else {
            return Err(TokenError("it does not have four parts between dots"));
        };
        if version != VERSION {
            return Err(TokenError("it does not begin with remuda1"));
        }
        let vehicle = VehicleId::new(vehicle).map_err(|_| TokenError("its second part is no vehicle id"))?;
        let ca_sha256 = bytes(fingerprint).ok_or(TokenError("its third part is no SHA-256"))?;
        bytes(secret).ok_or(TokenError("its fourth part does not have 64 hexadecimal digits"))?;
        Ok(Self { text: text.to_owned(), vehicle, ca_sha256 })
    }
}

impl Token {
    /// Whom it is for.
    pub fn vehicle(&self) -> VehicleId {
        self.vehicle
    }

    /// SHA-256 of the certificate in which the server's chain must end.
    pub fn ca_sha256(&self) -> [u8; 32] {
        self.ca_sha256
    }

    /// The whole of it: a secret.
    pub(super) fn expose(&self) -> &str {
        &self.text
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if hex.len() != DIGITS || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_and_never_shown() {
        let (ca, secret) = ("0f".repeat(32), "ab".repeat(32));
        let token: Token = format!(" remuda1.VAN1.{ca}.{secret}\n").parse().expect("a token");
        assert_eq!((token.vehicle().as_str(), token.ca_sha256()), ("VAN1", [0x0f; 32]));
        assert_eq!(token.expose(), format!("remuda1.VAN1.{ca}.{secret}"));
        assert!(!format!("{token:?}").contains("abab"));
        for bad in [
            String::new(),
            format!("remuda2.VAN1.{ca}.{secret}"),
            format!("remuda1.VAN 1.{ca}.{secret}"),
            format!("remuda1.VAN1.{ca}.{secret}0"),
            format!("remuda1.VAN1.{}.{secret}", "é".repeat(32)),
            format!("remuda1.VAN1.{ca}"),
        ] {
            let sentence = bad.parse::<Token>().expect_err("no token").to_string();
            assert!(sentence.contains("no enrolment token") && !sentence.contains("abab"), "{sentence}");
        }
    }
}
