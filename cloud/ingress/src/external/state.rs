//! Whether the broker is there, for everybody who asks.

use tokio::sync::watch;

/// One connection to the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Not yet.
    Connecting,
    /// Logged in, and subscribed where it receives.
    Connected,
    /// Gone; why, and whether somebody must change something.
    Away {
        /// A sentence.
        why: String,
        /// See [`super::link::Lost`].
        definite: bool,
    },
}

/// Whether messages of every size go round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Check {
    /// Not known yet, for these connections.
    Pending,
    /// They do.
    Passed,
    /// They do not; what to change.
    Failed(String),
}

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub legs: Vec<Leg>,
    pub check: Check,
}

impl State {
    pub fn is_connected(&self) -> bool {
        self.legs.iter().all(|leg| *leg == Leg::Connected)
    }

    /// The worst there is to say; `None` when all is well.
    pub fn trouble(&self) -> Option<&str> {
        let away = self.legs.iter().find_map(|leg| match leg {
            Leg::Away { why, .. } => Some(why.as_str()),
            Leg::Connecting | Leg::Connected => None,
        });
        let connecting = (!self.is_connected()).then_some("it is being connected to");
        match &self.check {
            _ if away.is_some() => away,
            Check::Failed(sentence) => Some(sentence),
            Check::Pending | Check::Passed => connecting,
        }
    }

    /// What only a person can mend.
    pub fn definite(&self) -> Option<&str> {
        let wrong = self.legs.iter().find_map(|leg| match leg {
            Leg::Away { why, definite: true } => Some(why.as_str()),
            _ => None,
        });
        match &self.check {
            Check::Failed(sentence) => wrong.or(Some(sentence)),
            Check::Pending | Check::Passed => wrong,
        }
    }
}

/// The state, written by the connections and the check.
pub(crate) struct StateSender(watch::Sender<State>);

impl StateSender {
    pub fn new(legs: usize) -> Self {
        Self(watch::Sender::new(State { legs: vec![Leg::Connecting; legs], check: Check::Pending }))
    }

    pub fn leg(&self, number: usize, leg: Leg) {
        self.0.send_modify(|state| {
            // Why it is away is worth more than that somebody tries again.
            let tries_again = leg == Leg::Connecting && matches!(state.legs[number], Leg::Away { .. });
            if !tries_again {
                state.legs[number] = leg;
            }
            if !state.is_connected() {
                state.check = Check::Pending;
            }
        });
    }

    pub fn check(&self, check: Check) {
        self.0.send_modify(|state| state.check = check);
    }

    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

/// Answers whether the broker is there. Cheap to clone and to ask.
#[derive(Debug, Clone)]
pub struct BrokerHealth {
    pub(crate) address: String,
    pub(crate) state: watch::Receiver<State>,
}

impl BrokerHealth {
    /// Connected, subscribed, and nothing found wrong.
    ///
    /// # Errors
    /// A sentence: what is wrong and, where somebody must change something, what.
    pub fn now(&self) -> Result<(), String> {
        let state = self.state.borrow();
        state.trouble().map_or(Ok(()), |why| Err(format!("the external broker {}: {why}", self.address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_it_is_away_stays_until_it_is_back() {
        let sender = StateSender::new(2);
        let health = BrokerHealth { address: "b:1883".into(), state: sender.subscribe() };
        assert!(health.now().expect_err("connecting").contains("being connected"));
        sender.leg(0, Leg::Connected);
        sender.leg(1, Leg::Connected);
        sender.check(Check::Passed);
        assert_eq!(health.now(), Ok(()));
        sender.leg(1, Leg::Away { why: "nobody listens".into(), definite: false });
        sender.leg(1, Leg::Connecting);
        assert!(health.now().expect_err("away").contains("b:1883: nobody listens"));
        sender.leg(1, Leg::Connected);
        assert_eq!(sender.subscribe().borrow().check, Check::Pending, "it is checked anew");
        sender.check(Check::Failed("too small".into()));
        assert!(health.now().expect_err("failed").contains("too small"));
        assert_eq!(sender.subscribe().borrow().definite(), Some("too small"));
    }
}
