//! Money: tariffs, holds, captures, refunds, invoices and a ledger that sums to zero.
