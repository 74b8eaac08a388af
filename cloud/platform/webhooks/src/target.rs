//! Where a webhook goes.

use std::fmt;

use url::{Host, Url};

use crate::SetupError;
use crate::limits::URL_BYTES_MAX;

/// A checked address of a webhook. Whether its name leads to a permitted address is checked at each attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
}

impl Target {
    /// Checks an address.
    ///
    /// # Errors
    /// [`SetupError::Target`] with what to write instead.
    pub fn parse(text: &str, plain_http: bool) -> Result<Self, SetupError> {
        // The query may hold a token, so the message shows what stands before it.
        let shown: String = text.split(['?', '#']).next().unwrap_or_default().chars().take(120).collect();
        let wrong = |reason| Err(SetupError::Target { url: shown.clone(), reason });
        if text.len() > URL_BYTES_MAX {
            return wrong("it is longer than 2,048 bytes");
        }
        let Ok(url) = Url::parse(text) else {
            return wrong("write a whole address, such as https://example.com/hooks");
        };
        if !url.username().is_empty() || url.password().is_some() {
            // Not even the name is shown: it may be a token.
            return Err(SetupError::Target {
                url: url.scheme().to_owned(),
                reason: "it names a user; the signature says who calls, leave user and password out",
            });
        }
        match url.scheme() {
            "https" => {}
            "http" if plain_http => {}
            "http" => return wrong("it must start with https://"),
            _ => return wrong("only https:// is called"),
        }
        if url.fragment().is_some() {
            return wrong("the part after # is never sent, leave it out");
        }
        if url.port() == Some(0) || url.host().is_none() {
            return wrong("it names no server to call");
        }
        Ok(Self { url })
    }

    /// Is the connection encrypted?
    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name or address to connect to.
    pub fn host(&self) -> Host<&str> {
        // Checked when it was parsed, so this never takes the default.
        self.url.host().unwrap_or(Host::Domain(""))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// The `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host()),
            None => self.host().to_string(),
        }
    }

    /// Path and query.
    pub(crate) fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }
}

impl fmt::Display for Target {
    /// Without the query, which may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.url.scheme(), self.authority(), self.url.path())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_the_query_stays_secret() {
        let target =
            Target::parse("https://hooks.example.com:8443/in?token=s3cret", false).expect("a target");
        assert_eq!(target.authority(), "hooks.example.com:8443");
        assert_eq!(target.path_and_query(), "/in?token=s3cret");
        assert!(!format!("{target:?}").contains("s3cret"));
        let wrong = [
            "",
            "hooks.example.com",
            "http://example.com/",
            "ftp://example.com/",
            "https://",
            "https://a:b@example.com/",
            "https://example.com:0/",
            "https://example.com/#x",
            "file:///etc/passwd",
        ];
        for text in wrong {
            let error = Target::parse(text, false).expect_err(text).to_string();
            assert!(error.contains("cannot be a webhook's address"), "{error}");
        }
        assert!(Target::parse(&format!("https://e.com/{}", "x".repeat(2_048)), false).is_err());
        assert!(Target::parse("http://example.com/", true).is_ok());
        let error = Target::parse("https://tok3n@example.com/", false).expect_err("a user").to_string();
        assert!(!error.contains("tok3n"), "{error}");
    }

    #[test]
    fn odd_spellings_of_addresses_are_addresses() {
        for text in ["https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/"] {
            let target = Target::parse(text, false).expect(text);
            assert_eq!(target.host(), Host::<&str>::Ipv4(std::net::Ipv4Addr::LOCALHOST), "{text}");
        }
    }
}
