//! Deciding on commands (docs/uplink.md section 7, I5).

use remuda_model::Epoch;
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Command, CommandKind, Event};

use super::{Agent, Saving};
use crate::output::Output;
use crate::state::KnownTime;

impl Agent {
    pub(super) fn handle_command(&mut self, command: Command, now: u64) {
        if let Some(reason) = self.refusal(&command, now) {
            return self.tell(command.id, CommandOutcome::Refused(reason.to_owned()), now);
        }
        // Obeyed or under way before: its results are in the outbox or acked already.
        if self.state.commands.iter().any(|c| c.id == command.id) {
            return;
        }
        // The id is durable before anything happens: a crash in between costs the command, never obeys it twice.
        self.note_epoch(command.epoch);
        self.state.highest_epoch = self.highest_epoch;
        self.state.remember(command.id);
        if let CommandKind::Answer { question, option } = command.kind {
            return self.handle_answer(command, (question, option), now);
        }
        self.save_then(Saving::Command(command));
    }

    /// The id and the choice become durable together. Were the id durable alone, a crash would cost the answer, and no
    /// other could be sent under it while the question still waits.
    fn handle_answer(&mut self, command: Command, answer: ([u8; 16], u8), now: u64) {
        let refused = if self.has_expired(&command, now) {
            Some(CommandOutcome::Expired)
        } else {
            self.take_answer(command.id, answer, now).err().map(|why| CommandOutcome::Refused(why.to_owned()))
        };
        match refused {
            Some(outcome) => self.end_command(command.id, outcome, now),
            None => self.save_then(Saving::Answered(command, answer.0)),
        }
    }

    /// The choice is durable. The command is judged once more: the disk may have taken long.
    fn begin_answer(&mut self, command: &Command, question: [u8; 16], now: u64) {
        if self.has_expired(command, now) {
            self.leave_choice(question);
            return self.end_command(command.id, CommandOutcome::Expired, now);
        }
        self.tell(command.id, CommandOutcome::Accepted, now);
        self.act_on_choice(question, now);
    }

    /// Judged by the latest possible time.
    fn has_expired(&self, command: &Command, now: u64) -> bool {
        self.clock.latest_ms(now).is_none_or(|latest| latest >= command.expires_ms)
    }

    fn end_command(&mut self, id: [u8; 16], outcome: CommandOutcome, now: u64) {
        self.finish(id);
        self.tell(id, outcome, now);
        self.save();
    }

    /// Why a command is not considered; such an answer is not remembered as the id's outcome.
    fn refusal(&self, command: &Command, now: u64) -> Option<&'static str> {
        if !self.verifier.verify(&self.settings.vehicle, command) {
            return Some("signature");
        }
        if self.clock.latest_ms(now).is_none() {
            return Some("clock");
        }
        if command.incarnation != self.settings.incarnation {
            return Some("incarnation");
        }
        (command.epoch < self.highest_epoch).then_some("stale")
    }

    /// The state of the next [`Output::Save`] is durable: one call for each of them, in order.
    pub fn handle_saved(&mut self, now: u64) {
        self.saves_done += 1;
        while self.saving.front().is_some_and(|(save, _)| *save <= self.saves_done) {
            match self.saving.pop_front() {
                Some((_, Saving::Command(command))) => self.begin_command(command, now),
                Some((_, Saving::Policy(in_force, policy))) => self.apply_policy(in_force, policy, now),
                Some((_, Saving::Trip)) => self.trip_saved(now),
                Some((_, Saving::Marks(number))) => self.marks_saved(number, now),
                Some((_, Saving::Asked(question))) => self.tell_question(question, now),
                Some((_, Saving::Answered(command, question))) => self.begin_answer(&command, question, now),
                Some((_, Saving::Decided(question))) => self.act_on_choice(question, now),
                None => {}
            }
        }
        self.pump(now);
        self.status_timeout(now);
    }

    fn begin_command(&mut self, command: Command, now: u64) {
        // After the wait for the disk.
        if self.has_expired(&command, now) {
            return self.end_command(command.id, CommandOutcome::Expired, now);
        }
        self.tell(command.id, CommandOutcome::Accepted, now);
        self.outputs.push_back(Output::Perform { id: command.id, kind: command.kind });
    }

    /// What became of an [`Output::Perform`].
    pub fn handle_outcome(&mut self, id: [u8; 16], outcome: CommandOutcome, now: u64) {
        if self.finish(id) {
            self.tell(id, outcome, now);
            self.save();
        }
    }

    /// Begun under an earlier start: nobody saw the end.
    pub(super) fn forget_unfinished_commands(&mut self, now: u64) {
        let open: Vec<_> = self.state.commands.iter().filter(|c| !c.finished).map(|c| c.id).collect();
        for id in &open {
            self.finish(*id);
            self.tell(*id, CommandOutcome::Unknown, now);
        }
        if !open.is_empty() {
            self.save();
        }
    }

    fn finish(&mut self, id: [u8; 16]) -> bool {
        let open = self.state.commands.iter_mut().find(|c| c.id == id && !c.finished);
        open.map(|c| c.finished = true).is_some()
    }

    fn tell(&mut self, command: [u8; 16], outcome: CommandOutcome, now: u64) {
        self.make_event(&Event::CommandResult { command, outcome }, now);
    }

    /// Saves, and does this once that is durable.
    pub(super) fn save_then(&mut self, then: Saving) {
        self.save();
        self.saving.push_back((self.saves_begun, then));
    }

    pub(super) fn save(&mut self) {
        self.saves_begun += 1;
        self.spent_saved = self.state.spent.bytes;
        self.state.time = self.known_time();
        self.state.highest_epoch = self.highest_epoch.max(self.state.highest_epoch).max(Epoch(0));
        self.outputs.push_back(Output::Save(self.state.encode()));
    }

    /// What another start of the agent on this machine may know of the time.
    fn known_time(&self) -> Option<KnownTime> {
        let machine = self.settings.machine;
        let offset_ms = self.clock.offset_ms().filter(|_| machine != 0)?;
        Some(KnownTime { machine, offset_ms })
    }
}
