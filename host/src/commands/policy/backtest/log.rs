//! The audit log, handed out in pieces of whole lines.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a piece, roughly: some thousand records.
const PIECE: usize = 1024 * 1024;
/// A line that is longer isn't a record of ours.
const LINE_LIMIT: usize = 16 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("can't read the audit log {path}", path = path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} has a line of more than {LINE_LIMIT} bytes; it isn't an audit log", path = path.display())]
    Line { path: PathBuf },
}

/// Files, one after the other.
pub struct Log {
    /// Each with where to begin.
    files: std::vec::IntoIter<(PathBuf, u64)>,
    open: Option<(PathBuf, Box<dyn Read + Send>)>,
    /// The beginning of a line whose end wasn't read yet.
    rest: Vec<u8>,
    size: Option<u64>,
}

impl Log {
    /// Finds where to begin: with `last`, so many lines before the end of the last file.
    pub fn open(paths: &[PathBuf], last: Option<u64>) -> Result<Log, LogError> {
        let mut files = Vec::new();
        let mut size = Some(0);
        let mut wanted = last;
        for path in paths.iter().rev() {
            if path.as_os_str() == "-" {
                size = None;
                files.push((path.clone(), 0));
                continue;
            }
            if wanted == Some(0) {
                break;
            }
            let wrong = |source| LogError::Unreadable { path: path.clone(), source };
            let mut file = File::open(path).map_err(wrong)?;
            let length = file.metadata().map_err(wrong)?.len();
            let start = match &mut wanted {
                None => 0,
                Some(wanted) => start_of_last(&mut file, length, wanted).map_err(wrong)?,
            };
            size = size.map(|size| size + length.saturating_sub(start));
            files.push((path.clone(), start));
        }
        files.reverse();
        Ok(Log { files: files.into_iter(), open: None, rest: Vec::new(), size })
    }

    /// Bytes to read in all, if that is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next whole lines; `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            if self.open.is_none() {
                let Some((path, start)) = self.files.next() else {
                    return Ok(Some(std::mem::take(&mut self.rest)).filter(|rest| !rest.is_empty()));
                };
                self.open = Some(open(&path, start)?);
            }
            let Some((path, file)) = &mut self.open else { continue };
            let mut piece = std::mem::take(&mut self.rest);
            let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece);
            let read = read.map_err(|source| LogError::Unreadable { path: path.clone(), source })?;
            if read == 0 {
                // A last line without a line feed doesn't run into the next file.
                if !piece.is_empty() {
                    piece.push(b'\n');
                }
                self.open = None;
            }
            match piece.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => {
                    self.rest = piece.split_off(end + 1);
                    return Ok(Some(piece));
                }
                None if piece.len() > LINE_LIMIT => {
                    let path = self.open.take().map(|(path, _)| path).unwrap_or_default();
                    return Err(LogError::Line { path });
                }
                None => self.rest = piece,
            }
        }
    }
}

fn open(path: &Path, start: u64) -> Result<(PathBuf, Box<dyn Read + Send>), LogError> {
    if path.as_os_str() == "-" {
        return Ok((path.to_owned(), Box::new(io::stdin())));
    }
    let opened = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    };
    let file = opened().map_err(|source| LogError::Unreadable { path: path.to_owned(), source })?;
    Ok((path.to_owned(), Box::new(file)))
}

/// Where the last `wanted` lines begin; takes those that the file has off `wanted`.
fn start_of_last(file: &mut File, length: u64, wanted: &mut u64) -> io::Result<u64> {
    let mut end = length;
    let mut block = vec![0; 64 * 1024];
    // The line feed at the very end ends the last line and begins none.
    let mut skip_last = true;
    while end > 0 {
        let size = (block.len() as u64).min(end);
        file.seek(SeekFrom::Start(end - size))?;
        let part = block.get_mut(..size as usize).unwrap_or_default();
        file.read_exact(part)?;
        for (at, byte) in part.iter().enumerate().rev() {
            let position = end - size + at as u64;
            if *byte == b'\n' && !(skip_last && position + 1 == length) {
                *wanted -= 1;
                if *wanted == 0 {
                    return Ok(position + 1);
                }
            }
        }
        skip_last &= end == length && size == 0;
        end -= size;
    }
    *wanted = wanted.saturating_sub(1);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(paths: &[PathBuf], last: Option<u64>) -> String {
        let mut log = Log::open(paths, last).unwrap();
        let mut all = Vec::new();
        while let Some(piece) = log.next_piece().unwrap() {
            assert_eq!(piece.last(), Some(&b'\n'));
            all.extend_from_slice(&piece);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn the_last_lines_are_counted_over_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["1", "2"].map(|name| folder.path().join(name));
        std::fs::write(&one, "a\nb\nc").unwrap();
        std::fs::write(&two, "d\ne\n").unwrap();
        let both = [one.clone(), two];
        assert_eq!(lines(&both, None), "a\nb\nc\nd\ne\n");
        for (last, expected) in
            [(1, "e\n"), (2, "d\ne\n"), (3, "c\nd\ne\n"), (4, "b\nc\nd\ne\n"), (9, "a\nb\nc\nd\ne\n")]
        {
            assert_eq!(lines(&both, Some(last)), expected, "last {last}");
        }
        assert_eq!(lines(&[one], Some(0)), "");
    }

    #[test]
    fn long_files_come_in_pieces_of_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let line = "x".repeat(999);
        let text: String = (0..5000).map(|_| format!("{line}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        assert!(lines(std::slice::from_ref(&path), None) == text);
        assert_eq!(lines(&[path], Some(700)).len(), 700_000);
    }
}
