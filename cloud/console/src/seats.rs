//! Streams of a service that are open at once: so many of all callers, and half of them of one.

use std::sync::Arc;

use remuda_access::Principal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::{Place, Shares};
use crate::limits;
use crate::refusal::Refusal;

/// See the module. Clones share them.
#[derive(Clone)]
pub(crate) struct Seats {
    all: Arc<Semaphore>,
    callers: Arc<Shares<String>>,
}

/// One of them, until it is dropped.
pub(crate) struct Seat {
    _all: OwnedSemaphorePermit,
    _of_caller: Place<String>,
}

impl Seats {
    pub fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits::WATCHERS_MAX)),
            callers: Arc::new(Shares::new(limits::WATCHERS_PER_CALLER_MAX)),
        }
    }

    /// One for whoever calls.
    pub fn take<T>(&self, request: &tonic::Request<T>) -> Result<Seat, Refusal> {
        // The gate let nobody through without a principal.
        let subject = request.extensions().get::<Principal>().map(|principal| principal.subject.clone());
        self.take_for(subject.unwrap_or_default())
    }

    fn take_for(&self, subject: String) -> Result<Seat, Refusal> {
        let of_caller = self.callers.take_of(subject);
        let of_caller = of_caller.ok_or(Refusal::TooManyOfCaller(limits::WATCHERS_PER_CALLER_MAX))?;
        let all = Arc::clone(&self.all).try_acquire_owned();
        let all = all.map_err(|_| Refusal::TooManyWatchers(limits::WATCHERS_MAX))?;
        Ok(Seat { _all: all, _of_caller: of_caller })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_caller_takes_all_and_all_together_take_no_more_than_there_are() {
        let seats = Seats::new();
        let take = |who: &str| seats.take_for(who.to_owned());
        let share = limits::WATCHERS_PER_CALLER_MAX;
        let mut ada: Vec<Seat> = (0..share).map(|_| take("ada").unwrap()).collect();
        assert_eq!(take("ada").err(), Some(Refusal::TooManyOfCaller(share)));
        let others: Vec<Seat> =
            (share..limits::WATCHERS_MAX).map(|n| take(&format!("u{n}")).unwrap()).collect();
        assert_eq!(take("eve").err(), Some(Refusal::TooManyWatchers(limits::WATCHERS_MAX)));
        // Refused for want of room, she holds nothing of her share; what is given back is another's.
        ada.pop();
        let eve = take("eve").unwrap();
        assert_eq!(take("ada").err(), Some(Refusal::TooManyWatchers(limits::WATCHERS_MAX)));
        drop((others, eve));
        ada.push(take("ada").unwrap());
        assert_eq!(take("ada").err(), Some(Refusal::TooManyOfCaller(share)));
    }
}
