//! The secret that opens the console.

use std::fmt;

use rand::TryRngCore;
use rand::rngs::OsRng;

/// A bearer token. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a text is not a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Too short to be a secret, or with characters that a URL or a header would change.
    #[error("a console token has 16 to 256 characters out of A-Z a-z 0-9 - _")]
    Form,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a console token")]
    Random(#[source] rand::rand_core::OsError),
}

impl Token {
    /// A token of one's own.
    ///
    /// # Errors
    /// When it is too short, too long or has other characters.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let permitted = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(16..=256).contains(&text.len()) || !text.bytes().all(permitted) {
            return Err(TokenError::Form);
        }
        Ok(Self(text.to_owned()))
    }

    /// 160 random bits.
    ///
    /// # Errors
    /// When the system has none.
    pub fn random() -> Result<Self, TokenError> {
        let mut bytes = [0u8; 20];
        OsRng.try_fill_bytes(&mut bytes).map_err(TokenError::Random)?;
        Ok(Self(bytes.iter().map(|b| format!("{b:02x}")).collect()))
    }

    /// The secret, to print it for the person who started the node.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether an `authorization` header carries this token. Takes the same time wherever they differ.
    pub fn opens(&self, authorization: Option<&[u8]>) -> bool {
        let Some(offered) = authorization.and_then(|header| {
            let (scheme, token) = header.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        }) else {
            return false;
        };
        let ours = self.0.as_bytes();
        let mut different = u8::from(offered.len() != ours.len());
        for (n, byte) in offered.iter().enumerate() {
            different |= std::hint::black_box(byte ^ ours[n % ours.len()]);
        }
        std::hint::black_box(different) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_opens() {
        let token = Token::new("0123456789abcdef").unwrap();
        assert!(token.opens(Some(b"Bearer 0123456789abcdef")));
        assert!(token.opens(Some(b"bearer 0123456789abcdef")));
        for wrong in [
            None,
            Some(&b""[..]),
            Some(b"Bearer "),
            Some(b"Bearer"),
            Some(b"0123456789abcdef"),
            Some(b"Basic 0123456789abcdef"),
            Some(b"Bearer 0123456789abcdeg"),
            Some(b"Bearer 0123456789abcde"),
            Some(b"Bearer 0123456789abcdef0123456789abcdef"),
        ] {
            assert!(!token.opens(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn random_tokens_differ_and_stay_hidden() {
        let (a, b) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(a.reveal(), b.reveal());
        assert!(Token::new(a.reveal()).is_ok());
        assert!(!format!("{a:?}").contains(a.reveal()));
        assert!(Token::new("short").is_err());
        assert!(Token::new("0123456789abcdef#x").is_err());
    }
}
