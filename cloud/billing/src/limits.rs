//! Bounds, each with its reason.

use std::time::Duration;

/// Largest amount of one payment, minor units: 1 million in most currencies; a larger one is a mistake.
pub const AMOUNT_MINOR_MAX: i64 = 100_000_000;
/// Largest rate of a tariff, minor units: the same thought.
pub const RATE_MINOR_MAX: i64 = 1_000_000;
/// Highest surge that a tariff may allow, percent of the plain price.
pub const SURGE_PERCENT_MAX: u32 = 500;
/// Highest tax rate, hundredths of a percent: above any in the world, below a slipped comma.
pub const TAX_BASIS_POINTS_MAX: u32 = 5_000;
/// Most versions of one tariff: one a week for ten years.
pub const TARIFF_VERSIONS_MAX: usize = 520;
/// Most tariffs of a configuration.
pub const TARIFFS_MAX: usize = 1_000;
/// Shortest and longest validity of a quote, s.
pub const QUOTE_VALID_S: (u64, u64) = (30, 86_400);
/// Longest trip that is priced, m: beyond it the odometer is wrong.
pub const DISTANCE_M_MAX: u64 = 5_000_000;
/// Longest trip that is priced, ms: a week.
pub const DURATION_MS_MAX: i64 = 7 * 86_400_000;
/// Most refunds of one payment: it bounds the state.
pub const REFUNDS_MAX: usize = 32;
/// Longest text of a name, reason or reference, bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Most lines of a transaction: enough for every posting made here, and few enough to check by eye.
pub const TRANSACTION_LINES_MAX: usize = 16;
/// Keys of transactions that an account ledger remembers: a repetition comes from a retry or a replay of the
/// last minutes, hundreds of trips of one customer lie beyond that.
pub const LEDGER_KEYS_MAX: usize = 1_024;
/// Currencies and accounts of one ledger: the chart of accounts times a few currencies.
pub const LEDGER_BALANCES_MAX: usize = 128;
/// Invoices of a book that are issued and not yet confirmed by their payment: as many payments may be in the
/// making.
pub const INVOICES_UNCONFIRMED_MAX: usize = 4_096;
/// Most lines of an invoice.
pub const INVOICE_LINES_MAX: usize = 64;
/// Time for one call to the payment provider: card networks answer within 30 s or not at all.
pub const PROVIDER_TIMEOUT: Duration = Duration::from_secs(30);
/// Lines of a statement that one reconciliation takes.
pub const STATEMENT_LINES_MAX: usize = 200_000;
/// Documents of one answer: a page of 1,000, and one that tells whether there is another.
pub const DOCUMENTS_PAGE_MAX: usize = 1_001;
/// Differences that a report lists; the rest is counted.
pub const REPORT_LINES_MAX: usize = 1_000;
