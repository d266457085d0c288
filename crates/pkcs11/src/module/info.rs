//! What tokens and keys say about themselves.

use super::{Module, ObjectHandle, SessionHandle, SlotId};
use crate::rv::CallError;
use crate::wire::Writer;
use cryptoki_sys::*;

/// A token's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenInfo {
    /// Its label.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Its firmware's version, `major.minor`.
    pub firmware: String,
    /// The flags of `CK_TOKEN_INFO`.
    pub flags: u64,
    /// How many sessions it allows; none if it doesn't say or has no limit.
    pub session_limit: Option<usize>,
}

impl TokenInfo {
    /// What tells the token from any other: manufacturer, model, serial number and label, each after its length.
    pub(crate) fn identity(&self) -> Vec<u8> {
        let mut identity = Writer::default();
        for text in [&self.manufacturer, &self.model, &self.serial, &self.label] {
            identity.bytes(text.as_bytes());
        }
        identity.0
    }

    /// Whether one more wrong PIN locks the token.
    pub fn is_final_try(&self) -> bool {
        self.flags & CKF_USER_PIN_FINAL_TRY != 0
    }

    /// Whether the user's PIN is locked.
    pub fn is_locked(&self) -> bool {
        self.flags & CKF_USER_PIN_LOCKED != 0
    }

    /// Whether wrong PINs were tried since the last login.
    pub fn is_pin_count_low(&self) -> bool {
        self.flags & CKF_USER_PIN_COUNT_LOW != 0
    }

    /// Whether no wrong PIN was tried since the last login, as far as the token's flags tell.
    pub fn has_all_tries(&self) -> bool {
        !self.is_pin_count_low() && !self.is_final_try() && !self.is_locked()
    }

    /// Whether the user has to log in.
    pub fn needs_login(&self) -> bool {
        self.flags & CKF_LOGIN_REQUIRED != 0
    }

    /// Whether the token was initialised.
    pub fn is_initialized(&self) -> bool {
        self.flags & CKF_TOKEN_INITIALIZED != 0
    }
}

/// What a secret key says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyAttributes {
    /// CKA_LABEL.
    pub label: String,
    /// CKA_ENCRYPT.
    pub encrypt: bool,
    /// CKA_DECRYPT.
    pub decrypt: bool,
    /// CKA_SENSITIVE.
    pub sensitive: bool,
    /// CKA_EXTRACTABLE.
    pub extractable: bool,
    /// CKA_VALUE_LEN, 32 for AES-256.
    pub value_len: u64,
    /// CKA_START_DATE as `YYYYMMDD`; 0 for none.
    pub start_date: u32,
    /// CKA_END_DATE as `YYYYMMDD`; 0 for none.
    pub end_date: u32,
    /// Whether the token has a date that it doesn't tell, or in a form that is none: it is treated as none.
    pub has_odd_dates: bool,
    /// CKA_CHECK_VALUE: the first bytes of what the key makes of zeros; empty where the token doesn't tell.
    pub check_value: Vec<u8>,
}

impl KeyAttributes {
    /// Whether two descriptions can be of the same key: their check values are equal, as far as both are known.
    pub fn may_be(&self, other: &KeyAttributes) -> bool {
        let (one, other) = (&self.check_value, &other.check_value);
        one.is_empty() || other.is_empty() || one == other
    }
}

/// A key to make.
#[derive(Clone, Debug)]
pub struct KeyTemplate<'a> {
    /// CKA_LABEL.
    pub label: &'a str,
    /// CKA_ENCRYPT.
    pub encrypt: bool,
    /// CKA_DECRYPT.
    pub decrypt: bool,
}

/// What a token does AES-GCM with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MechanismInfo {
    /// The smallest key in bytes, as far as the module means bytes.
    pub min_key: u64,
    /// The largest.
    pub max_key: u64,
    /// Whether it encrypts.
    pub encrypt: bool,
    /// Whether it decrypts.
    pub decrypt: bool,
    /// Whether it does so in hardware, if the module tells.
    pub hardware: bool,
}

