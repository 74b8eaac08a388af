//! Asking a person (docs/assistance.md): a question waits by the agent's own monotonic clock, is decided once, and what
//! was decided is durable before anything acts on it.

use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Decided, Event, Question, QuestionStep};

use super::{Agent, Saving};
use crate::limits;
use crate::output::Output;
use crate::state::{Choice, OpenQuestion};

const NS_PER_MS: u64 = 1_000_000;

/// Why a question is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskRefusal {
    /// It cannot be asked as it is.
    #[error("{0}")]
    Fault(&'static str),
    /// It was asked before.
    #[error("a question of this id was asked before; every question needs an id of its own")]
    Repeated,
    /// Others are open.
    #[error("{} questions are open already; wait until one has ended", limits::QUESTIONS_OPEN_MAX)]
    TooMany,
}

impl Agent {
    /// Asks a person. The question is durable before it is told; its time begins now.
    ///
    /// # Errors
    /// When it cannot be asked. Nobody is told then, and nothing remembered, but the vehicle is not left waiting: it is asked
    /// for its safe default at once.
    pub fn handle_question(&mut self, question: Question, now: u64) -> Result<(), AskRefusal> {
        let (id, option) = (question.id, question.safe_default);
        let offered = usize::from(option) < question.options.len();
        let asked = self.ask_person(question, now);
        if asked.is_err() {
            self.figures.questions_refused += 1;
            // The same question that is still open takes its own course.
            if offered && self.open_question(id).is_none() {
                self.outputs.push_back(Output::Act { question: id, option, why: None });
            }
        }
        asked
    }

    fn ask_person(&mut self, question: Question, now: u64) -> Result<(), AskRefusal> {
        if let Some(fault) = question.fault() {
            return Err(AskRefusal::Fault(fault));
        }
        if self.state.knows_question(question.id) {
            return Err(AskRefusal::Repeated);
        }
        if self.state.questions.len() >= limits::QUESTIONS_OPEN_MAX {
            return Err(AskRefusal::TooMany);
        }
        let id = question.id;
        let machine = self.settings.machine;
        self.state.questions.push(OpenQuestion { question, asked_ns: now, machine, choice: None });
        self.save_then(Saving::Asked(id));
        Ok(())
    }

    /// Takes the safe default of questions whose time is over.
    pub(super) fn questions_timeout(&mut self, now: u64) {
        let over: Vec<[u8; 16]> =
            self.undecided().filter(|q| q.deadline_ns() <= now).map(OpenQuestion::id).collect();
        for id in over {
            self.take_default(id, Decided::TimedOut);
        }
    }

    pub(super) fn questions_deadline(&self) -> Option<u64> {
        self.undecided().map(OpenQuestion::deadline_ns).min()
    }

    fn undecided(&self) -> impl Iterator<Item = &OpenQuestion> {
        self.state.questions.iter().filter(|q| q.choice.is_none())
    }

    fn open_question(&mut self, id: [u8; 16]) -> Option<&mut OpenQuestion> {
        self.state.questions.iter_mut().find(|q| q.id() == id)
    }

    fn take_default(&mut self, id: [u8; 16], why: Decided) {
        if let Some(open) = self.open_question(id).filter(|q| q.choice.is_none()) {
            let option = open.question.safe_default;
            open.choice = Some(Choice { option, why, command: None });
            self.save_then(Saving::Decided(id));
        }
    }

    /// A signed answer, in time as a command; in time for the question is judged here, by the monotonic clock. What it
    /// chose is the caller's to save.
    ///
    /// # Errors
    /// A stable reason code: `question` (never asked), `late` (decided already, or its time is over), `option`.
    pub(super) fn take_answer(
        &mut self,
        command: [u8; 16],
        (id, option): ([u8; 16], u8),
        now: u64,
    ) -> Result<(), &'static str> {
        let known = self.state.knows_question(id);
        let Some(open) = self.open_question(id) else {
            return Err(if known { "late" } else { "question" });
        };
        if open.choice.is_some() || open.deadline_ns() <= now {
            return Err("late");
        }
        if usize::from(option) >= open.question.options.len() {
            return Err("option");
        }
        open.choice = Some(Choice { option, why: Decided::Answered, command: Some(command) });
        Ok(())
    }

    /// What was chosen came too late after all, and nothing has been told of it: the question waits as before.
    pub(super) fn leave_choice(&mut self, id: [u8; 16]) {
        if let Some(open) = self.open_question(id) {
            open.choice = None;
        }
    }

    /// The question is durable: it may be told.
    pub(super) fn tell_question(&mut self, id: [u8; 16], now: u64) {
        if let Some(open) = self.open_question(id) {
            let waited = now.saturating_sub(open.asked_ns) / NS_PER_MS;
            let waited_ms = u32::try_from(waited).unwrap_or(u32::MAX);
            let question = Question { waited_ms, ..open.question.clone() };
            self.make_event(&Event::Asked(question), now);
        }
    }

    /// The choice is durable: it is told, and acted on.
    pub(super) fn act_on_choice(&mut self, id: [u8; 16], now: u64) {
        let Some(Choice { option, why, .. }) = self.open_question(id).and_then(|q| q.choice) else { return };
        self.tell_step(id, QuestionStep::Decided { option, why }, now);
        self.outputs.push_back(Output::Act { question: id, option, why: Some(why) });
    }

    /// What became of an [`Output::Act`]; of one for a question that could not be asked nobody need know.
    pub fn handle_acted(&mut self, question: [u8; 16], outcome: CommandOutcome, now: u64) {
        let Some(at) = self.state.questions.iter().position(|q| q.id() == question && q.choice.is_some())
        else {
            return;
        };
        let command = self.state.questions[at].choice.and_then(|choice| choice.command);
        self.tell_step(question, QuestionStep::Acted(outcome.clone()), now);
        self.state.end_question(at);
        self.save();
        if let Some(command) = command {
            self.handle_outcome(command, outcome, now);
        }
    }

    /// At a start: questions of the one before. Those that this machine's clock can still time go on waiting; of the
    /// others nobody knows how long they have waited, and they get their safe default. An answer that was about to be
    /// acted on is never acted on again; a safe default is, since twice is the same as once.
    pub(super) fn resume_questions(&mut self, now: u64) {
        let machine = self.settings.machine;
        let open: Vec<_> =
            self.state.questions.iter().map(|q| (q.id(), q.choice, q.is_timed_by(machine, now))).collect();
        for (id, choice, timed) in open {
            match choice {
                Some(Choice { option, why: why @ Decided::Answered, .. }) => {
                    // It was saved, perhaps before it was told.
                    self.tell_step(id, QuestionStep::Decided { option, why }, now);
                    self.handle_acted(id, CommandOutcome::Unknown, now);
                }
                Some(_) => self.act_on_choice(id, now),
                // What was saved may not have been told.
                None => {
                    self.tell_question(id, now);
                    if !timed {
                        self.take_default(id, Decided::Restarted);
                    }
                }
            }
        }
    }

    fn tell_step(&mut self, question: [u8; 16], step: QuestionStep, now: u64) {
        self.make_event(&Event::QuestionMoved { question, step }, now);
    }
}
