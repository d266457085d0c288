//! What a control file says.

use std::time::Duration;

use cryptoki_sys::CK_RV;

use crate::codes::{code, number};
use crate::functions::Function;
use crate::status::HITS;

/// A control file, read.
#[derive(Debug, Default)]
pub struct Rules {
    /// In the file's order.
    pub rules: Vec<Rule>,
    /// What calls with a session return while the token isn't there.
    pub removed: Option<CK_RV>,
    /// How often the token was put in; a change closes all sessions.
    pub insertion: u64,
    /// How many sessions may be open, of all processes together.
    pub sessions: Option<u64>,
    /// A call during another one fails.
    pub exclusive: bool,
    /// CKA_CHECK_VALUE is an attribute that keys haven't.
    pub no_check_values: bool,
    /// What is wrong with IVs that the HSM makes.
    pub iv: Option<IvFault>,
    /// Which vendor's form of GCM.
    pub form: Option<Form>,
    /// Which variant of `CK_GCM_PARAMS`.
    pub gcm_params: Option<GcmParams>,
    /// Put on the flags of `CK_TOKEN_INFO`.
    pub token_flags: u64,
}

/// One line that concerns functions.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where its calls are counted.
    pub slot: usize,
    /// None is all.
    pub functions: Option<Vec<Function>>,
    pub action: Action,
    pub when: When,
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Delay(Duration),
    Fail(CK_RV),
    Garble,
    Hang,
    Crash(Crash),
}

/// Which calls a rule concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// All.
    #[default]
    Always,
    /// So many from now.
    Next(u64),
    /// Every so many-th.
    Every(u64),
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `abort`.
    Abort,
    /// A write to memory that may not be written.
    Segfault,
    /// `_exit(1)`, as some vendors' code does.
    Exit,
}

/// What is wrong with IVs that the HSM makes. It encrypts with the IV that it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvFault {
    /// All zero bytes.
    Zero,
    /// The last one again.
    Repeat,
    /// One of its own, though it was given one.
    Own,
}

/// GCM as vendors have it, on top of a token that does it by the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The IV (as long as `ulIvLen`) is the HSM's, and in `pIv` when `C_Encrypt` returns. `pIv` must hold zero bytes before.
    IvInParams,
    /// 12 bytes of IV before the ciphertext, for `C_Decrypt` too; `pIv` is null. Mechanism CKM_AES_GCM or 0x80001087.
    IvBefore,
    /// 16 bytes of IV after the tag; `C_Decrypt` takes it by `pIv`.
    IvAfter,
    /// The message functions of PKCS#11 3.0, tag apart, on a token that has only 2.40.
    Message,
}

/// Variants of `CK_GCM_PARAMS` that modules insist on. Others get CKR_MECHANISM_PARAM_INVALID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcmParams {
    /// The structure without `ulIvBits`, 40 bytes.
    Short,
    /// `ulIvBits` is 8 times `ulIvLen`.
    IvBits,
    /// `ulIvBits` is 0.
    NoIvBits,
}

impl Rules {
    /// Reads a control file; the error names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Self::default();
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.is_empty() || words[0].starts_with('#') {
                continue;
            }
            rules.line(index, &words).ok_or_else(|| format!("line {}: {line}", index + 1))?;
        }
        Ok(rules)
    }

    fn line(&mut self, index: usize, words: &[&str]) -> Option<()> {
        match words {
            ["token", "removed"] => self.removed = code("CKR_DEVICE_REMOVED"),
            ["token", "removed", value] => self.removed = Some(code(value)?),
            ["token", "present", count] => self.insertion = number(count)?,
            ["sessions", count] => self.sessions = Some(number(count)?),
            ["exclusive"] => self.exclusive = true,
            ["no-check-values"] => self.no_check_values = true,
            ["iv", "zero"] => self.iv = Some(IvFault::Zero),
            ["iv", "own"] => self.iv = Some(IvFault::Own),
            ["iv", "repeat"] => self.iv = Some(IvFault::Repeat),
            ["form", "iv-in-params"] => self.form = Some(Form::IvInParams),
            ["form", "iv-before"] => self.form = Some(Form::IvBefore),
            ["form", "iv-after"] => self.form = Some(Form::IvAfter),
            ["form", "message"] => self.form = Some(Form::Message),
            ["gcm-params", "short"] => self.gcm_params = Some(GcmParams::Short),
            ["gcm-params", "iv-bits"] => self.gcm_params = Some(GcmParams::IvBits),
            ["gcm-params", "no-iv-bits"] => self.gcm_params = Some(GcmParams::NoIvBits),
            ["token-flags", bits] => self.token_flags |= number(bits)?,
            _ => self.rules.push(Rule::parse(index, words)?),
        }
        Some(())
    }

    /// Whether the rule that counts in `slot` still makes calls hang.
    pub fn hangs(&self, slot: usize) -> bool {
        self.rules.iter().any(|rule| rule.slot == slot && rule.action == Action::Hang)
    }
}

