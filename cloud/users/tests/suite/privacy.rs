//! A person can be forgotten, and the journal stays what it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use remuda_contracts::money::Currency;
use remuda_eventsourcing::testing::context;
use remuda_eventsourcing::{Aggregate, Encoded};
use remuda_model::OrganizationId;
use remuda_users::privacy::{
    FileKeyStore, KeyError, KeyStore, MemoryKeyStore, Opened, UserRef, Vault, VaultError, export,
    licence_field,
};
use remuda_users::state::{Licence, PersonalField, Preferences, Role, User, UserPhase};
use remuda_users::{UserCommand as C, Users};

fn ada() -> UserRef {
    UserRef::new(OrganizationId::default(), "ada").unwrap()
}

fn contract(store: &dyn KeyStore) {
    let bob = UserRef::new(OrganizationId::default(), "bob").unwrap();
    assert!(store.key(&ada()).unwrap().is_none());
    let key = store.key_or_new(&ada()).unwrap();
    assert!(store.key_or_new(&ada()).unwrap() == key && store.key(&ada()).unwrap() == Some(key.clone()));
    assert!(store.key_or_new(&bob).unwrap() != key, "each has their own");
    for _ in 0..2 {
        store.delete(&ada()).unwrap();
        assert!(matches!(store.key(&ada()), Err(KeyError::Erased)));
        assert!(matches!(store.key_or_new(&ada()), Err(KeyError::Erased)), "no second key");
    }
    assert!(store.key(&bob).unwrap().is_some());
    let never = UserRef::new(OrganizationId::default(), "never").unwrap();
    store.delete(&never).unwrap();
    assert!(matches!(store.key_or_new(&never), Err(KeyError::Erased)));
}

#[test]
fn both_stores_keep_the_contract() {
    contract(&MemoryKeyStore::default());
    let folder = tempfile::tempdir().unwrap();
    contract(&FileKeyStore::open(folder.path()).unwrap());
}

fn all_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(all_files(&entry)) } else { found.push(entry) }
    }
    found
}

#[test]
fn keys_survive_a_restart_and_a_damaged_one_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let key = FileKeyStore::open(folder.path()).unwrap().key_or_new(&ada()).unwrap();
    let again = FileKeyStore::open(folder.path()).unwrap();
    assert!(again.key(&ada()).unwrap() == Some(key));
    let file = all_files(folder.path()).pop().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read(&file).unwrap();
    for at in 0..text.len() {
        let mut damaged = text.clone();
        damaged[at] ^= 1;
        fs::write(&file, &damaged).unwrap();
        assert!(matches!(again.key(&ada()), Err(KeyError::Damaged(_))), "byte {at}");
    }
    fs::write(&file, &text).unwrap();
    again.delete(&ada()).unwrap();
    let left = all_files(folder.path());
    assert_eq!(left.len(), 1, "only the mark is left: {left:?}");
    assert_eq!(fs::read(&left[0]).unwrap(), b"");
    // A crash between the mark and the unlink, or a key that came back from a backup: the mark decides.
    fs::write(&file, &text).unwrap();
    assert!(matches!(again.key(&ada()), Err(KeyError::Erased)));
    Vault::new(Arc::new(again)).settle([&ada()]).unwrap();
    assert!(!file.exists());
}

/// Ada's stream, as the journal has it.
struct Journal {
    stored: Vec<Encoded>,
    state: User,
}

impl Journal {
    fn does(&mut self, command: C) {
        for event in Users::decide(&self.state, &command, &context()).unwrap() {
            self.stored.push(Users::encode(&event));
            Users::evolve(&mut self.state, &event);
        }
    }

    fn replayed(&self) -> User {
        let mut user = User::default();
        for stored in &self.stored {
            let event = Users::decode(stored.event_type, stored.schema_version, &stored.payload).unwrap();
            Users::evolve(&mut user, &event);
        }
        user
    }
}

#[test]
fn an_erased_person_is_gone_and_the_journal_still_replays() {
    let vault = Vault::new(Arc::new(MemoryKeyStore::default()));
    let secrets = ["Ada Lovelace", "ada@example.org", "AT-12345678"];
    let name = vault.seal(&ada(), "name", secrets[0]).unwrap();
    let email = vault.seal(&ada(), "email", secrets[1]).unwrap();
    let number = vault.seal(&ada(), &licence_field("at-1"), secrets[2]).unwrap();
    let mut journal = Journal { stored: vec![], state: User::default() };
    journal.does(C::Register {
        roles: [Role::Rider, Role::Driver].into(),
        profile: BTreeMap::from([(PersonalField::Name, name.clone()), (PersonalField::Email, email)]),
        preferences: Preferences::default(),
        currency: Currency::EUR,
    });
    journal.does(C::RecordLicence(Licence {
        id: "at-1".into(),
        number,
        classes: ["B".into()].into(),
        valid_until_ms: 9,
    }));
    let told = export(&ada(), &journal.state, &vault).unwrap().to_string();
    assert!(secrets.iter().all(|secret| told.contains(secret)), "{told}");
    for stored in &journal.stored {
        let holds = |secret: &str| stored.payload.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!secrets.iter().any(|secret| holds(secret)), "{} holds plain text", stored.event_type);
    }
    assert!(!secrets.iter().any(|secret| format!("{:?}", journal.state).contains(secret)));

    let before = journal.state.clone();
    journal.does(C::OrderErasure { running_trips: vec![], forfeit: false });
    vault.shred(&ada()).unwrap();
    // Between the two facts, and for a reader who still has an old state: erased, not an error.
    for state in [&before, &journal.state] {
        let told = export(&ada(), state, &vault).unwrap();
        assert_eq!(told["profile"]["name"], "erased");
        assert_eq!(told["licences"][0]["number"], "erased");
    }
    journal.does(C::ConfirmErased);
    assert_eq!(journal.replayed(), journal.state);
    assert_eq!(journal.state.phase, UserPhase::Erased);
    let told = export(&ada(), &journal.state, &vault).unwrap();
    assert_eq!(told["profile"]["name"], "erased");
    assert!(!secrets.iter().any(|secret| told.to_string().contains(secret)));
    assert_eq!(vault.open(&ada(), "name", &name).unwrap(), Opened::Erased);
    assert!(matches!(vault.seal(&ada(), "name", "Ada again"), Err(VaultError::Key(KeyError::Erased))));
}

#[test]
fn what_cannot_be_sealed_or_opened_says_why() {
    let vault = Vault::new(Arc::new(MemoryKeyStore::default()));
    for wrong in [String::new(), "x".repeat(513)] {
        assert!(matches!(vault.seal(&ada(), "name", &wrong), Err(VaultError::Length { .. })));
    }
    let bob = UserRef::new(OrganizationId::default(), "bob").unwrap();
    let sealed = vault.seal(&ada(), "name", "Ada").unwrap();
    let error = vault.open(&bob, "name", &sealed).unwrap_err();
    assert!(error.to_string().contains("key is missing"), "{error}");
    vault.seal(&bob, "name", "Bob").unwrap();
    assert!(matches!(vault.open(&bob, "name", &sealed), Err(VaultError::CannotOpen(_))));
}
