use super::*;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    for fsync in [Fsync::Never, Fsync::Interval, Fsync::Group] {
        let log = Arc::new(AuditLog::open(&path, fsync).unwrap());
        let before = lines(&path).len();
        let mut writes = Vec::new();
        for i in 0..100 {
            let log = log.clone();
            writes.push(tokio::spawn(async move { log.write(format!("{{\"n\":{i}}}\n")).await }));
        }
        for write in writes {
            assert_eq!(write.await.unwrap(), Ok(()));
        }
        assert_eq!(lines(&path).len(), before + 100);
    }
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_line_that_a_crash_cut_short_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    std::fs::write(&path, "{\"n\":1}\n{\"n\":").unwrap();
    AuditLog::open(&path, Fsync::Group).unwrap().write("{\"n\":2}\n".into()).await.unwrap();
    assert_eq!(lines(&path), ["{\"n\":1}", "{\"n\":", "{\"n\":2}"]);
}

#[tokio::test]
async fn a_full_disk_refuses() {
    let log = AuditLog::open(Path::new("/dev/full"), Fsync::Never).unwrap();
    assert!(log.is_writable());
    assert!(matches!(log.write("{}\n".into()).await, Err(AuditError::Sink { .. })));
    assert!(!log.is_writable());
}

#[tokio::test]
async fn a_mended_log_is_used_again_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = AuditLog::open(&path, Fsync::Never).unwrap();
    log.write("{}\n".into()).await.unwrap_err();
    std::fs::remove_file(&path).unwrap();
    let start = Instant::now();
    while !log.is_writable() {
        assert!(start.elapsed() < Duration::from_secs(20), "never tried again");
        tokio::task::yield_now().await;
    }
    assert!(lines(&path)[0].contains("audit-log-mended"));
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1"));
    let log = AuditLog::open(&path, Fsync::Never).unwrap();
    log.write("{\"n\":1}\n".into()).await.unwrap();
    std::fs::rename(&path, &old).unwrap();
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "never opened anew");
        log.write("{\"n\":2}\n".into()).await.unwrap();
        tokio::task::yield_now().await;
    }
    log.write("{\"n\":3}\n".into()).await.unwrap();
    assert_eq!(lines(&path).last().map(String::as_str), Some("{\"n\":3}"));
    assert_eq!(lines(&old)[0], "{\"n\":1}");
}

#[tokio::test]
async fn a_removed_file_is_made_again_and_a_removed_folder_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let path = inner.join("audit.jsonl");
    let log = AuditLog::open(&path, Fsync::Never).unwrap();
    log.write("{\"n\":1}\n".into()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    log.write("{\"n\":2}\n".into()).await.unwrap();
    assert_eq!(lines(&path), ["{\"n\":2}"]);
    std::fs::remove_dir_all(&inner).unwrap();
    assert!(matches!(log.write("{\"n\":3}\n".into()).await, Err(AuditError::Sink { .. })));
    std::fs::create_dir(&inner).unwrap();
    log.write("{\"n\":4}\n".into()).await.unwrap();
    let found = lines(&path);
    assert!(found[0].contains("audit-log-mended"), "{found:?}");
    assert_eq!(found[1..], ["{\"n\":4}"]);
}

/// A record is where the path leads when the writer hears of it, whatever happens to the file meanwhile.
#[tokio::test]
async fn whoever_rotates_how_ever_finds_every_record_at_the_path_or_under_its_new_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(AuditLog::open(&path, Fsync::Never).unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let rotating = thread::spawn({
        let (over, path, folder) = (over.clone(), path.clone(), folder.path().to_owned());
        move || {
            // As `mv` and `gzip` do: what is read once is removed, and what is written later is lost.
            let mut kept = String::new();
            while !over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
                let moved = folder.join("moved");
                if std::fs::rename(&path, &moved).is_ok() {
                    kept.push_str(&std::fs::read_to_string(&moved).unwrap());
                    std::fs::remove_file(&moved).unwrap();
                }
            }
            kept
        }
    });
    for n in 0..2000 {
        log.write(format!("{{\"n\":{n}}}\n")).await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let mut kept = rotating.join().unwrap();
    kept.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
    let missing: Vec<u32> = (0..2000).filter(|n| !kept.contains(&format!("{{\"n\":{n}}}\n"))).collect();
    assert!(missing.is_empty(), "acknowledged, and nowhere: {missing:?}");
}

#[tokio::test]
async fn a_file_that_was_cut_is_told_and_begins_with_a_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let log = AuditLog::open(&path, Fsync::Never).unwrap();
    for n in 0..10 {
        log.write(format!("{{\"n\":{n}}}\n")).await.unwrap();
    }
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    log.write("{\"n\":10}\n".into()).await.unwrap();
    let start = Instant::now();
    while log.truncated() == 0 || !lines(&path).iter().any(|line| line.contains("audit-log-truncated")) {
        assert!(start.elapsed() < Duration::from_secs(20), "never told");
        tokio::task::yield_now().await;
    }
    let found = lines(&path);
    assert_eq!(found[0], "{\"n\":10}");
    assert!(found.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{found:?}");
}

#[tokio::test]
async fn a_fifo_without_a_reader_and_a_socket_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (fifo, socket) = (folder.path().join("fifo"), folder.path().join("socket"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let complaint = |path: &Path| AuditLog::open(path, Fsync::Never).map(|_| ()).unwrap_err().to_string();
    assert!(complaint(&fifo).contains("it is a FIFO that nobody reads"), "{}", complaint(&fifo));
    assert!(complaint(&socket).contains("it is a socket"), "{}", complaint(&socket));
}

#[tokio::test]
async fn a_request_that_is_refused_meanwhile_has_no_record_of_success() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // A pipe that is full hangs like a disk.
    let mut reader =
        std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let log = AuditLog::open(&fifo, Fsync::Never).unwrap();
    let filler = format!("{{\"filler\":\"{}\"}}\n", "x".repeat(1024 * 1024));
    let given_up = tokio::time::timeout(Duration::from_millis(50), log.write(filler)).await;
    assert!(given_up.is_err(), "a pipe has no room for it");
    let refused = tokio::time::timeout(Duration::from_millis(50), log.write("{\"n\":1}\n".into())).await;
    assert!(refused.is_err());
    let start = Instant::now();
    while log.hangs().is_none() {
        assert!(start.elapsed() < Duration::from_secs(20), "never told");
        tokio::task::yield_now().await;
    }
    assert!(!log.is_writable());
    let written = thread::spawn(move || {
        use std::io::Read;
        let (mut text, mut some) = (Vec::new(), [0; 65536]);
        while !text.ends_with(b"{\"n\":2}\n") {
            match reader.read(&mut some) {
                Ok(n) => text.extend_from_slice(&some[..n]),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
        String::from_utf8(text).unwrap()
    });
    log.write("{\"n\":2}\n".into()).await.unwrap();
    let text = written.join().unwrap();
    assert!(!text.contains("\"n\":1"), "its request was refused before it was written");
    assert!(text.contains("answer-withheld"), "the filler's was refused while it was written");
    assert!(log.is_writable());
}
