//! What a running node does for commands on its own machine: a socket in the data folder, for its owner only.
//!
//! One JSON line asks, JSON lines answer: progress, and at the end what was done or why not. Who hangs up gives up.

use std::fs::{self, File, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use remuda_backup::{Progress, Taken};
use remuda_lake::Erasure;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::backup::{Backing, Backup, Wanted};
use crate::lake_control::{LakeDesk, LakeQuestion};

/// The socket's name in the data folder.
const SOCKET: &str = "control.sock";
/// Longest path that a socket's address takes, bytes.
const ADDRESS_BYTES_MAX: usize = 100;
/// Longest question, bytes.
const QUESTION_BYTES_MAX: u64 = 64 * 1024;
/// How long a question may take to come.
const QUESTION_WITHIN: Duration = Duration::from_secs(5);
/// Questions at a time; further ones wait.
const QUESTIONS_MAX: usize = 8;
/// Progress that may wait for whoever asked; more is passed over.
const WAITING_WORDS: usize = 16;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Question {
    /// Take a backup.
    Backup(Wanted),
    /// Forget something, or tell what was forgotten.
    Lake(LakeQuestion),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// How far it is.
    Progress(Progress),
    /// It is done.
    Taken(Taken),
    /// So far are the erasures.
    Erasures(Vec<Erasure>),
    /// It is not.
    Failed(String),
}

/// Works on a socket whose path may be longer than an address: through the folder, opened.
fn at_socket<T>(data: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = data.join(SOCKET);
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return work(&path);
    }
    let folder = File::open(data)?;
    work(&PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(SOCKET))
}

/// The socket of a running node.
pub(crate) struct Control {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
    scheduled: Option<JoinHandle<()>>,
}

impl Control {
    /// Listens. The node's journal is open, so nobody else serves this folder.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(data: &Path, backing: Backing, backup: &Backup, desk: LakeDesk) -> io::Result<Self> {
        let path = data.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = at_socket(data, |path| UnixListener::bind(path))?;
        // Before it is a socket that others cannot write to either, and so not connect to.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let owner = fs::metadata(&path)?.uid();
        let stop = Arc::new(AtomicBool::new(false));
        let scheduled = backing.schedule(backup, Arc::clone(&stop));
        let task = tokio::spawn(listen(listener, owner, (backing, desk), Arc::clone(&stop)));
        Ok(Self { path, stop, task, scheduled })
    }

    /// Gives up what is under way; returns when nothing of it holds the journal any more.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let _ = fs::remove_file(&self.path);
        // It panicked, if anything: then it has ended too.
        let _ = self.task.await;
        if let Some(scheduled) = self.scheduled {
            let _ = scheduled.await;
        }
    }
}

