//! The messages between the host and a worker process.

use crate::descriptions::{read_token_info, write_token_info};
use crate::fault::Fault;
use crate::module::TokenInfo;
use crate::quirks::{GcmParameters, IvSource, Quirks, TagPlace};
use crate::request::{Answer, Iv, Operation, Work};
use crate::rv::CallError;
use crate::settings::TokenSelector;
use crate::token::TokenSettings;
use crate::wire::{Malformed, Reader, Writer};
use holdfast_secret::Secret;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The first message to a worker process.
pub(crate) struct Start {
    pub(crate) settings: TokenSettings,
    pub(crate) sessions: u32,
    pub(crate) pin: Secret,
    /// Whether the token accepted this PIN before.
    pub(crate) proven: bool,
}

/// Which call of the host: its place, and the place's generation.
pub(crate) type Id = (u32, u64);

const IV_SOURCES: [IvSource; 5] =
    [IvSource::Host, IvSource::Message, IvSource::Parameters, IvSource::Prepended, IvSource::Appended];
const PARAMETERS: [GcmParameters; 3] =
    [GcmParameters::Standard, GcmParameters::IvBitsZero, GcmParameters::WithoutIvBits];
const TAG_PLACES: [TagPlace; 2] = [TagPlace::Appended, TagPlace::Apart];
const OPERATIONS: [Operation; 4] =
    [Operation::Encrypt, Operation::EncryptVerified, Operation::Decrypt, Operation::List];
/// Names of functions in errors; others become the last.
const FUNCTIONS: [&str; 23] = [
    "C_Initialize",
    "C_Finalize",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_OpenSession",
    "C_CloseSession",
    "C_GetSessionInfo",
    "C_Login",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_GetAttributeValue",
    "C_GenerateKey",
    "C_EncryptInit",
    "C_Encrypt",
    "C_DecryptInit",
    "C_Decrypt",
    "C_MessageEncryptInit",
    "C_EncryptMessage",
    "C_DecryptMessage",
    "a function",
];

/// The place of a value in a list; all lists here are short.
fn index<T: PartialEq>(list: &[T], value: &T) -> u8 {
    list.iter().position(|item| item == value).unwrap_or(list.len() - 1) as u8
}

fn item<T: Copy>(list: &[T], index: u8) -> Result<T, Malformed> {
    list.get(usize::from(index)).copied().ok_or(Malformed)
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

impl Start {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let TokenSettings { module, selector, quirks, test_key, create_test_key, pin_folder } =
            &self.settings;
        let (is_serial, name) = match selector {
            TokenSelector::Label(name) => (0, name),
            TokenSelector::Serial(name) => (1, name),
        };
        // So large that it doesn't grow, which would leave the PIN in freed memory.
        let mut out = Writer(Vec::with_capacity(64 * 1024));
        out.bytes(module.as_os_str().as_bytes()).u8(is_serial).bytes(name.as_bytes());
        out.u64(quirks.mechanism)
            .u8(index(&IV_SOURCES, &quirks.iv))
            .u8(index(&PARAMETERS, &quirks.parameters));
        out.u8(index(&TAG_PLACES, &quirks.tag)).u8(quirks.thread_safe.into());
        out.u8(test_key.is_some().into()).bytes(test_key.as_deref().unwrap_or_default().as_bytes());
        out.u8((*create_test_key).into()).bytes(pin_folder.as_os_str().as_bytes());
        out.u32(self.sessions).bytes(self.pin.expose()).u8(self.proven.into());
        Zeroizing::new(out.0)
    }

    pub(crate) fn decode(message: &[u8]) -> Result<Start, Malformed> {
        let mut reader = Reader(message);
        let module = path(reader.bytes()?);
        let is_serial = reader.u8()? != 0;
        let name = reader.text()?;
        let selector = if is_serial { TokenSelector::Serial(name) } else { TokenSelector::Label(name) };
        let quirks = Quirks {
            mechanism: reader.u64()?,
            iv: item(&IV_SOURCES, reader.u8()?)?,
            parameters: item(&PARAMETERS, reader.u8()?)?,
            tag: item(&TAG_PLACES, reader.u8()?)?,
            thread_safe: reader.u8()? != 0,
        };
        let has_test_key = reader.u8()? != 0;
        let test_key = Some(reader.text()?).filter(|_| has_test_key);
        let create_test_key = reader.u8()? != 0;
        let pin_folder = path(reader.bytes()?);
        let sessions = reader.u32()?;
        let pin = Secret::copy_from(reader.bytes()?);
        let proven = reader.u8()? != 0;
        reader.end()?;
        let settings = TokenSettings { module, selector, quirks, test_key, create_test_key, pin_folder };
        Ok(Start { settings, sessions, pin, proven })
    }
}

