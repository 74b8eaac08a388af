//! Encryption, in the age format (age-encryption.org/v1), so that `age -d` opens an object too.

use std::io::{Read, Write};
use std::path::Path;
use std::str::FromStr;

use age::secrecy::{ExposeSecret, SecretString};
use age::{Decryptor, EncryptError, Encryptor, x25519};

use crate::error::BackupError;
use crate::hashing::sha256;
use crate::limits;

/// To whom a backup is encrypted.
#[derive(Clone)]
pub struct Recipients {
    recipients: Vec<x25519::Recipient>,
    names: Vec<String>,
}

impl Recipients {
    /// Reads them (`age1...`); the order does not matter.
    ///
    /// # Errors
    /// When there is none, or one is no recipient.
    pub fn parse(texts: &[String]) -> Result<Self, BackupError> {
        let mut names: Vec<String> = texts.iter().map(|text| text.trim().to_owned()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(BackupError::NoRecipients);
        }
        let parse = |name: &String| {
            x25519::Recipient::from_str(name).map_err(|_| BackupError::Recipient(name.clone()))
        };
        Ok(Self { recipients: names.iter().map(parse).collect::<Result<_, _>>()?, names })
    }

    /// As they are written.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names this set: an object that others were to read is not one that these can read.
    pub(crate) fn tag(&self) -> String {
        sha256(&[self.names.join("\n").as_bytes()])[..16].to_owned()
    }

    /// Encrypts what is written to it; `finish` writes the end.
    pub(crate) fn seal<W: Write>(&self, out: W) -> std::io::Result<age::stream::StreamWriter<W>> {
        let each = self.recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(each)
            .map_err(|e: EncryptError| std::io::Error::other(e.to_string()))?;
        encryptor.wrap_output(out)
    }
}

/// Keys that open backups. Not shown by `Debug`.
#[derive(Clone)]
pub struct Identities(Vec<x25519::Identity>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// Reads a key file: lines `AGE-SECRET-KEY-1...` and comments, as it is or encrypted with a passphrase.
    ///
    /// # Errors
    /// When it cannot be read or holds no key; when it is encrypted, and the passphrase is missing or another.
    pub fn read(file: &Path, passphrase: Option<&str>) -> Result<Self, BackupError> {
        let bytes = std::fs::read(file).map_err(BackupError::file(file, "read"))?;
        let wrong = |what: String| BackupError::Identity { path: file.to_path_buf(), what };
        let text = if bytes.starts_with(b"age-encryption.org/") {
            let passphrase = passphrase.ok_or_else(|| {
                wrong("it is encrypted, and there is no passphrase; give --passphrase-file".into())
            })?;
            open_with_passphrase(&bytes, passphrase).map_err(wrong)?
        } else {
            String::from_utf8(bytes).map_err(|_| wrong("it is no text".into()))?
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<_> = lines
            .map(|line| x25519::Identity::from_str(line).map_err(|e| wrong(e.to_owned())))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(wrong("it is empty".into())) } else { Ok(Self(keys)) }
    }

    /// Decrypts.
    pub(crate) fn open<R: Read>(
        &self,
        object: &str,
        recipients: &[String],
        input: R,
    ) -> Result<age::stream::StreamReader<R>, BackupError> {
        let sealed = |what: String| BackupError::Sealed {
            object: object.to_owned(),
            what,
            recipients: recipients.join(", "),
        };
        let decryptor = Decryptor::new(input).map_err(|e| sealed(e.to_string()))?;
        let keys = self.0.iter().map(|key| key as &dyn age::Identity);
        decryptor.decrypt(keys).map_err(|e| sealed(e.to_string()))
    }
}

fn open_with_passphrase(bytes: &[u8], passphrase: &str) -> Result<String, String> {
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
    identity.set_max_work_factor(limits::SCRYPT_LOG_N_MAX);
    let decryptor = Decryptor::new(bytes).map_err(|e| e.to_string())?;
    let key = &identity as &dyn age::Identity;
    let mut reader =
        decryptor.decrypt(std::iter::once(key)).map_err(|_| "the passphrase is another".to_owned())?;
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(text)
}