async fn listen(
    listener: UnixListener,
    owner: u32,
    (backing, desk): (Backing, LakeDesk),
    stop: Arc<AtomicBool>,
) {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let mut answering = JoinSet::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while !stop.load(Ordering::Acquire) {
        tokio::select! {
            accepted = listener.accept(), if answering.len() < QUESTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    // The file's mode says so too; root may.
                    let uid = stream.peer_cred().map(|peer| peer.uid());
                    if uid.is_ok_and(|uid| uid == owner || uid == 0) {
                        answering.spawn(answer(stream, backing.clone(), desk.clone(), Arc::clone(&stop)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket accepts nothing; it is tried again");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            },
            Some(_) = answering.join_next() => {}
            _ = ticks.tick() => {}
        }
    }
    while answering.join_next().await.is_some() {}
}

async fn answer(stream: UnixStream, backing: Backing, desk: LakeDesk, stop: Arc<AtomicBool>) {
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read.take(QUESTION_BYTES_MAX));
    let mut line = String::new();
    let asked = tokio::time::timeout(QUESTION_WITHIN, read.read_line(&mut line)).await;
    if !matches!(asked, Ok(Ok(1..))) {
        return;
    }
    let wanted = match serde_json::from_str(&line) {
        Ok(Question::Backup(wanted)) => wanted,
        Ok(Question::Lake(question)) => {
            let said = match desk.answer(question, &stop).await {
                Ok(erasures) => Answer::Erasures(erasures),
                Err(sentence) => Answer::Failed(sentence),
            };
            return say(&mut write, &said).await;
        }
        Err(error) => {
            let said = Answer::Failed(format!(
                "the node does not understand what is asked ({error}); use its own release"
            ));
            return say(&mut write, &said).await;
        }
    };
    let (words, mut said) = mpsc::channel(WAITING_WORDS);
    let gone = Arc::new(AtomicBool::new(false));
    let tell = move |progress: &Progress| {
        // Who reads too slowly misses some.
        let _ = words.try_send(progress.clone());
    };
    let mut work = backing.back_up(wanted, Arc::clone(&gone), Box::new(tell));
    let mut rest = [0; 1];
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(progress) = said.recv() => say(&mut write, &Answer::Progress(progress)).await,
            // Nothing more is asked on a connection: this is its end.
            _ = read.read(&mut rest), if !gone.load(Ordering::Acquire) => gone.store(true, Ordering::Release),
            () = stopped(&stop), if !gone.load(Ordering::Acquire) => gone.store(true, Ordering::Release),
        }
    };
    let last = match done {
        Ok(Ok(taken)) => Answer::Taken(taken),
        Ok(Err(sentence)) => Answer::Failed(sentence),
        Err(_) => Answer::Failed("the backup panicked; see the node's log".into()),
    };
    say(&mut write, &last).await;
}

pub(crate) async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn say(write: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    // Who has hung up does not hear it.
    let _ = write.write_all(&line).await;
}

/// Asks the node that serves a data folder about its lake; `None` when no node does.
///
/// # Errors
/// One sentence: why it was not done, or that the node went away.
pub(crate) fn ask_lake(data: &Path, question: LakeQuestion) -> Result<Option<Vec<Erasure>>, String> {
    let Some(mut stream) = connect(data)? else { return Ok(None) };
    let gone = |e: io::Error| format!("the node went away ({e}); see remuda lake erasures for what it did");
    let line = serde_json::to_string(&Question::Lake(question)).map_err(|e| e.to_string())?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(gone)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(gone)?;
    match serde_json::from_str(&answer).map_err(|e| format!("the node answers oddly: {e}"))? {
        Answer::Erasures(erasures) => Ok(Some(erasures)),
        Answer::Failed(sentence) => Err(sentence),
        Answer::Progress(_) | Answer::Taken(_) => Err("the node answers something else".into()),
    }
}

/// The node's socket; `None` when no node serves the folder.
fn connect(data: &Path) -> Result<Option<BlockingStream>, String> {
    match at_socket(data, |path| BlockingStream::connect(path)) {
        Ok(stream) => Ok(Some(stream)),
        // No node, or one that was killed.
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&e.kind()) => Ok(None),
        Err(e) => Err(format!("the node's control socket in {} cannot be used: {e}", data.display())),
    }
}

/// Asks the node that serves a data folder; `None` when no node does.
///
/// # Errors
/// One sentence: why it was not done, or that the node went away.
pub(crate) fn ask(
    data: &Path,
    question: &Question,
    tell: &mut dyn FnMut(&Progress),
) -> Result<Option<Taken>, String> {
    let Some(mut stream) = connect(data)? else { return Ok(None) };
    let gone =
        |e: io::Error| format!("the node went away while it took the backup ({e}); what is copied is kept");
    let line = serde_json::to_string(question).map_err(|e| e.to_string())?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(gone)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line.map_err(gone)?)
            .map_err(|e| format!("the node answers oddly: {e}"))?
        {
            Answer::Progress(progress) => tell(&progress),
            Answer::Taken(taken) => return Ok(Some(taken)),
            Answer::Erasures(_) => break,
            Answer::Failed(sentence) => return Err(sentence),
        }
    }
    Err("the node went away while it took the backup; what is copied is kept, and the next backup goes on"
        .into())
}