pub(crate) fn encode_started(result: &Result<TokenInfo, Fault>) -> Vec<u8> {
    let mut out = Writer::default();
    match result {
        Ok(info) => write_token_info(out.u8(1), info),
        Err(fault) => write_fault(out.u8(0), fault),
    }
    out.0
}

pub(crate) fn decode_started(message: &[u8]) -> Result<Result<TokenInfo, Fault>, Malformed> {
    let mut reader = Reader(message);
    Ok(match reader.u8()? {
        0 => Err(read_fault(&mut reader)?),
        _ => Ok(read_token_info(&mut reader)?),
    })
}

/// Writes an operation over `out`, and whether few are under way.
pub(crate) fn encode_work(out: &mut Vec<u8>, (place, generation): Id, few: bool, work: &Work) {
    let mut writer = Writer(std::mem::take(out));
    writer.0.clear();
    // All room at once: growing would leave the text in freed memory.
    writer.0.reserve(96 + work.label.len() + work.aad.len() + work.data.len());
    writer.u32(place).u64(generation).u8(few.into()).u8(index(&OPERATIONS, &work.operation));
    writer.bytes(work.iv.bytes()).bytes(work.label.as_bytes()).bytes(&work.check_value);
    writer.bytes(&work.aad).bytes(&work.data);
    *out = writer.0;
}

pub(crate) fn decode_work(message: &[u8]) -> Result<(Id, bool, Work), Malformed> {
    let mut reader = Reader(message);
    let id = (reader.u32()?, reader.u64()?);
    let few = reader.u8()? != 0;
    let operation = item(&OPERATIONS, reader.u8()?)?;
    let iv = Iv::from_slice(reader.bytes()?).ok_or(Malformed)?;
    let label = std::str::from_utf8(reader.bytes()?).map_err(|_| Malformed)?;
    let check_value = Arc::from(reader.bytes()?);
    let aad = Arc::from(reader.bytes()?);
    let data = Arc::new(Zeroizing::new(reader.bytes()?.to_vec()));
    reader.end()?;
    Ok((id, few, Work { operation, label: Arc::from(label), check_value, iv, aad, data }))
}

/// Writes the end of an operation over `out`, and how many microseconds it took.
pub(crate) fn encode_end(
    out: &mut Vec<u8>,
    (place, generation): Id,
    took: u32,
    result: &Result<Answer, Fault>,
) {
    let mut writer = Writer(std::mem::take(out));
    writer.0.clear();
    writer.u32(place).u64(generation).u32(took);
    match result {
        Ok(answer) => {
            // As in `encode_work`.
            writer.0.reserve(96 + answer.data.len());
            let verified = answer.verified.as_ref().map_or(&[][..], |digest| digest);
            writer.u8(1).bytes(answer.iv.bytes()).bytes(&answer.data).bytes(verified);
            match &answer.repaired {
                Some(error) => writer.u8(1).u8(index(&FUNCTIONS, &error.function)).u64(error.code),
                None => writer.u8(0),
            };
        }
        Err(fault) => write_fault(writer.u8(0), fault),
    }
    *out = writer.0;
}

pub(crate) fn decode_end(message: &[u8]) -> Result<(Id, u32, Result<Answer, Fault>), Malformed> {
    let mut reader = Reader(message);
    let id = (reader.u32()?, reader.u64()?);
    let took = reader.u32()?;
    let result = match reader.u8()? {
        0 => Err(read_fault(&mut reader)?),
        _ => {
            let iv = Iv::from_slice(reader.bytes()?).ok_or(Malformed)?;
            let data = Zeroizing::new(reader.bytes()?.to_vec());
            let verified = match reader.bytes()? {
                [] => None,
                digest => Some(digest.try_into().map_err(|_| Malformed)?),
            };
            let repaired = match reader.u8()? {
                0 => None,
                _ => Some(CallError { function: item(&FUNCTIONS, reader.u8()?)?, code: reader.u64()? }),
            };
            Ok(Answer { iv, data, verified, repaired })
        }
    };
    reader.end()?;
    Ok((id, took, result))
}