/// A padded text field.
fn text(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let text = text.trim_end_matches([' ', '\0']);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The value of an attribute of type CK_BBOOL, CK_ULONG or bytes; none where the module hasn't it.
/// Aligned as what modules write there.
#[repr(C, align(8))]
struct Field<const N: usize> {
    bytes: [u8; N],
}

impl<const N: usize> Field<N> {
    fn new() -> Field<N> {
        Field { bytes: [0; N] }
    }

    fn attribute(&mut self, kind: CK_ATTRIBUTE_TYPE) -> CK_ATTRIBUTE {
        CK_ATTRIBUTE { type_: kind, pValue: self.bytes.as_mut_ptr().cast(), ulValueLen: N as CK_ULONG }
    }
}

impl Field<{ size_of::<CK_ULONG>() }> {
    fn of(value: CK_ULONG) -> Self {
        Field { bytes: value.to_ne_bytes() }
    }
}

/// How much of a field's buffer was filled.
fn filled(attribute: &CK_ATTRIBUTE, room: usize) -> usize {
    match attribute.ulValueLen {
        CK_UNAVAILABLE_INFORMATION => 0,
        len => (len as usize).min(room),
    }
}

/// 0 for none, which some modules write as zeros or spaces.
fn date(bytes: &[u8]) -> Option<u32> {
    if bytes.iter().all(|byte| matches!(byte, 0 | b'0' | b' ')) {
        return Some(0);
    }
    let is_date = bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(bytes).ok().filter(|_| is_date)?.parse().ok()
}

/// Whether a code says that it isn't the attribute's fault: the object, the session or the token is gone.
fn loses_object(code: CK_RV) -> bool {
    let reaction = crate::rv::reaction(code);
    code == CKR_OBJECT_HANDLE_INVALID || reaction.repair != crate::rv::Repair::None
}

fn attribute(kind: CK_ATTRIBUTE_TYPE, value: &mut [u8]) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE { type_: kind, pValue: value.as_mut_ptr().cast(), ulValueLen: value.len() as CK_ULONG }
}

impl Module {
    /// The description of a slot's token.
    pub fn token_info(&self, slot: SlotId) -> Result<TokenInfo, CallError> {
        let info = self.raw_token_info(slot)?;
        let limit = info.ulMaxSessionCount;
        Ok(TokenInfo {
            label: text(&info.label),
            manufacturer: text(&info.manufacturerID),
            model: text(&info.model),
            serial: text(&info.serialNumber),
            firmware: format!("{}.{}", info.firmwareVersion.major, info.firmwareVersion.minor),
            flags: info.flags,
            session_limit: match limit {
                CK_EFFECTIVELY_INFINITE | CK_UNAVAILABLE_INFORMATION => None,
                limit => usize::try_from(limit).ok(),
            },
        })
    }

    /// What the token says about CKM_AES_GCM, or a vendor's own number for the same.
    pub fn aes_gcm_info(&self, slot: SlotId, mechanism: u64) -> Result<MechanismInfo, CallError> {
        let info = self.raw_mechanism_info(slot, mechanism)?;
        Ok(MechanismInfo {
            min_key: info.ulMinKeySize,
            max_key: info.ulMaxKeySize,
            encrypt: info.flags & CKF_ENCRYPT != 0,
            decrypt: info.flags & CKF_DECRYPT != 0,
            hardware: info.flags & CKF_HW != 0,
        })
    }

    /// The AES keys on a token; with a label, only those that have it.
    pub fn find_aes_keys(
        &self,
        session: SessionHandle,
        label: Option<&str>,
    ) -> Result<Vec<ObjectHandle>, CallError> {
        let (mut class, mut kind) = (Field::of(CKO_SECRET_KEY), Field::of(CKK_AES));
        let mut template = vec![class.attribute(CKA_CLASS), kind.attribute(CKA_KEY_TYPE)];
        let mut label = label.map(|label| label.as_bytes().to_vec());
        if let Some(label) = &mut label {
            template.push(attribute(CKA_LABEL, label));
        }
        self.find(session, &mut template)
    }

