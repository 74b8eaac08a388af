//! E-mail through a relay, by lettre.

use std::fmt;
use std::net::IpAddr;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::Deserialize;

use super::Undelivered;
use crate::limits::MAIL_TIMEOUT;
use crate::templates::Rendered;

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// TLS after STARTTLS, always: a relay that does not offer it is not used.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None: only to a relay on this machine.
    None,
}

/// The relay.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// Name or address of the relay.
    pub relay: String,
    /// Its port, such as 587.
    pub port: u16,
    /// How the connection is protected.
    #[serde(default)]
    pub protection: Protection,
    /// Certificate authorities to believe beside the system's, PEM.
    #[serde(default)]
    pub extra_roots_pem: Vec<String>,
    /// The sender, such as `Remuda <rides@example.com>`.
    pub from: String,
    /// User, when the relay wants one.
    #[serde(default)]
    pub user: Option<String>,
    /// Password.
    #[serde(default)]
    pub password: Option<String>,
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relay, port, protection, from, .. } = self;
        write!(f, "MailConfig {{ {relay}:{port}, {protection:?}, from {from} }}")
    }
}

/// Whether mails can be to an address, such as `Ada <ada@example.com>`.
pub fn is_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

/// A relay that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailSetupError {
    /// Not a sender.
    #[error("the sender {0:?} is no address; write one such as Remuda <rides@example.com>")]
    From(String),
    /// Plain text to somewhere else.
    #[error("the relay {0:?} is not on this machine: use starttls or tls, mails hold personal data")]
    Plain(String),
    /// A user without a password, or the other way round, or over plain text.
    #[error("give user and password both or neither, and never with protection none")]
    Credentials,
    /// TLS cannot be set up.
    #[error("TLS to the relay cannot be set up: {0}")]
    Tls(String),
}

/// Sends e-mails. Cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// Checks the settings; the relay is not called yet.
    ///
    /// # Errors
    /// [`MailSetupError`].
    pub fn new(config: &MailConfig) -> Result<Self, MailSetupError> {
        let from: Mailbox = config.from.parse().map_err(|_| MailSetupError::From(config.from.clone()))?;
        let here =
            config.relay == "localhost" || config.relay.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let tls = || {
            let mut parameters = TlsParameters::builder(config.relay.clone());
            for pem in &config.extra_roots_pem {
                let root =
                    Certificate::from_pem(pem.as_bytes()).map_err(|e| MailSetupError::Tls(e.to_string()))?;
                parameters = parameters.add_root_certificate(root);
            }
            parameters.build_rustls().map_err(|e| MailSetupError::Tls(e.to_string()))
        };
        let tls = match config.protection {
            Protection::None if !here => return Err(MailSetupError::Plain(config.relay.clone())),
            Protection::None => Tls::None,
            Protection::Starttls => Tls::Required(tls()?),
            Protection::Tls => Tls::Wrapper(tls()?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.relay)
            .port(config.port)
            .timeout(Some(MAIL_TIMEOUT))
            .tls(tls);
        match (&config.user, &config.password) {
            (None, None) => {}
            (Some(user), Some(password)) if config.protection != Protection::None => {
                transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
            }
            _ => return Err(MailSetupError::Credentials),
        }
        Ok(Self { transport: transport.build(), from })
    }

    /// One attempt. The same `message_id` says the same message again: mail programs show it once.
    ///
    /// # Errors
    /// [`Undelivered`].
    pub async fn send(&self, message_id: &str, to: &str, text: &Rendered) -> Result<String, Undelivered> {
        let message = self.message(message_id, to, text)?;
        match self.transport.send(message).await {
            Ok(answer) => Ok(answer.code().to_string()),
            Err(error) if error.is_permanent() => {
                let status = error.status().map_or_else(|| "5xx".to_owned(), |code| code.to_string());
                Err(Undelivered::final_(format!("the relay refused the mail with {status}")))
            }
            // The relay's own words may repeat the address: only the kind of trouble is told.
            Err(error) if error.is_transient() => {
                Err(Undelivered::for_now("the relay asks to try again later"))
            }
            Err(error) if error.is_timeout() => Err(Undelivered::for_now("the relay did not answer in time")),
            Err(error) if error.is_tls() => Err(Undelivered::for_now("the relay's TLS was not accepted")),
            Err(_) => Err(Undelivered::for_now("the relay cannot be reached or does not speak as it must")),
        }
    }

    fn message(&self, message_id: &str, to: &str, text: &Rendered) -> Result<Message, Undelivered> {
        let to: Mailbox =
            to.parse().map_err(|_| Undelivered::final_("the person's e-mail address is not one"))?;
        let domain = self.from.email.domain();
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let builder = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&text.subject)
            .message_id(Some(format!("<{message_id}@{domain}>")))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        let plain = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text.body.clone());
        let html = SinglePart::builder().header(ContentType::TEXT_HTML).body(html(text));
        let parts = MultiPart::alternative().singlepart(plain).singlepart(html);
        builder.multipart(parts).map_err(|e| Undelivered::final_(format!("the mail cannot be made: {e}")))
    }
}

/// The same text for programs that show HTML: nothing of it is markup.
fn html(text: &Rendered) -> String {
    let body = escaped(&text.body).replace('\n', "<br>\n");
    let locale = escaped(&text.locale);
    format!(
        "<!doctype html>\n<html lang=\"{locale}\"><meta charset=\"utf-8\"><body><p>{body}</p></body></html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MailConfig {
        MailConfig {
            relay: "127.0.0.1".into(),
            port: 25,
            protection: Protection::None,
            extra_roots_pem: Vec::new(),
            from: "Remuda <rides@example.com>".into(),
            user: None,
            password: None,
        }
    }

    #[test]
    fn settings_are_checked_and_the_password_is_never_shown() {
        assert!(Mailer::new(&config()).is_ok());
        for (wrong, expected) in [
            (MailConfig { from: "nobody".into(), ..config() }, MailSetupError::From("nobody".into())),
            (
                MailConfig { relay: "mail.example".into(), ..config() },
                MailSetupError::Plain("mail.example".into()),
            ),
            (MailConfig { user: Some("u".into()), ..config() }, MailSetupError::Credentials),
            (
                MailConfig { user: Some("u".into()), password: Some("s3cret".into()), ..config() },
                MailSetupError::Credentials,
            ),
        ] {
            assert!(!format!("{wrong:?}").contains("s3cret"));
            assert_eq!(Mailer::new(&wrong).err(), Some(expected));
        }
    }

    #[test]
    fn nothing_in_a_mail_becomes_a_header_or_markup() {
        let mailer = Mailer::new(&config()).expect("a mailer");
        let text = Rendered {
            locale: "de".into(),
            subject: crate::templates::subject("Grüße\r\nBcc: eve@example.com"),
            body: "<script>alert('1')</script>\n.\n& more".into(),
        };
        let message = mailer.message("m1", "Ada <ada@example.com>", &text).expect("a message");
        let formatted = String::from_utf8(message.formatted()).expect("text");
        assert!(!formatted.lines().any(|line| line.starts_with("Bcc:")), "{formatted}");
        assert!(
            formatted.contains("Message-ID: <m1@example.com>") && formatted.contains("Auto-Submitted: auto-")
        );
        assert!(
            html(&text).contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;<br>\n.<br>\n&amp; more")
        );
        for wrong in ["", "ada", "ada@example.com\r\nBcc: eve@example.com", "a@b@c"] {
            assert!(mailer.message("m1", wrong, &text).is_err() && !is_address(wrong), "{wrong}");
        }
    }
}
