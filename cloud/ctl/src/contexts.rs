//! The contexts file: which servers there are, and how to come in.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::CtlError;
use crate::target::{Secret, check_address};

/// Nobody has so many; a larger file is another one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// All of them.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Contexts {
    /// Which is used when nobody says which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    #[serde(rename = "contexts")]
    pub all: BTreeMap<String, Context>,
}

/// A server, and how to come in.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its address.
    pub server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// PEM file with the authorities that vouch for the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// PEM file with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Where the token came from, when somebody logged in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// How somebody logged in, and how the next token is had.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub issuer: String,
    pub client_id: String,
    pub scopes: Vec<String>,
    /// Whether the ID token is shown to the server, and not the access token.
    pub id_token: bool,
    /// PEM file with the authorities that vouch for the issuer, beside the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<Secret>,
    /// When the token ends, Unix seconds; none: nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<i64>,
}

impl Context {
    /// How it comes in, for people.
    pub fn by(&self) -> &'static str {
        match (&self.login, &self.token, &self.cert) {
            (Some(_), _, _) => "login",
            (None, Some(_), _) => "token",
            (None, None, Some(_)) => "certificate",
            (None, None, None) => "nothing",
        }
    }
}

/// Whether a text can name a context.
pub(crate) fn check_name(name: &str) -> Result<(), CtlError> {
    let permitted = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    if (1..=64).contains(&name.len()) && name.bytes().all(permitted) {
        return Ok(());
    }
    Err(CtlError::Usage("a context's name has 1 to 64 characters out of a-z, A-Z, 0-9, -, _, . and @"))
}

/// Where the contexts are kept.
pub(crate) struct ContextsFile(Option<PathBuf>);

impl ContextsFile {
    /// `REMUDA_CONTEXTS`, or `remuda/contexts.toml` below `XDG_CONFIG_HOME` or `~/.config`.
    pub fn of(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let below = |folder: PathBuf| folder.join("remuda").join("contexts.toml");
        let absolute = |text: String| Some(PathBuf::from(text)).filter(|path| path.is_absolute());
        let said = env("REMUDA_CONTEXTS").map(PathBuf::from);
        Self(
            said.or_else(|| env("XDG_CONFIG_HOME").and_then(absolute).map(below))
                .or_else(|| env("HOME").and_then(absolute).map(|home| below(home.join(".config")))),
        )
    }

    fn fault(&self, problem: impl Into<String>) -> CtlError {
        let file =
            self.0.as_deref().map_or_else(|| "the contexts file".into(), |path| path.display().to_string());
        CtlError::Contexts { file, problem: problem.into() }
    }

    fn path(&self) -> Result<&Path, CtlError> {
        self.0.as_deref().ok_or_else(|| self.fault("there is no place for it; name one with REMUDA_CONTEXTS"))
    }

    /// What it holds; nothing when it is not there.
    pub fn load(&self) -> Result<Contexts, CtlError> {
        let Some(path) = &self.0 else { return Ok(Contexts::default()) };
        let meta = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(error) => return Err(self.fault(format!("it cannot be read: {error}"))),
            Ok(meta) => meta,
        };
        if meta.permissions().mode() & 0o077 != 0 {
            return Err(self.fault(format!(
                "others may read or change it, and it holds tokens; run: chmod 600 {}",
                path.display()
            )));
        }
        if meta.len() > FILE_BYTES_MAX {
            return Err(self.fault("it is larger than 1 MiB; is it another file? REMUDA_CONTEXTS names it"));
        }
        let text = fs::read_to_string(path).map_err(|e| self.fault(format!("it cannot be read: {e}")))?;
        // The parser's own words quote the line, which may hold a token: only the place and the problem are told.
        let contexts: Contexts = toml::from_str(&text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let problem = error.message().lines().next().unwrap_or_default().to_owned();
            self.fault(format!("line {line}: {problem}; correct it, or delete the file and log in again"))
        })?;
        self.check(&contexts)?;
        Ok(contexts)
    }

    fn check(&self, contexts: &Contexts) -> Result<(), CtlError> {
        for (name, context) in &contexts.all {
            let of = |error: CtlError| self.fault(format!("context `{name}`: {error}"));
            check_name(name).map_err(of)?;
            check_address(&context.server).map_err(of)?;
            if context.cert.is_some() != context.key.is_some() {
                return Err(of(CtlError::Usage("cert and key go together")));
            }
        }
        Ok(())
    }

    /// Changes it: one process at a time, and what is there afterwards is the old file or the new one.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> Result<T, CtlError>,
    ) -> Result<T, CtlError> {
        let _one_at_a_time = self.lock()?;
        self.change_locked(change)
    }

    /// Keeps other processes from changing it.
    pub fn lock(&self) -> Result<File, CtlError> {
        let path = self.path()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unwritable = |e: io::Error| self.fault(format!("it cannot be written: {e}"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unwritable)?;
        let lock = beside(path, "lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(lock).map_err(unwritable)?;
        lock.lock().map_err(unwritable)?;
        Ok(lock)
    }

    /// Changes it, by whoever holds the lock.
    pub fn change_locked<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> Result<T, CtlError>,
    ) -> Result<T, CtlError> {
        let path = self.path()?;
        let mut contexts = self.load()?;
        // Whoever wrote it by hand may have named one that is not there: that must not keep anybody from choosing another.
        let all = &contexts.all;
        contexts.current.take_if(|current| !all.contains_key(current));
        let answer = change(&mut contexts)?;
        self.check(&contexts)?;
        let text = toml::to_string(&contexts).map_err(|e| self.fault(e.to_string()))?;
        let write = || {
            let draft = beside(path, "new");
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, path)
        };
        write().map_err(|e| self.fault(format!("it cannot be written: {e}")))?;
        Ok(answer)
    }
}

