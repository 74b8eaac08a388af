//! Feature flags: a file in flagd's format (<https://flagd.dev/reference/flag-definitions/>), evaluated in the process.
//!
//! Answers as OpenFeature wants them: a value, its variant and the reason; a caller always has a default, and a flag that is
//! missing or broken gives that. Shares of users are flagd's `fractional`: a stable hash (murmur3) of flag and user, so that
//! flagd itself, or any other program that reads the file, puts everybody into the same bucket.
//!
//! Of JsonLogic, targeting may use `var`, `==`, `!=`, `===`, `!==`, `!`, `and`, `or`, `if`, `in`, `cat`, `<`, `<=`, `>`,
//! `>=`, `starts_with`, `ends_with` and `fractional`; equality is strict. Another operator is an error when the file is
//! loaded, never a surprise later. Deliberately absent: flags from a network.

mod document;
mod file;
mod logic;
mod murmur;

pub use document::{Evaluation, Flags, FlagsError, Reason};
pub use file::FlagFile;
pub use logic::EvaluationContext;
