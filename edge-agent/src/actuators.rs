//! What obeys commands: the vehicle's own program, or a simulator's.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use remuda_edge_agent_core::{RefuseAll, Verifier};
use remuda_model::VehicleId;
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Command, CommandKind, Decided, signing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Does what a command asks. Called once for each command that is obeyed.
pub trait Actuators: fmt::Debug + Send + Sync {
    /// Does it; may take a while. The future is dropped when the agent ends, and the command counts as unknown.
    fn perform(&self, kind: CommandKind) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>>;

    /// Takes an option of a question that this vehicle asked. Called once for each question; for a safe default perhaps
    /// once more, when the agent was started anew before it had ended.
    fn act(&self, choice: ChoiceMade) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>>;
}

/// What is to be done about a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChoiceMade {
    /// The question's id.
    pub question: [u8; 16],
    /// Number of the option, from 0.
    pub option: u8,
    /// Why this one. None: the question could not be asked, and this is its safe default.
    pub why: Option<Decided>,
}

/// Nothing is connected: every command is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoActuators;

impl Actuators for NoActuators {
    fn perform(&self, _: CommandKind) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        Box::pin(std::future::ready(CommandOutcome::Refused("kind".to_owned())))
    }

    fn act(&self, _: ChoiceMade) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        Box::pin(std::future::ready(CommandOutcome::Refused("kind".to_owned())))
    }
}

/// Whose commands an agent obeys, and with what.
#[derive(Debug, Clone)]
pub struct Controls {
    /// Knows the cloud's command key.
    pub verifier: Arc<dyn Verifier>,
    /// Does what is asked.
    pub actuators: Arc<dyn Actuators>,
}

impl Default for Controls {
    fn default() -> Self {
        Self { verifier: Arc::new(RefuseAll), actuators: Arc::new(NoActuators) }
    }
}

/// The public half of the cloud's command key, as enrolment gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandKey([u8; signing::PUBLIC_KEY_BYTES]);

impl CommandKey {
    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits =
            text.len() == 2 * signing::PUBLIC_KEY_BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok());
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().filter(|_| digits)?;
        bytes.try_into().ok().map(Self)
    }
}

impl Verifier for CommandKey {
    fn verify(&self, vehicle: &VehicleId, command: &Command) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        key.verify(&signing::signed_bytes(vehicle, command), &command.signature).is_ok()
    }
}

/// A program that is started for each command.
///
/// It gets the command's word as its only argument (`lock`, `unlock`, `honk`, `speed-limit`, `reboot`) and the value,
/// where there is one, on standard input. For a question's option the word is `act`, and the value the question's id,
/// the option's number and `answered`, `timed-out`, `restarted` or `not-asked`, with a blank between. Exit code 0 is
/// *done*; 3 is *refused*, since it does not know the word; anything else *failed*, with the first line of its standard
/// error as the reason.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    within: Duration,
}

/// How long a program may take.
const PROGRAM_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of a reason that are told.
const REASON_BYTES_MAX: usize = 200;
/// Exit code of a program that does not know a command.
const UNKNOWN_KIND: i32 = 3;

impl Program {
    /// This file.
    pub fn new(path: PathBuf) -> Self {
        Self { path, within: PROGRAM_WITHIN }
    }
}

fn words_of(kind: &CommandKind) -> (&'static str, String) {
    match kind {
        CommandKind::Lock(true) => ("lock", String::new()),
        CommandKind::Lock(false) => ("unlock", String::new()),
        CommandKind::Honk => ("honk", String::new()),
        CommandKind::SpeedLimit(kmh) => ("speed-limit", kmh.to_string()),
        CommandKind::Reboot => ("reboot", String::new()),
        // The core takes answers itself, and asks for `act`.
        CommandKind::Answer { .. } => ("answer", String::new()),
    }
}

fn words_of_choice(choice: &ChoiceMade) -> String {
    let id: String = choice.question.iter().map(|byte| format!("{byte:02x}")).collect();
    let why = match choice.why {
        Some(Decided::Answered) => "answered",
        Some(Decided::TimedOut) => "timed-out",
        Some(Decided::Restarted) => "restarted",
        None => "not-asked",
    };
    format!("{id} {} {why}", choice.option)
}

