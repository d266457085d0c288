//! A token with its keys.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use holdfast_fault_module::control::Faults;
use tempfile::TempDir;

use crate::modules::{Kind, fault_module};

/// The user's PIN of a new token.
pub const PIN: &str = "1234-5678";
const SO_PIN: &str = "8765-4321";

/// A token in a temporary folder, which goes with it.
pub struct Token {
    // Before the folder, in which it has files.
    own: OnceLock<Pkcs11>,
    kind: Kind,
    label: String,
    pin: Mutex<String>,
    module: PathBuf,
    environment: Vec<(OsString, OsString)>,
    copies: AtomicU32,
    folder: Arc<TempDir>,
}

impl Token {
    /// A new token without keys, the user's PIN being [`PIN`]. None, and a line that says `skipped`, where the module isn't installed.
    pub fn make(kind: Kind, label: &str) -> Option<Token> {
        let module = match kind.module() {
            Ok(module) => module,
            Err(reason) => {
                println!("skipped: {reason}");
                return None;
            }
        };
        let folder = Arc::new(tempfile::tempdir().unwrap());
        write_private(&folder.path().join("pin"), PIN);
        let mut token = Token {
            own: OnceLock::new(),
            kind,
            label: label.to_owned(),
            pin: Mutex::new(PIN.to_owned()),
            module,
            environment: Vec::new(),
            copies: AtomicU32::new(0),
            folder,
        };
        match kind {
            Kind::SoftHsm2 => token.make_softhsm2(),
            Kind::Kryoptic => token.make_kryoptic(),
        }
        Some(token)
    }

    /// [`Token::make`] for SoftHSM2.
    pub fn softhsm2(label: &str) -> Option<Token> {
        Token::make(Kind::SoftHsm2, label)
    }

    /// [`Token::make`] for kryoptic.
    pub fn kryoptic(label: &str) -> Option<Token> {
        Token::make(Kind::Kryoptic, label)
    }

    /// Another token of the same SoftHSM2, in the same configuration: a program that loads the real module sees both.
    pub fn beside(&self, label: &str) -> Token {
        assert_eq!(self.kind, Kind::SoftHsm2, "only SoftHSM2 makes tokens as it goes");
        let token = Token {
            own: OnceLock::new(),
            kind: self.kind,
            label: label.to_owned(),
            pin: Mutex::new(PIN.to_owned()),
            module: self.module.clone(),
            environment: self.environment.clone(),
            copies: AtomicU32::new(0),
            folder: Arc::clone(&self.folder),
        };
        token.initialise_softhsm2();
        token
    }

    fn make_softhsm2(&mut self) {
        let tokens = self.path("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            tokens.display()
        );
        self.environment = self.configuration("SOFTHSM2_CONF", "softhsm2.conf", &text);
        self.initialise_softhsm2();
    }

    fn initialise_softhsm2(&self) {
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", &self.label, "--pin", PIN, "--so-pin", SO_PIN]);
        command.arg("--module").arg(&self.module).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        let done = command.output().expect("softhsm2-util comes with SoftHSM2");
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn make_kryoptic(&mut self) {
        let text =
            format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = {:?}\n", self.path("token.sql"));
        self.environment = self.configuration("KRYOPTIC_CONF", "kryoptic.conf", &text);
        let pkcs11 = self.pkcs11();
        let slot = pkcs11.get_slots_with_token().unwrap()[0];
        pkcs11.init_token(slot, &AuthPin::from(SO_PIN), &self.label).unwrap();
        let session = pkcs11.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&AuthPin::from(SO_PIN))).unwrap();
        session.init_pin(&AuthPin::from(PIN)).unwrap();
        session.logout().unwrap();
    }

    fn configuration(&self, variable: &str, name: &str, text: &str) -> Vec<(OsString, OsString)> {
        let file = self.path(name);
        std::fs::write(&file, text).unwrap();
        vec![(variable.into(), file.into())]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Whose it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is found by.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What it is found by, too.
    pub fn serial(&self) -> String {
        self.pkcs11().get_token_info(self.slot()).unwrap().serial_number().to_owned()
    }

    /// The user's.
    pub fn pin(&self) -> String {
        self.pin.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A file with the PIN that the token was made with. It stays as it is when the PIN changes.
    pub fn pin_file(&self) -> PathBuf {
        self.path("pin")
    }

    /// The token's own files, and room for more.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The real module. A process that loads it needs [`Token::environment`].
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// What the real module finds the token by.
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// A fault module with copies of everything. It needs no environment.
    pub fn faults(&self) -> Faults {
        let folder = self.path(&format!("{}-{}", self.label, self.copies.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&folder).unwrap();
        let real = folder.join("libreal.so");
        std::fs::copy(&self.module, &real).unwrap();
        Faults::install(&folder, &fault_module(), &real, &self.environment).unwrap()
    }

    /// A session of this process, with the user logged in. It counts nowhere but in the token itself.
    pub fn session(&self) -> Session {
        let session = self.pkcs11().open_rw_session(self.slot()).unwrap();
        match session.login(UserType::User, Some(&AuthPin::from(self.pin().as_str()))) {
            Ok(()) => session,
            Err(cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("can't log in to {}: {error}", self.label),
        }
    }

    /// An AES key of 256 bits with this label: sensitive, not extractable, for encryption and decryption.
    pub fn create_key(&self, label: &str) {
        self.create_key_with(label, &[]);
    }

    /// The same with other attributes.
    pub fn create_key_with(&self, label: &str, attributes: &[Attribute]) {
        let mut template = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(label.as_bytes().to_vec()),
        ];
        template
            .retain(|usual| attributes.iter().all(|other| other.attribute_type() != usual.attribute_type()));
        template.extend_from_slice(attributes);
        self.session().generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    }

    /// An AES-256 key of this value: so that several tokens have the same.
    pub fn import_key(&self, label: &str, value: [u8; 32], encrypt: bool, decrypt: bool) {
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(encrypt),
            Attribute::Decrypt(decrypt),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Value(value.to_vec()),
        ];
        self.session().create_object(&template).unwrap();
    }

    /// Destroys all keys with this label.
    pub fn destroy_key(&self, label: &str) {
        let session = self.session();
        for key in keys(&session, label) {
            session.destroy_object(key).unwrap();
        }
    }

    /// Gives the user another PIN.
    pub fn change_pin(&self, new: &str) {
        self.session().set_pin(&AuthPin::from(self.pin().as_str()), &AuthPin::from(new)).unwrap();
        *self.pin.lock().unwrap_or_else(PoisonError::into_inner) = new.to_owned();
    }

    /// A private copy of the module, initialised.
    fn pkcs11(&self) -> &Pkcs11 {
        self.own.get_or_init(|| {
            let pkcs11 = Pkcs11::new(self.faults().module()).unwrap();
            pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
            pkcs11
        })
    }

    fn slot(&self) -> Slot {
        let pkcs11 = self.pkcs11();
        let slots = pkcs11.get_slots_with_initialized_token().unwrap();
        let named = |slot: &Slot| pkcs11.get_token_info(*slot).unwrap().label() == self.label;
        slots.into_iter().find(named).unwrap_or_else(|| panic!("no token {}", self.label))
    }
}

/// PINs are for their owner only.
fn write_private(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The keys with this label.
pub fn keys(session: &Session, label: &str) -> Vec<ObjectHandle> {
    session.find_objects(&[Attribute::Label(label.as_bytes().to_vec())]).unwrap()
}