/// `.contexts.toml.{ending}` in the same folder.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &Path) -> ContextsFile {
        let path = folder.join("remuda/contexts.toml").display().to_string();
        ContextsFile::of(&move |name| (name == "REMUDA_CONTEXTS").then(|| path.clone()))
    }

    #[test]
    fn its_place_follows_the_environment() {
        let of = |pairs: &[(&str, &str)]| {
            let env = |name: &str| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            ContextsFile::of(&env).0
        };
        let (home, xdg, said) = (("HOME", "/h"), ("XDG_CONFIG_HOME", "/x"), ("REMUDA_CONTEXTS", "c.toml"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[home]), Some("/h/.config/remuda/contexts.toml".into()));
        assert_eq!(of(&[home, xdg]), Some("/x/remuda/contexts.toml".into()));
        assert_eq!(of(&[home, xdg, said]), Some("c.toml".into()));
        assert_eq!(of(&[home, ("XDG_CONFIG_HOME", "not/absolute")]), of(&[home]));
    }

    #[test]
    fn what_is_written_is_read_and_nobody_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        assert!(file.load().unwrap().all.is_empty());
        let context =
            Context { server: "https://h:1".into(), token: Some(Secret::new("t")), ..Context::default() };
        file.change(|contexts| {
            contexts.current = Some("prod".into());
            contexts.all.insert("prod".into(), context);
            Ok(())
        })
        .unwrap();
        let contexts = file.load().unwrap();
        assert_eq!(contexts.all["prod"].server, "https://h:1");
        let path = file.0.clone().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = file.load().err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        file.change(|_| Ok(())).unwrap();
        let path = file.0.clone().unwrap();
        for (text, says) in [
            ("[contexts.a]\ntoken = \"hidden-secret\"\n", "server"),
            ("[contexts.a]\nserver = \"https://h\"\ntoken = \"hidden-secret\n", "line 3"),
            ("[contexts.a]\nserver = \"https://h\"\ntoken = [\"hidden-secret\"]\n", "line 3"),
            ("[contexts.a]\nserver = \"https://h\"\ntokens = \"hidden-secret\"\n", "tokens"),
            ("[contexts.a]\nserver = \"ftp://h\"\n", "context `a`: `ftp://h` is not a server address"),
            ("[contexts.a]\nserver = \"https://h\"\ncert = \"c\"\n", "cert and key"),
            ("[contexts.\"a b\"]\nserver = \"https://h\"\n", "name"),
        ] {
            fs::write(&path, text).unwrap();
            let error = file.load().err().unwrap().to_string();
            assert!(error.contains(says) && error.contains("contexts.toml"), "{text}: {error}");
            assert!(!error.contains("hidden-secret"), "{error}");
        }
    }

    #[test]
    fn a_change_that_is_refused_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path());
        let refused = file.change(|contexts| {
            contexts.current = Some("nobody".into());
            contexts.all.insert("a b".into(), Context { server: "https://h".into(), ..Context::default() });
            Ok(())
        });
        assert!(refused.is_err() && file.load().unwrap().current.is_none());
    }
}
