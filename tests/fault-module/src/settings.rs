//! Where the real module is, and the files that tests and module share.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the module is opened with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub real: PathBuf,
    pub control: Option<PathBuf>,
    pub status: Option<PathBuf>,
    /// Variables that the real module reads when it is initialised.
    pub environment: Vec<(OsString, OsString)>,
}

impl Settings {
    /// From the file `MODULE.conf` beside the module, else from the environment.
    pub fn find() -> Result<Self, String> {
        if let Some(module) = own_path() {
            let file = beside(&module);
            if file.exists() {
                let text = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                return Self::parse(&text).map_err(|line| format!("{}: {line}", file.display()));
            }
        }
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        Ok(Self {
            real: path("HOLDFAST_FAULT_REAL").ok_or("neither MODULE.conf nor HOLDFAST_FAULT_REAL")?,
            control: path("HOLDFAST_FAULT_CONTROL"),
            status: path("HOLDFAST_FAULT_STATUS"),
            environment: Vec::new(),
        })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let mut settings = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let unknown = || String::from_utf8_lossy(line).into_owned();
            let (word, rest) = cut(line).ok_or_else(unknown)?;
            let path = || PathBuf::from(OsStr::from_bytes(rest));
            match word {
                b"real" => settings.real = path(),
                b"control" => settings.control = Some(path()),
                b"status" => settings.status = Some(path()),
                b"env" => {
                    let (name, value) = cut(rest).ok_or_else(unknown)?;
                    let owned = |bytes| OsStr::from_bytes(bytes).to_owned();
                    settings.environment.push((owned(name), owned(value)));
                }
                _ => return Err(unknown()),
            }
        }
        Ok(settings)
    }

    /// As [`Settings::find`] reads it.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut line = |words: &[&OsStr]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            text.extend(words.join(&b' '));
            text.push(b'\n');
        };
        line(&[OsStr::new("real"), self.real.as_os_str()]);
        for (word, path) in [("control", &self.control), ("status", &self.status)] {
            if let Some(path) = path {
                line(&[OsStr::new(word), path.as_os_str()]);
            }
        }
        for (name, value) in &self.environment {
            line(&[OsStr::new("env"), name, value]);
        }
        text
    }

    /// Sets the variables for as long as `work` takes. One module at a time does that, also among those of one process that differ.
    pub fn with_environment<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.environment.is_empty() {
            return work();
        }
        let program = std::fs::File::open("/proc/self/exe");
        // A lock of the file that all copies in this process know. It ends with the file.
        let locked = program.as_ref().map(std::fs::File::lock);
        if !matches!(locked, Ok(Ok(()))) {
            eprintln!(
                "fault module: can't lock /proc/self/exe; modules of one process may disturb each other"
            );
        }
        let before: Vec<_> =
            self.environment.iter().map(|(name, _)| (name, std::env::var_os(name))).collect();
        for (name, value) in &self.environment {
            set(name, Some(value));
        }
        let done = work();
        for (name, value) in before {
            set(name, value.as_deref());
        }
        done
    }
}

/// Sets or removes a variable of this process.
fn set(name: &OsStr, value: Option<&OsStr>) {
    let text = |text: &OsStr| CString::new(text.as_bytes());
    match (text(name), value.map(text).transpose()) {
        // SAFETY: two C strings. Who reads the environment in another thread meanwhile sees the old or the new value: the C
        // library never frees a variable's text.
        (Ok(name), Ok(Some(value))) => unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) },
        // SAFETY: as above.
        (Ok(name), Ok(None)) => unsafe { libc::unsetenv(name.as_ptr()) },
        _ => 0,
    };
}

/// `MODULE.conf` of a module.
pub fn beside(module: &Path) -> PathBuf {
    let mut name = module.as_os_str().to_owned();
    name.push(".conf");
    PathBuf::from(name)
}

/// Where this library was loaded from.
fn own_path() -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    let own: fn() -> Option<PathBuf> = own_path;
    // SAFETY: the address is one of this library's code; on success the structure is filled in, and its name lives as long as the library.
    unsafe {
        if libc::dladdr(own as *const libc::c_void, info.as_mut_ptr()) == 0 {
            return None;
        }
        let name = info.assume_init().dli_fname;
        let name = (!name.is_null()).then(|| CStr::from_ptr(name))?;
        Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
    }
}

fn cut(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..space], &line[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let settings = Settings {
            real: "/usr/lib/a module.so".into(),
            control: Some("/c".into()),
            status: Some("/s".into()),
            environment: vec![("SOFTHSM2_CONF".into(), "/a folder/softhsm2.conf".into())],
        };
        assert_eq!(Settings::parse(&settings.text()), Ok(settings));
        assert_eq!(Settings::parse(b"reel /x\n"), Err("reel /x".into()));
    }
}