fn write_fault(out: &mut Writer, fault: &Fault) {
    let (kind, text) = match fault {
        Fault::Call(_) => (0, ""),
        Fault::Altered(_) => (1, ""),
        Fault::Form(text) => (2, text.as_str()),
        Fault::NoKey => (3, ""),
        Fault::AmbiguousLabel => (4, ""),
        Fault::Lost(text) => (5, text.as_str()),
        Fault::Token(text) => (6, text.as_str()),
        Fault::Locked => (7, ""),
        Fault::Unverified => (8, ""),
        Fault::OtherKey => (9, ""),
        // These are found in the host only.
        Fault::ZeroIv
        | Fault::RepeatedIv
        | Fault::OtherIv
        | Fault::Busy
        | Fault::Queued
        | Fault::Timeout
        | Fault::TooLong => (5, "no answer"),
    };
    out.u8(kind).bytes(text.as_bytes());
    if let Fault::Call(error) | Fault::Altered(error) = fault {
        out.u8(index(&FUNCTIONS, &error.function)).u64(error.code);
    }
}

fn read_fault(reader: &mut Reader<'_>) -> Result<Fault, Malformed> {
    let kind = reader.u8()?;
    let text = reader.text()?;
    let mut call = || Ok(CallError { function: item(&FUNCTIONS, reader.u8()?)?, code: reader.u64()? });
    Ok(match kind {
        0 => Fault::Call(call()?),
        1 => Fault::Altered(call()?),
        2 => Fault::Form(text),
        3 => Fault::NoKey,
        4 => Fault::AmbiguousLabel,
        5 => Fault::Lost(text),
        6 => Fault::Token(text),
        7 => Fault::Locked,
        8 => Fault::Unverified,
        9 => Fault::OtherKey,
        _ => return Err(Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_crosses_unchanged() {
        let settings = TokenSettings {
            module: "/m.so".into(),
            selector: TokenSelector::Serial("17".into()),
            quirks: Quirks {
                iv: IvSource::Appended,
                tag: TagPlace::Apart,
                thread_safe: false,
                ..Quirks::default()
            },
            test_key: Some("t".into()),
            create_test_key: true,
            pin_folder: "/l".into(),
        };
        let pin = Secret::copy_from(b"1234");
        let start = Start { settings: settings.clone(), sessions: 3, pin, proven: true };
        let read = Start::decode(&start.encode()).unwrap();
        assert_eq!((read.settings, read.sessions, read.proven), (settings, 3, true));
        assert_eq!(read.pin.expose(), b"1234");
    }

    #[test]
    fn work_and_its_end_cross_unchanged_and_cut_messages_are_refused() {
        let work = Work {
            operation: Operation::Decrypt,
            label: "k#2".into(),
            check_value: b"abc".as_slice().into(),
            iv: Iv::from_slice(&[9; 16]).unwrap(),
            aad: b"aad".as_slice().into(),
            data: Arc::new(Zeroizing::new(vec![1, 2, 3])),
        };
        let mut message = Vec::new();
        encode_work(&mut message, (7, 8), true, &work);
        let (id, few, read) = decode_work(&message).unwrap();
        assert_eq!((id, few), ((7, 8), true));
        assert_eq!((read.operation, &*read.label, read.iv), (work.operation, "k#2", work.iv));
        assert_eq!(read.check_value[..], *b"abc");
        assert_eq!((&*read.aad, read.data.as_slice()), (&*work.aad, work.data.as_slice()));
        for len in 0..message.len() {
            assert!(decode_work(&message[..len]).is_err());
        }
        let ends = [
            Fault::Call(CallError { function: "C_Encrypt", code: 0x30 }),
            Fault::Altered(CallError { function: "C_Decrypt", code: 5 }),
            Fault::Form("odd".into()),
            Fault::NoKey,
            Fault::AmbiguousLabel,
            Fault::Lost("gone".into()),
            Fault::Token("absent".into()),
            Fault::Locked,
            Fault::Unverified,
            Fault::OtherKey,
        ];
        for fault in ends {
            encode_end(&mut message, (1, 2), 3, &Err(fault.clone()));
            let (id, took, result) = decode_end(&message).unwrap();
            assert_eq!((id, took, result.err()), ((1, 2), 3, Some(fault)));
        }
        let failed = CallError { function: "C_Encrypt", code: 0x30 };
        for (verified, repaired) in [(None, None), (Some([6; 32]), Some(failed))] {
            let data = Zeroizing::new(vec![5; 40]);
            let answer = Answer { iv: work.iv, data, verified, repaired };
            encode_end(&mut message, (1, 2), 3, &Ok(answer));
            let read = decode_end(&message).unwrap().2.unwrap();
            assert_eq!((read.data.as_slice(), read.verified), ([5; 40].as_slice(), verified));
            assert_eq!(read.repaired, repaired);
        }
    }
}
