use super::*;
use std::os::unix::fs::MetadataExt as _;

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
            writes.push(tokio::spawn(async move { log.write(&format!("{{\"n\":{i}}}\n")).await }));
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
    AuditLog::open(&path, Fsync::Group).unwrap().write("{\"n\":2}\n").await.unwrap();
    assert_eq!(lines(&path), ["{\"n\":1}", "{\"n\":", "{\"n\":2}"]);
}

#[tokio::test]
async fn a_full_disk_refuses() {
    let log = AuditLog::open(Path::new("/dev/full"), Fsync::Never).unwrap();
    assert!(log.is_writable());
    assert!(matches!(log.write("{}\n").await, Err(AuditError::Sink { .. })));
    assert!(!log.is_writable());
}

#[tokio::test]
async fn a_mended_log_is_used_again_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = AuditLog::open(&path, Fsync::Never).unwrap();
    log.write("{}\n").await.unwrap_err();
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
    log.write("{\"n\":1}\n").await.unwrap();
    std::fs::rename(&path, &old).unwrap();
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "never opened anew");
        log.write("{\"n\":2}\n").await.unwrap();
        tokio::task::yield_now().await;
    }
    log.write("{\"n\":3}\n").await.unwrap();
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
    log.write("{\"n\":1}\n").await.unwrap();
    std::fs::remove_file(&path).unwrap();
    log.write("{\"n\":2}\n").await.unwrap();
    assert_eq!(lines(&path), ["{\"n\":2}"]);
    std::fs::remove_dir_all(&inner).unwrap();
    assert!(matches!(log.write("{\"n\":3}\n").await, Err(AuditError::Sink { .. })));
    std::fs::create_dir(&inner).unwrap();
    log.write("{\"n\":4}\n").await.unwrap();
    assert_eq!(lines(&path), ["{\"n\":4}"]);
}
