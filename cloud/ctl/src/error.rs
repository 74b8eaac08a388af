//! What can go wrong, as sentences.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::client::innermost;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// The address cannot be used.
    #[error(
        "`{0}` is not a server address; it looks like http://127.0.0.1:7070 or https://fleet.example:7070"
    )]
    Address(String),
    /// No token.
    #[error(
        "a token is wanted: log in with `remudactl login`, choose a context with `remudactl contexts use`, or give --token, REMUDA_TOKEN, \
         --cert and --key, or an address that ends with #token=..."
    )]
    NoToken,
    /// The token cannot be sent.
    #[error("the token has characters that a header cannot carry")]
    Token,
    /// Nobody listens there.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where.
        address: String,
        /// The innermost reason.
        reason: String,
    },
    /// A file does not hold what it should.
    #[error("{file} does not hold {what} in PEM; name another file")]
    Pem {
        /// Which.
        file: String,
        /// What it should hold.
        what: &'static str,
    },
    /// The contexts file cannot be used.
    #[error("{file}: {problem}")]
    Contexts {
        /// Which.
        file: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// There is no such context.
    #[error(
        "there is no context `{name}`; {}",
        if known.is_empty() { "make one with `remudactl contexts set` or `remudactl login`".to_owned() } else { format!("there are: {}", known.join(", ")) }
    )]
    NoSuchContext {
        /// What was asked for.
        name: String,
        /// Which there are.
        known: Vec<String>,
    },
    /// A server that says nothing to who shows a client certificate: it is late, or the connection broke.
    #[error(
        "{0}; a server that does not trust the client certificate ends each connection: see whether --cert and --key are the right ones"
    )]
    CertificateUnanswered(String),
    /// A connection in plain text that broke.
    #[error("{0}; if the server speaks TLS, its address begins with https://")]
    PlainTextBroken(String),
    /// No context is the current one.
    #[error("no context is the current one; choose one with `remudactl contexts use NAME`")]
    NoContext,
    /// A login for a server that the context is not for.
    #[error(
        "the context `{context}` is for {server}; say with --context which one is to be for another server"
    )]
    OtherServer {
        /// Which context.
        context: String,
        /// Its server.
        server: String,
    },
    /// Somebody gave the context another server meanwhile.
    #[error("the context `{context}` got another server meanwhile; run the command again")]
    ContextMoved {
        /// Which context.
        context: String,
    },
    /// Nobody could log in.
    #[error("cannot log in at {issuer}: {problem}")]
    Login {
        /// Where.
        issuer: String,
        /// Why not.
        problem: String,
    },
    /// The token's time is over, and there is no way to another.
    #[error(
        "the login of the context `{context}` has ended ({problem}); run `remudactl login --context {context}`"
    )]
    LoginEnded {
        /// Which context.
        context: String,
        /// Why.
        problem: String,
    },
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}")]
    File {
        /// Which.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A command that was waited for has ended otherwise.
    #[error("the command is {state}{}", if detail.is_empty() { String::new() } else { format!(": {detail}") })]
    NotDone {
        /// Its last state.
        state: String,
        /// The vehicle's words.
        detail: String,
    },
    /// An audit log that is shorter than it was.
    #[error(
        "the audit log has {entries} entries, at least {wanted} are wanted; lines at its end are missing"
    )]
    AuditShort {
        /// How many it has.
        entries: u64,
        /// How many were wanted.
        wanted: u64,
    },
    /// Ledger and statement say different things.
    #[error("{0} movements differ between the ledger and the statement")]
    Differs(u64),
    /// Options that do not go together.
    #[error("{0}")]
    Usage(&'static str),
    /// Lines of a CSV file.
    #[error("{file}: {problems}")]
    Csv {
        /// Which.
        file: String,
        /// Which lines, and what is wrong with them.
        problems: String,
    },
    /// A file cannot be made.
    #[error("{file} cannot be written: {source}; name a new file in a folder that can be written")]
    Unwritable {
        /// Which.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Vehicles are registered, and their tokens went nowhere.
    #[error(
        "the vehicles are registered, but their tokens could not be written to {file}: {source}; make new ones with `remudactl vehicles enroll-token`"
    )]
    TokensLost {
        /// Which.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A policy document that no vehicle could follow.
    #[error("{file}: {problem}")]
    Document {
        /// Which.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Geofences that could not be imported; each was said.
    #[error("{0} geofences were not imported")]
    Features(u32),
    /// A signal that is not clear.
    #[error("{0}")]
    Signal(String),
    /// An answer that is not what was agreed.
    #[error("the server's answer cannot be used: {0}")]
    Answer(&'static str),
    /// The person has enough.
    #[error("interrupted: the answer is not complete")]
    Interrupted,
    /// What a format cannot hold.
    #[error("{0}")]
    Export(remuda_exports::ExportError),
    /// The server said no.
    #[error("{}", describe(.0))]
    Refused(#[from] Box<Status>),
    /// Standard output.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

impl From<Status> for CtlError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<remuda_exports::ExportError> for CtlError {
    fn from(error: remuda_exports::ExportError) -> Self {
        match error {
            remuda_exports::ExportError::Write(error) => Self::Output(error),
            other => Self::Export(other),
        }
    }
}

impl CtlError {
    /// The same, of a call by a client certificate. With TLS 1.3 a server refuses it after the client has connected, and the channel
    /// connects again until the deadline.
    pub(crate) fn by_certificate(self) -> Self {
        match self {
            Self::Refused(status) if is_unanswered(&status) => Self::CertificateUnanswered(describe(&status)),
            other => other,
        }
    }

    /// The same, of a call in plain text: what a server that speaks TLS says to it, if anything, is no answer.
    pub(crate) fn in_plain_text(self) -> Self {
        match self {
            Self::Refused(status) if is_broken(&status) => Self::PlainTextBroken(describe(&status)),
            other => other,
        }
    }

    /// 2 when the command itself was wrong, 1 when it failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_)
            | Self::NoToken
            | Self::Token
            | Self::Usage(_)
            | Self::Signal(_)
            | Self::File { .. }
            | Self::Pem { .. }
            | Self::Contexts { .. }
            | Self::NoSuchContext { .. }
            | Self::OtherServer { .. }
            | Self::Unwritable { .. }
            | Self::Csv { .. }
            | Self::Document { .. } => 2,
            Self::Refused(status) if status.code() == Code::InvalidArgument => 2,
            Self::Connect { .. }
            | Self::NoContext
            | Self::ContextMoved { .. }
            | Self::CertificateUnanswered(_)
            | Self::PlainTextBroken(_)
            | Self::Login { .. }
            | Self::LoginEnded { .. }
            | Self::Differs(_)
            | Self::Features(_)
            | Self::Refused(_)
            | Self::Output(_)
            | Self::TokensLost { .. }
            | Self::Answer(_)
            | Self::Interrupted
            | Self::Export(_)
            | Self::NotDone { .. }
            | Self::AuditShort { .. } => 1,
        }
    }
}

/// Whether nobody answered: the server was late, or the connection broke.
fn is_unanswered(status: &Status) -> bool {
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => true,
        _ => is_broken(status),
    }
}

/// Whether the connection broke: these are the transport's words, and not the server's.
fn is_broken(status: &Status) -> bool {
    match status.code() {
        Code::Unknown => status.message().contains("transport error"),
        Code::Internal => status.message().starts_with("h2 protocol error"),
        _ => false,
    }
}

fn describe(status: &Status) -> String {
    let reason =
        status.get_details_error_info().map(|info| format!(" ({})", info.reason)).unwrap_or_default();
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => {
            format!("the server did not answer in time; --timeout gives it longer{reason}")
        }
        Code::Unavailable if status.message().is_empty() => format!("the server is not available{reason}"),
        // A transport's own words say less than nothing.
        _ if is_broken(status) => format!("the connection broke: {}", innermost(status)),
        _ => format!("{}{reason}", status.message()),
    }
}