    /// What a key says about itself.
    pub fn key_attributes(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
    ) -> Result<KeyAttributes, CallError> {
        let mut label = Field::<256>::new();
        let (mut encrypt, mut decrypt) = (Field::<1>::new(), Field::<1>::new());
        let (mut sensitive, mut extractable) = (Field::<1>::new(), Field::<1>::new());
        let mut value_len = Field::<{ size_of::<CK_ULONG>() }>::new();
        let mut template = [
            label.attribute(CKA_LABEL),
            encrypt.attribute(CKA_ENCRYPT),
            decrypt.attribute(CKA_DECRYPT),
            sensitive.attribute(CKA_SENSITIVE),
            extractable.attribute(CKA_EXTRACTABLE),
            value_len.attribute(CKA_VALUE_LEN),
        ];
        match self.attributes(session, key, &mut template) {
            // The others are filled all the same (PKCS#11, C_GetAttributeValue).
            Err(error)
                if matches!(
                    error.code,
                    CKR_ATTRIBUTE_TYPE_INVALID | CKR_ATTRIBUTE_SENSITIVE | CKR_BUFFER_TOO_SMALL
                ) => {}
            result => result?,
        }
        let label_len = filled(&template[0], 256);
        let (start, end) = (self.date(session, key, CKA_START_DATE)?, self.date(session, key, CKA_END_DATE)?);
        let check_value = self.check_value(session, key);
        let set = |field: &Field<1>| field.bytes[0] != 0;
        Ok(KeyAttributes {
            label: text(&label.bytes[..label_len]),
            encrypt: set(&encrypt),
            decrypt: set(&decrypt),
            sensitive: set(&sensitive),
            extractable: set(&extractable),
            value_len: CK_ULONG::from_ne_bytes(value_len.bytes),
            start_date: start.unwrap_or(0),
            end_date: end.unwrap_or(0),
            has_odd_dates: start.is_none() || end.is_none(),
            check_value,
        })
    }

    /// What tells a key from another with its label; empty where the token doesn't tell.
    fn check_value(&self, session: SessionHandle, key: ObjectHandle) -> Vec<u8> {
        let mut field = Field::<16>::new();
        let mut template = [field.attribute(CKA_CHECK_VALUE)];
        match self.attributes(session, key, &mut template) {
            Ok(()) => {
                let len = filled(&template[0], 16);
                field.bytes.get(..len).unwrap_or_default().to_vec()
            }
            Err(_) => Vec::new(),
        }
    }

    /// A date; 0 where the key has none, none where the module can't read it.
    fn date(
        &self,
        session: SessionHandle,
        key: ObjectHandle,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Option<u32>, CallError> {
        let mut field = Field::<8>::new();
        let mut template = [field.attribute(kind)];
        match self.attributes(session, key, &mut template) {
            Ok(()) => {
                let len = filled(&template[0], 8);
                Ok(date(&field.bytes[..len]))
            }
            Err(error) if error.code == CKR_ATTRIBUTE_TYPE_INVALID => Ok(Some(0)),
            // SoftHSM2 2.6 says so for every date of a private object.
            Err(error) if loses_object(error.code) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Makes an AES-256 key on the token: private, sensitive, never extractable, of no other use than the given.
    pub fn create_aes_key(
        &self,
        session: SessionHandle,
        key: &KeyTemplate<'_>,
    ) -> Result<ObjectHandle, CallError> {
        let mut label = key.label.as_bytes().to_vec();
        let mut id = label.clone();
        let mut len = Field::of(32);
        let (mut yes, mut no) = ([CK_TRUE], [CK_FALSE]);
        let mut yes = || attribute(0, &mut yes);
        let mut no = || attribute(0, &mut no);
        let flag = |kind, value: CK_ATTRIBUTE| CK_ATTRIBUTE { type_: kind, ..value };
        let mut template = [
            attribute(CKA_LABEL, &mut label),
            attribute(CKA_ID, &mut id),
            len.attribute(CKA_VALUE_LEN),
            flag(CKA_TOKEN, yes()),
            flag(CKA_PRIVATE, yes()),
            flag(CKA_SENSITIVE, yes()),
            flag(CKA_EXTRACTABLE, no()),
            flag(CKA_WRAP, no()),
            flag(CKA_UNWRAP, no()),
            flag(CKA_SIGN, no()),
            flag(CKA_VERIFY, no()),
            flag(CKA_DERIVE, no()),
            flag(CKA_ENCRYPT, if key.encrypt { yes() } else { no() }),
            flag(CKA_DECRYPT, if key.decrypt { yes() } else { no() }),
        ];
        self.generate_key(session, CKM_AES_KEY_GEN, &mut template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lose_their_padding_and_control_characters() {
        assert_eq!(text(b"SoftHSM v2\x07      "), "SoftHSM v2?");
        assert_eq!(text(b"nul\0\0"), "nul");
    }

    #[test]
    fn dates_are_numbers_that_compare() {
        assert_eq!(date(b"20270131"), Some(20_270_131));
        for none in [b"".as_slice(), &[0; 8], b"00000000", b"        "] {
            assert_eq!(date(none), Some(0));
        }
        for odd in [b"2027013x".as_slice(), b"+2027013", b"202701"] {
            assert_eq!(date(odd), None);
        }
    }
}
