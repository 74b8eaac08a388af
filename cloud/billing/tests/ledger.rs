//! The ledger sums to zero, whatever is posted.

mod common;

use std::collections::BTreeMap;

use common::eur;
use proptest::prelude::*;
use remuda_billing::ledger::{
    Account, Ledger, LedgerCommand, LedgerState, Line, Posting, Transaction, TrialBalance, posting,
};
use remuda_billing::money::{Currency, Money};
use remuda_eventsourcing::testing::{context, given};
use remuda_eventsourcing::{Aggregate, Refusal};

fn post(key: &str, lines: &[(Account, i64)]) -> LedgerCommand {
    let line =
        |(account, minor_units): &(Account, i64)| Line { account: *account, amount: eur(*minor_units) };
    let lines = lines.iter().map(line).collect();
    LedgerCommand::Post(Transaction { key: key.into(), memo: "test".into(), reference: None, lines })
}

#[test]
fn what_does_not_balance_does_not_stand() {
    let good = || {
        post(
            "k1",
            &[(Account::AccountsReceivable, 119), (Account::Revenue, -100), (Account::TaxPayable, -19)],
        )
    };
    given::<Ledger>([])
        .when(good())
        .then_events(|events| events.len() == 1)
        .then_state(|s| s.balance(Account::Revenue, Currency::EUR) == -100)
        .when(good())
        .then_nothing()
        .when(post("k1", &[(Account::Bank, 1), (Account::Revenue, -1)]))
        .then_refused("key-reused")
        .when(post("k2", &[(Account::Bank, 2), (Account::Revenue, -1)]))
        .then_refused("unbalanced-transaction")
        .when(post("k2", &[(Account::Bank, 0), (Account::Revenue, 0)]))
        .then_refused("invalid-lines")
        .when(post("k2", &[(Account::Bank, 1)]))
        .then_refused("invalid-lines")
        .when(post("", &[(Account::Bank, 1), (Account::Revenue, -1)]))
        .then_refused("invalid-text")
        .when(post("k2", &[(Account::Bank, i64::MAX), (Account::Promotions, -i64::MAX)]))
        .then_events(|events| events.len() == 1)
        .when(post("k3", &[(Account::Bank, 1), (Account::ProviderFees, -1)]))
        .then_refused("balance-overflow");
    // Each currency balances for itself.
    let usd = "USD".parse().expect("a code");
    let mixed = LedgerCommand::Post(Transaction {
        key: "k".into(),
        memo: "m".into(),
        reference: None,
        lines: vec![
            Line { account: Account::Bank, amount: eur(5) },
            Line { account: Account::Bank, amount: Money { minor_units: -5, currency: usd } },
        ],
    });
    let no = Ledger::decide(&LedgerState::default(), &mixed, &context()).expect_err("refused");
    assert_eq!(no.code(), "unbalanced-transaction");
}

fn any_posting() -> impl Strategy<Value = Posting> {
    let amount = || (1_i64..1_000_000).prop_map(eur);
    prop_oneof![
        (amount(), amount()).prop_map(|(net, tax)| Posting::Invoiced { net, tax }),
        amount().prop_map(Posting::Captured),
        amount().prop_map(Posting::CreditsSpent),
        (amount(), amount()).prop_map(|(net, tax)| Posting::Refunded { net, tax }),
        (amount(), amount()).prop_map(|(net, tax)| Posting::RefundedAsCredits { net, tax }),
        amount().prop_map(Posting::CreditsBought),
        amount().prop_map(Posting::CreditsGranted),
        (amount(), amount()).prop_map(|(gross, fees)| Posting::PaidOut { gross, fees }),
        amount().prop_map(Posting::WrittenOff),
    ]
}

proptest! {
    /// Any sequence of postings and of arbitrary transactions, on two ledgers: each sums to zero, and so do
    /// both together; balances are what an independent sum over the accepted lines says.
    #[test]
    fn any_sequence_sums_to_zero(
        postings in prop::collection::vec((any_posting(), any::<bool>(), 0_u8..40), 0..60),
        wild in prop::collection::vec((prop::collection::vec((0_usize..9, -5_i64..5), 0..6), any::<bool>()), 0..40),
    ) {
        let named = postings.into_iter().map(|(what, second, key)| {
            let transaction = posting(&format!("k{key}"), "test", what).expect("a transaction");
            (LedgerCommand::Post(transaction), second)
        });
        let wild = wild.into_iter().enumerate().map(|(i, (lines, second))| {
            let lines: Vec<_> = lines.into_iter().map(|(account, amount)| (Account::ALL[account], amount)).collect();
            (post(&format!("w{i}"), &lines), second)
        });
        let mut ledgers = [LedgerState::default(), LedgerState::default()];
        let mut trial = TrialBalance::default();
        let mut independent: BTreeMap<Account, i128> = BTreeMap::new();
        for (command, second) in named.chain(wild).collect::<Vec<_>>() {
            let ledger = &mut ledgers[usize::from(second)];
            let Ok(events) = Ledger::decide(ledger, &command, &context()) else { continue };
            let LedgerCommand::Post(transaction) = &command;
            if !events.is_empty() {
                for line in &transaction.lines {
                    *independent.entry(line.account).or_insert(0) += i128::from(line.amount.minor_units);
                }
            }
            for event in &events {
                Ledger::evolve(ledger, event);
                trial.apply(event);
            }
        }
        for ledger in &ledgers {
            prop_assert_eq!(ledger.balances.values().map(|b| i128::from(*b)).sum::<i128>(), 0);
        }
        prop_assert_eq!(trial.imbalance_minor(), 0);
        for account in Account::ALL {
            let both: i64 = ledgers.iter().map(|l| l.balance(account, Currency::EUR)).sum();
            let expected = independent.get(&account).copied().unwrap_or(0);
            prop_assert_eq!(i128::from(both), expected);
            prop_assert_eq!(trial.balance(account, Currency::EUR), expected);
        }
    }
}