impl Actuators for Program {
    fn perform(&self, kind: CommandKind) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        let (word, value) = words_of(&kind);
        self.run(word, value)
    }

    fn act(&self, choice: ChoiceMade) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        self.run("act", words_of_choice(&choice))
    }
}

impl Program {
    fn run(&self, word: &'static str, value: String) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        let Self { path, within } = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(within, start(&path, word, &value)).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => {
                    CommandOutcome::Failed(format!("{} cannot be run: {error}", path.display()))
                }
                Err(_) => CommandOutcome::Failed(format!("took longer than {} s", within.as_secs())),
            }
        })
    }
}

/// Dropped, the program is killed.
async fn start(path: &PathBuf, word: &str, value: &str) -> std::io::Result<CommandOutcome> {
    let mut child = tokio::process::Command::new(path)
        .arg(word)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read its input has its reasons.
        let _ = input.write_all(value.as_bytes()).await;
    }
    let mut said = Vec::new();
    if let Some(output) = child.stderr.take() {
        output.take(REASON_BYTES_MAX as u64).read_to_end(&mut said).await?;
    }
    let status = child.wait().await?;
    Ok(match status.code() {
        Some(0) => CommandOutcome::Done,
        Some(UNKNOWN_KIND) => CommandOutcome::Refused("kind".to_owned()),
        _ => {
            let said = String::from_utf8_lossy(&said);
            let reason = said.lines().next().unwrap_or_default().trim();
            CommandOutcome::Failed(if reason.is_empty() { status.to_string() } else { reason.to_owned() })
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use remuda_model::{Epoch, Incarnation};

    use super::*;

    #[test]
    fn only_the_clouds_key_for_this_vehicle_opens() {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let hex: String = pair.public_key().as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let key = CommandKey::from_hex(&hex).expect("a key");
        let van = VehicleId::new("VAN1").expect("an id");
        let mut command = Command {
            id: [1; 16],
            epoch: Epoch(1),
            expires_ms: 9,
            incarnation: Incarnation(2),
            kind: CommandKind::Lock(false),
            signature: vec![],
        };
        assert!(!key.verify(&van, &command));
        command.signature = pair.sign(&signing::signed_bytes(&van, &command)).as_ref().to_vec();
        assert!(key.verify(&van, &command));
        assert!(!key.verify(&VehicleId::new("VAN2").expect("an id"), &command), "it is another's");
        command.expires_ms += 1;
        assert!(!key.verify(&van, &command), "somebody made it live longer");
        for wrong in ["", "zz", &hex[2..], &hex.replace(&hex[..1], "é")] {
            assert_eq!(CommandKey::from_hex(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_program_does_refuses_fails_or_takes_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("actuator");
        let script = "#!/bin/sh\ncase $1 in\n  lock) exit 0;;\n  speed-limit|act) echo \"got $(cat)\" >&2; exit 1;;\n  \
                      honk) exec sleep 600;;\n  *) exit 3;;\nesac\n";
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("permitted");
        let program = Program { path: path.clone(), within: Duration::from_secs(30) };
        assert_eq!(program.perform(CommandKind::Lock(true)).await, CommandOutcome::Done);
        let failed = program.perform(CommandKind::SpeedLimit(80)).await;
        assert_eq!(failed, CommandOutcome::Failed("got 80".to_owned()));
        assert_eq!(program.perform(CommandKind::Reboot).await, CommandOutcome::Refused("kind".to_owned()));
        let choice = ChoiceMade { question: [0xa5; 16], option: 1, why: Some(Decided::TimedOut) };
        let acted = CommandOutcome::Failed(format!("got {} 1 timed-out", "a5".repeat(16)));
        assert_eq!(program.act(choice).await, acted);
        let hasty = Program { path, within: Duration::from_millis(50) };
        assert!(matches!(hasty.perform(CommandKind::Honk).await, CommandOutcome::Failed(_)));
        let missing = Program::new(folder.path().join("nowhere"));
        assert!(matches!(missing.perform(CommandKind::Honk).await, CommandOutcome::Failed(_)));
    }
}
