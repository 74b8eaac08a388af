//! Whatever is said in whatever order: money is conserved, nothing goes below zero, everything stays bounded.

use proptest::prelude::*;
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Aggregate, Context};
use remuda_users::event::UserEvent;
use remuda_users::state::{Role, User, UserPhase};
use remuda_users::{UserCommand as C, Users, limits};

use crate::support::*;

/// What came in, and what went out.
#[derive(Default)]
struct Books {
    came_in: i64,
    went_out: i64,
}

impl Books {
    fn note(&mut self, event: &UserEvent) {
        match event {
            UserEvent::CreditsToppedUp(e) => self.came_in += e.amount,
            UserEvent::CreditsRefunded(e) => self.came_in += e.amount,
            UserEvent::HoldCaptured(e) => self.went_out += e.amount,
            UserEvent::ErasureOrdered(e) => self.went_out += e.forfeited,
            _ => {}
        }
    }
}

fn command() -> impl Strategy<Value = (C, i64)> {
    let key = || (0..6_u8).prop_map(|n| format!("b{n}"));
    let amount = || 0..80_i64;
    let command = prop_oneof![
        1 => Just(register(&[Role::Rider])),
        3 => (amount(), 0..5_u8).prop_map(|(n, r)| C::TopUp { amount: euros(n), reference: format!("p{r}") }),
        6 => (key(), amount(), 0..5_000_i64).prop_map(|(key, n, ttl)| C::Hold {
            key,
            amount: euros(n),
            expires_ms: now() + ttl
        }),
        3 => key().prop_map(|key| C::Release { key }),
        3 => (key(), amount()).prop_map(|(key, amount)| C::Capture { key, amount }),
        2 => (key(), amount(), 0..4_u8).prop_map(|(key, amount, r)| C::Refund { key, amount, reference: format!("r{r}") }),
        1 => Just(C::ExpireHolds),
        1 => Just(C::Suspend { reason: "x".into() }),
        2 => Just(C::Reinstate),
        1 => any::<bool>().prop_map(|forfeit| C::OrderErasure { running_trips: vec![], forfeit }),
        1 => Just(C::ConfirmErased),
    ];
    (command, 0..200_i64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn money_is_conserved(commands in prop::collection::vec(command(), 1..60)) {
        let mut user = User::default();
        let mut books = Books::default();
        let mut at = Context { now_ms: now(), ..context() };
        Users::evolve(&mut user, &rider());
        for (command, passed_ms) in commands {
            at.now_ms += passed_ms;
            let Ok(events) = Users::decide(&user, &command, &at) else { continue };
            for event in &events {
                books.note(event);
                Users::evolve(&mut user, event);
                let stored = Users::encode(event);
                prop_assert_eq!(&Users::decode(stored.event_type, stored.schema_version, &stored.payload).unwrap(), event);
            }
            let credits = &user.credits;
            prop_assert_eq!(credits.balance(), books.came_in - books.went_out);
            prop_assert!(credits.available >= 0 && credits.holds.values().all(|hold| hold.amount > 0));
            prop_assert!(credits.holds.len() <= limits::HOLDS_MAX && credits.ended.len() <= limits::ENDED_HOLDS_MAX);
            prop_assert!(user.phase < UserPhase::Erasing || credits.balance() == 0);
            // The same again right away does nothing more, whatever it was.
            if !matches!(command, C::Register { .. }) {
                match Users::decide(&user, &command, &at) {
                    Ok(again) => prop_assert!(again.is_empty(), "{:?} caused {:?} twice", command, again),
                    Err(refusal) => prop_assert!(false, "{:?} was taken once and then refused: {}", command, refusal),
                }
            }
        }
    }
}
