//! Watching the stops of the active trip (docs/uplink.md section 6): what is noticed is durable before it is told, so that no
//! mark is lost; and it has a name, so that one told twice counts once.

use remuda_fences::{Observation, Sight, Watch};
use remuda_model::{Lane, Seq};
use remuda_wire::topic::Channel;
use remuda_wire::{Event, TripMarked, TripWatch, Up, WatchedTrip, Watching};

use super::{Agent, Saving};
use crate::limits;
use crate::state::{TripOnWatch, WaitingMark};

fn ms(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

/// Whether two marks that follow one another, and wait, say the same: it stands at a stop where it has stood already.
fn is_same_rest(before: &WaitingMark, later: &WaitingMark) -> bool {
    let is_rest =
        |waiting: &WaitingMark| waiting.told.is_none() && waiting.mark.observation == Observation::AtRest;
    is_rest(before) && is_rest(later) && before.mark.trip == later.mark.trip
}

impl Agent {
    /// What to watch from now on; said again when the cloud does not know whether it came.
    pub(super) fn handle_watch(&mut self, watch: TripWatch) {
        let is_news = match watch.trip {
            None => self.state.trip.take().is_some(),
            Some(given) => self.take_over(given),
        };
        if is_news {
            self.save_then(Saving::Trip);
        } else if !self.is_saving_trip() {
            self.say_watching();
        }
    }

    fn take_over(&mut self, given: WatchedTrip) -> bool {
        let machine = self.settings.machine;
        let Some(held) = self.state.trip.as_deref_mut().filter(|held| held.given.trip == given.trip) else {
            let watch = Watch::from(given.place, None);
            let told = given.place.moving;
            self.state.trip = Some(Box::new(TripOnWatch { given, watch, has_set_off: told, machine }));
            return true;
        };
        if given.version < held.given.version {
            return false;
        }
        let before = held.watch.clone();
        held.watch.change(&held.given.stops, &given.stops, given.place);
        let same = (given.version, &given.stops) == (held.given.version, &held.given.stops);
        held.given = given;
        !same || held.watch != before
    }

    fn is_saving_trip(&self) -> bool {
        self.saving.iter().any(|(_, what)| matches!(what, Saving::Trip))
    }

    /// The watch is durable: it is reported, and what it shows at once is noticed. That is of now: where the vehicle stood when its
    /// instruments last spoke, it did not yet have the trip.
    pub(super) fn trip_saved(&mut self, now: u64) {
        if !self.is_saving_trip() {
            self.say_watching();
        }
        self.look_as_of(ms(now), now);
    }

    fn say_watching(&mut self) {
        if self.session.is_welcome() {
            let trip = self.state.trip.as_ref().map(|held| (held.given.trip.clone(), held.given.version));
            let connection = self.connection();
            self.send(Channel::Session, &Up::Watching(Watching { connection, trip }));
        }
    }

    /// A cloud that gave this vehicle nothing to watch hears nothing of it: it may be too old to know.
    pub(super) fn trip_welcomed(&mut self, now: u64) {
        if self.state.trip.is_some() && !self.is_saving_trip() {
            self.say_watching();
        }
        self.tell_marks(now);
    }

    /// A new start. What was noticed before and perhaps not told is told now, or once its time is known. Before anything is saved,
    /// which would forget what time it was by another clock.
    pub(super) fn resume_trip(&mut self, now: u64) {
        let machine = self.settings.machine;
        let known = self.state.time;
        for waiting in &mut self.state.marks {
            if waiting.mark.time_ms.is_some() || (machine != 0 && waiting.machine == machine) {
                continue;
            }
            match known.filter(|known| waiting.machine != 0 && known.machine == waiting.machine) {
                Some(known) => waiting.mark.time_ms = Some(waiting.at_ms.saturating_add(known.offset_ms)),
                // Nobody can know any more. It was before this start, and so it stays before what is noticed from now on.
                None => (waiting.machine, waiting.at_ms) = (machine, ms(now)),
            }
        }
        if let Some(held) = self.state.trip.as_deref_mut()
            && (machine == 0 || held.machine != machine)
        {
            // Another clock.
            held.watch.forget_times();
            held.machine = machine;
        }
        self.tell_marks(now);
    }

    /// Where the vehicle is, or how fast, was read.
    pub(super) fn look(&mut self, now: u64) {
        self.look_as_of(0, now);
    }

    /// What the instruments say is taken as of `least_ms` when they said it before.
    fn look_as_of(&mut self, least_ms: i64, now: u64) {
        if self.state.trip.is_none() {
            return;
        }
        let incarnation = self.settings.incarnation;
        let given = self.book(Lane::Samples, incarnation).map_or(0, |book| book.next_seq - 1);
        let Some(mut sight) = self.instruments.sight((incarnation, given)) else { return };
        sight.at_ms = sight.at_ms.max(least_ms);
        let Some(held) = self.state.trip.as_deref_mut() else { return };
        let was = held.watch.place();
        let seen = held.watch.observe(&held.given.stops, &sight);
        let mut noticed = Vec::new();
        for (observation, of) in seen {
            let worth = match observation {
                Observation::SetOff => !std::mem::replace(&mut held.has_set_off, true),
                // Lights and queues between the stops are nobody's business.
                Observation::AtRest => held.watch.is_inside(),
                Observation::Entered(_) | Observation::Left(_) => true,
            };
            if worth {
                noticed.push((observation, of));
            }
        }
        // Setting off in a fence may turn out to have been leaving.
        let changed = held.watch.is_inside() && held.watch.place() != was;
        if noticed.is_empty() {
            if changed {
                self.save();
            }
            return;
        }
        for (observation, of) in noticed {
            self.notice(observation, &of);
        }
        if self.has_too_many_marks() {
            self.state.marks.dedup_by(|later, before| is_same_rest(before, later));
        }
        self.save_then(Saving::Marks(self.marks_noticed));
        if self.has_too_many_marks() {
            self.tell_marks(now);
        }
    }

    fn has_too_many_marks(&self) -> bool {
        self.state.marks.len() > limits::MARKS_WAITING_MAX
    }

    fn notice(&mut self, observation: Observation, of: &Sight) {
        let Some(held) = self.state.trip.as_deref() else { return };
        self.marks_noticed += 1;
        let (incarnation, samples) = of.samples.unwrap_or((self.settings.incarnation, 0));
        let stop = observation.stop().and_then(|stop| held.given.stops.get(usize::from(stop)).copied());
        let mark = TripMarked {
            trip: held.given.trip.clone(),
            noticed_by: self.settings.incarnation,
            number: self.marks_noticed,
            observation,
            stop,
            time_ms: None,
            latitude_e7: of.latitude_e7,
            longitude_e7: of.longitude_e7,
            speed_e2: of.speed_e2,
            odometer_m: of.odometer_m,
            energy_wh: of.energy_wh,
            incarnation,
            samples,
        };
        let machine = self.settings.machine;
        self.state.marks.push(WaitingMark { mark, at_ms: of.at_ms, machine, told: None });
    }

    /// Up to this one marks of this start are durable.
    pub(super) fn marks_saved(&mut self, number: u32, now: u64) {
        self.marks_durable = self.marks_durable.max(number);
        self.tell_marks(now);
    }

    /// Tells what is durable and has its time. A time that this start cannot know yet is waited for: nothing can be sent before
    /// either, and the first Welcome brings it.
    fn tell_marks(&mut self, now: u64) {
        let own = self.settings.incarnation;
        for at in 0..self.state.marks.len() {
            let waiting = &self.state.marks[at];
            let is_own = waiting.mark.noticed_by == own;
            if waiting.told.is_some() {
                continue;
            }
            if is_own && waiting.mark.number > self.marks_durable {
                return;
            }
            // What is not of this clock has its time, or was given one of this clock at the start.
            let mono_ms = u64::try_from(waiting.at_ms).unwrap_or_default();
            let time_ms = waiting.mark.time_ms.or_else(|| self.clock.wall_ms(mono_ms));
            let may_wait = self.state.marks.len() - at <= limits::MARKS_WAITING_MAX;
            if time_ms.is_none() && may_wait {
                return;
            }
            let mark = TripMarked { time_ms, ..waiting.mark.clone() };
            let seq = self.book(Lane::Events, own).map_or(0, |book| book.next_seq);
            self.make_event(&Event::TripMarked(mark), now);
            self.state.marks[at].told = Some(seq);
        }
    }

    /// Events up to here are in the outbox: what they told need not be kept.
    pub(super) fn marks_made(&mut self, up_to: Seq) {
        let before = self.state.marks.len();
        self.state.marks.retain(|waiting| waiting.told.is_none_or(|seq| seq > up_to));
        if self.state.marks.len() < before {
            self.save();
        }
    }
}