impl Rule {
    fn parse(index: usize, words: &[&str]) -> Option<Self> {
        let (slot, words) = match words[0].strip_prefix('@') {
            Some(slot) => (slot.parse().ok().filter(|slot| *slot < HITS)?, &words[1..]),
            None => (index % HITS, words),
        };
        let (functions, words) = words.split_first()?;
        let functions = match *functions {
            "*" => None,
            names => Some(names.split(',').map(Function::named).collect::<Option<_>>()?),
        };
        let (action, when) = match words {
            ["delay", milliseconds, when @ ..] => {
                let milliseconds: f64 = milliseconds.parse().ok()?;
                (Action::Delay(Duration::try_from_secs_f64(milliseconds / 1000.0).ok()?), when)
            }
            ["fail", value, when @ ..] => (Action::Fail(code(value)?), when),
            ["garble", when @ ..] => (Action::Garble, when),
            ["hang", when @ ..] => (Action::Hang, when),
            ["crash", "abort", when @ ..] => (Action::Crash(Crash::Abort), when),
            ["crash", "segfault", when @ ..] => (Action::Crash(Crash::Segfault), when),
            ["crash", "exit", when @ ..] => (Action::Crash(Crash::Exit), when),
            _ => return None,
        };
        let when = match when {
            [] => When::Always,
            ["next", count] => When::Next(number(count)?),
            ["every", count] => When::Every(number(count).filter(|count| *count > 0)?),
            _ => return None,
        };
        Some(Self { slot, functions, action, when })
    }

    /// Whether it concerns the function at all.
    pub fn concerns(&self, function: Function) -> bool {
        self.functions.as_ref().is_none_or(|functions| functions.contains(&function))
    }
}

impl When {
    /// Whether the call is concerned that comes after `before` others.
    pub fn includes(self, before: u64) -> bool {
        match self {
            When::Always => true,
            When::Next(count) => before < count,
            When::Every(count) => (before + 1).is_multiple_of(count),
        }
    }

    /// How many of so many calls were concerned.
    pub fn included_of(self, calls: u64) -> u64 {
        match self {
            When::Always => calls,
            When::Next(count) => calls.min(count),
            When::Every(count) => calls / count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_understood() {
        let text = "\
# a comment
@7 C_Encrypt,C_Decrypt delay 2.5
* fail CKR_DEVICE_ERROR next 3
C_Login fail 0x80000001 every 2
C_OpenSession hang
C_Encrypt crash segfault next 1
C_Decrypt garble
token removed CKR_SESSION_HANDLE_INVALID
sessions 4
exclusive
iv repeat
form iv-before
gcm-params short
token-flags 0x40000
";
        let rules = Rules::parse(text).unwrap();
        let both = Some(vec![Function::C_Encrypt, Function::C_Decrypt]);
        let delay = Action::Delay(Duration::from_micros(2500));
        assert_eq!(rules.rules[0], Rule { slot: 7, functions: both, action: delay, when: When::Always });
        let fail = Rule { slot: 2, functions: None, action: Action::Fail(0x30), when: When::Next(3) };
        assert_eq!(rules.rules[1], fail);
        assert_eq!(rules.rules[2].when, When::Every(2));
        assert!(rules.hangs(4) && !rules.hangs(5));
        assert_eq!(rules.rules[5].action, Action::Garble);
        assert_eq!(rules.removed, Some(0xb3));
        assert_eq!((rules.sessions, rules.token_flags), (Some(4), 0x40000));
        assert!(rules.exclusive);
        assert_eq!(rules.iv, Some(IvFault::Repeat));
        assert_eq!((rules.form, rules.gcm_params), (Some(Form::IvBefore), Some(GcmParams::Short)));
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        for line in
            ["C_Encrpt hang", "C_Encrypt fail CKR_TYPO", "C_Encrypt delay", "C_Encrypt hang next", "token"]
        {
            assert_eq!(Rules::parse(line).unwrap_err(), format!("line 1: {line}"));
        }
    }

    #[test]
    fn rules_choose_calls() {
        let chosen = |when: When| (0..6).filter(|before| when.includes(*before)).collect::<Vec<u64>>();
        assert_eq!(chosen(When::Next(2)), [0, 1]);
        assert_eq!(chosen(When::Every(3)), [2, 5]);
        assert_eq!((When::Next(2).included_of(6), When::Every(3).included_of(6)), (2, 2));
    }
}
