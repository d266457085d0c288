//! Decides recorded queries, on as many threads as there are processors.

use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::changes::Changes;
use super::log::Log;
use super::progress::Progress;
use crate::commands::CommandError;
use holdfast_policy::Policy;
use holdfast_policy::artefact::Recorded;
use holdfast_policy::decide::ComponentPolicy;

/// Which records count.
#[derive(Clone, Debug)]
pub struct Choice {
    pub since: u64,
    pub until: u64,
    pub key_store: Option<String>,
}

/// What to replay on.
pub struct Replay {
    pub policy: ComponentPolicy,
    pub choice: Choice,
    pub threads: usize,
}

/// What a thread was asked, and what it found in one piece.
type Done = (u64, Changes);

impl Replay {
    /// Replays a log; gives what would change and how long it took.
    pub fn run(&self, mut log: Log, mut progress: Progress) -> Result<(Changes, Duration), CommandError> {
        let (send, pieces) = sync_channel::<Vec<u8>>(self.threads * 2);
        let (finish, finished) = sync_channel::<Done>(self.threads * 8);
        let pieces = Mutex::new(pieces);
        let mut all = Changes::default();
        let mut bytes = 0;
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.threads)
                .map(|_| {
                    let (finish, pieces) = (finish.clone(), &pieces);
                    scope.spawn(move || self.work(pieces, |done| finish.send(done).is_ok()))
                })
                .collect();
            drop(finish);
            let mut take = |(read, changes): Done, progress: &mut Progress| {
                bytes += read;
                all.merge(changes);
                progress.tell(bytes, all.decisions);
            };
            let mut read = || -> Result<(), CommandError> {
                while let Some(piece) = log.next_piece()? {
                    if send.send(piece).is_err() {
                        break;
                    }
                    while let Ok(done) = finished.try_recv() {
                        take(done, &mut progress);
                    }
                }
                Ok(())
            };
            let result = read();
            drop(send);
            while let Ok(done) = finished.recv() {
                take(done, &mut progress);
            }
            for worker in workers {
                match worker.join() {
                    Ok(worked) => worked?,
                    Err(_) => return Err("a thread of the replay ended early".into()),
                }
            }
            result
        })?;
        let took = progress.end(all.decisions);
        Ok((all, took))
    }

    fn work(
        &self,
        pieces: &Mutex<Receiver<Vec<u8>>>,
        finish: impl Fn(Done) -> bool,
    ) -> Result<(), std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            loop {
                let piece = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(piece) = piece else { return Ok(()) };
                let changes = self.piece(&piece).await;
                if !finish((piece.len() as u64, changes)) {
                    return Ok(());
                }
            }
        })
    }

    async fn piece(&self, piece: &[u8]) -> Changes {
        let mut changes = Changes::default();
        for line in piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let recorded = match Recorded::read(line) {
                Ok(Some(recorded)) => recorded,
                Ok(None) => {
                    changes.records += 1;
                    changes.undecided += 1;
                    continue;
                }
                Err(_) => {
                    changes.unreadable += 1;
                    continue;
                }
            };
            if !self.is_chosen(&recorded) {
                continue;
            }
            changes.records += 1;
            let Some(then) = recorded.comparable(self.policy.identity()) else {
                changes.undecided += 1;
                continue;
            };
            match self.policy.decide(&recorded.query).await {
                Ok(now) => changes.add(&recorded.query, then, Ok(&now)),
                Err(failure) => changes.add(&recorded.query, then, Err(&failure)),
            }
        }
        changes
    }

    fn is_chosen(&self, recorded: &Recorded) -> bool {
        let Choice { since, until, key_store } = &self.choice;
        let query = &recorded.query;
        (*since..*until).contains(&query.time)
            && key_store.as_ref().is_none_or(|name| *name == query.key_store)
    }
}
