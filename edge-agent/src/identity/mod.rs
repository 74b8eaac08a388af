//! Who a vehicle is: a key that never leaves it, and a certificate that the cloud gave for it (DESIGN D13).
//!
//! Owns: enrolment with a one-time token, renewal over mutual TLS, the files of an identity, the TLS settings of every
//! connection that a vehicle makes. Deliberately absent: who may enrol, which is the cloud's to say.

mod certificate;
mod client;
mod faults;
mod folder;
mod renewal;
mod tls;
mod token;

pub use certificate::{CertificateError, Validity};
pub(crate) use client::unbracketed;
pub use client::{EnrolFault, Enroller, Granted, ServerUrl, new_key};
pub use faults::{Fault, explain};
pub use folder::{Folder, FolderError, Identity, LINK};
pub use renewal::keep_renewed;
pub use tls::{Credentials, IdentityError, TrustAnchors};
pub use token::{Token, TokenError};
