//! Signatures after the Standard Webhooks specification: HMAC-SHA256 over `{id}.{timestamp}.{body}`.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use constant_time_eq::constant_time_eq;

use crate::SetupError;
use crate::limits::{SECRET_BYTES, SECRETS_MAX, TOLERANCE_S};

/// The keys of one webhook. The first is the newest; a message carries a signature of each, so that a
/// receiver may exchange its secret without losing one.
#[derive(Clone)]
pub struct SigningKeys(Vec<hmac::Key>);

impl SigningKeys {
    /// Reads secrets written as `whsec_` and base64.
    ///
    /// # Errors
    /// [`SetupError::Secret`], which never shows the secret.
    pub fn parse<S: AsRef<str>>(secrets: &[S]) -> Result<Self, SetupError> {
        let wrong = |reason| Err(SetupError::Secret { reason });
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            return wrong("give one to three secrets, the newest first");
        }
        let mut keys = Vec::with_capacity(secrets.len());
        for secret in secrets {
            let Some(encoded) = secret.as_ref().strip_prefix("whsec_") else {
                return wrong("write whsec_ and 24 to 64 random bytes in base64");
            };
            let Ok(bytes) = STANDARD.decode(encoded) else {
                return wrong("what follows whsec_ is not base64");
            };
            if !(SECRET_BYTES.0..=SECRET_BYTES.1).contains(&bytes.len()) {
                return wrong("it has another length than 24 to 64 bytes");
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        Ok(Self(keys))
    }

    /// The `webhook-signature` header: `v1,{base64}` for each key, with blanks between.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let one = |key| format!("v1,{}", STANDARD.encode(tag(key, id, timestamp_s, body)));
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

fn tag(key: &hmac::Key, id: &str, timestamp_s: i64, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{timestamp_s}.").as_bytes());
    context.update(body);
    context.sign()
}

/// Why a received message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Too old or too new: perhaps replayed.
    #[error("the message's time is more than five minutes from now")]
    Time,
    /// No signature fits a key.
    #[error("no signature of the message fits")]
    Signature,
}

/// Checks a received message, as a receiver does.
///
/// # Errors
/// [`Unverified`].
pub fn verify(
    keys: &SigningKeys,
    id: &str,
    timestamp_s: i64,
    signatures: &str,
    body: &[u8],
    now_s: i64,
) -> Result<(), Unverified> {
    if now_s.abs_diff(timestamp_s) > TOLERANCE_S.unsigned_abs() {
        return Err(Unverified::Time);
    }
    let given = signatures.split(' ').filter_map(|one| one.strip_prefix("v1,"));
    for signature in given.filter_map(|encoded| STANDARD.decode(encoded).ok()) {
        for key in &keys.0 {
            if constant_time_eq(tag(key, id, timestamp_s, body).as_ref(), &signature) {
                return Ok(());
            }
        }
    }
    Err(Unverified::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    /// The example that the specification's libraries share.
    #[test]
    fn signs_as_the_specification_says() {
        let keys = SigningKeys::parse(&[SECRET]).expect("keys");
        let signature = keys.sign(ID, 1_614_265_330, BODY);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn either_secret_verifies_while_they_are_exchanged() {
        let new = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = SigningKeys::parse(&[new.as_str(), SECRET]).expect("keys");
        let header = both.sign(ID, 1_000, BODY);
        for secret in [new.as_str(), SECRET] {
            let keys = SigningKeys::parse(&[secret]).expect("keys");
            assert_eq!(verify(&keys, ID, 1_000, &header, BODY, 1_100), Ok(()));
            assert_eq!(verify(&keys, ID, 1_000, &header, BODY, 1_301), Err(Unverified::Time));
            assert_eq!(verify(&keys, ID, 1_001, &header, BODY, 1_100), Err(Unverified::Signature));
            assert_eq!(verify(&keys, "other", 1_000, &header, BODY, 1_100), Err(Unverified::Signature));
            assert_eq!(verify(&keys, ID, 1_000, &header, b"{}", 1_100), Err(Unverified::Signature));
        }
    }

    #[test]
    fn a_wrong_secret_is_never_shown() {
        for secret in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_c2hvcnQ="] {
            let error = SigningKeys::parse(&[secret]).expect_err(secret).to_string();
            assert!(secret.len() < 7 || !error.contains(&secret[6..]), "{error}");
        }
        assert!(SigningKeys::parse::<&str>(&[]).is_err());
        assert_eq!(format!("{:?}", SigningKeys::parse(&[SECRET]).expect("keys")), "SigningKeys(1)");
    }
}