/// A new key file, and the recipient that goes with it.
pub struct NewKey {
    /// What is to be written to the key file, for its owner only.
    pub file: Vec<u8>,
    /// What goes into `backup.recipients`.
    pub recipient: String,
}

/// Makes a key; encrypted when there is a passphrase.
///
/// # Errors
/// When it cannot be encrypted.
pub fn new_key(passphrase: Option<&str>) -> Result<NewKey, BackupError> {
    let identity = x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = format!("# public key: {recipient}\n{}\n", secret.expose_secret());
    let file = match passphrase {
        None => text.into_bytes(),
        Some(passphrase) => {
            let failed = BackupError::file(Path::new("the key"), "encrypted");
            let mut sealed = Vec::new();
            let encryptor = Encryptor::with_user_passphrase(SecretString::from(passphrase.to_owned()));
            let written = encryptor.wrap_output(&mut sealed).and_then(|mut out| {
                out.write_all(text.as_bytes())?;
                out.finish().map(|_| ())
            });
            written.map_err(failed)?;
            sealed
        }
    };
    Ok(NewKey { file, recipient })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(to: &Recipients) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = to.seal(&mut bytes).expect("begun");
        out.write_all(b"the keys of the fleet").expect("written");
        out.finish().expect("ended");
        bytes
    }

    #[test]
    fn a_key_opens_what_was_sealed_to_it_and_another_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mine, other) = (new_key(None).expect("made"), new_key(None).expect("made"));
        let file = folder.path().join("key");
        std::fs::write(&file, &mine.file).expect("written");
        let key = Identities::read(&file, None).expect("read");
        assert!(!format!("{key:?}").contains("SECRET"));
        let to = |key: &NewKey| Recipients::parse(std::slice::from_ref(&key.recipient)).expect("a recipient");
        let mut text = String::new();
        let both = Recipients::parse(&[other.recipient.clone(), mine.recipient.clone()]).expect("two");
        for recipients in [&to(&mine), &both] {
            text.clear();
            let bytes = sealed(recipients);
            key.open("x", recipients.names(), &bytes[..])
                .expect("opened")
                .read_to_string(&mut text)
                .expect("read");
            assert_eq!(text, "the keys of the fleet");
        }
        assert_ne!(both.tag(), to(&mine).tag());
        let bytes = sealed(&to(&other));
        let error = key.open("x", to(&other).names(), &bytes[..]).err().expect("another's").to_string();
        assert!(error.contains(&other.recipient), "{error}");
        assert!(matches!(Recipients::parse(&[]), Err(BackupError::NoRecipients)));
        assert!(matches!(Recipients::parse(&["age1x".into()]), Err(BackupError::Recipient(_))));
    }

    #[test]
    fn a_key_file_may_have_a_passphrase() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let text = "# a comment\nAGE-SECRET-KEY-1";
        std::fs::write(&file, text).expect("written");
        assert!(matches!(Identities::read(&file, None), Err(BackupError::Identity { .. })));
        // As `age -p` makes it, but cheap to derive.
        let made = new_key(None).expect("made");
        let mut recipient = age::scrypt::Recipient::new(SecretString::from("open sesame".to_owned()));
        recipient.set_work_factor(2);
        let encryptor =
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).expect("one");
        let mut bytes = Vec::new();
        let mut out = encryptor.wrap_output(&mut bytes).expect("begun");
        out.write_all(&made.file).expect("written");
        out.finish().expect("ended");
        std::fs::write(&file, &bytes).expect("written");
        assert_eq!(
            format!("{:?}", Identities::read(&file, Some("open sesame")).expect("read")),
            "Identities(1)"
        );
        for (passphrase, words) in [(None, "--passphrase-file"), (Some("shut"), "passphrase is another")] {
            let sentence = Identities::read(&file, passphrase).expect_err("closed").to_string();
            assert!(sentence.contains(words), "{sentence}");
        }
    }
}
