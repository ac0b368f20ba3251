//! A blob of an archive, read by a thread of its own as it is sent: a few pieces of it are in memory.

use std::io::Read;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use super::{asked, opened::Opened};
use crate::{
    oci::{Digest, Repository},
    registry::{BlobSource, Chunks, RegistryError, Request},
};

/// How much is read at once.
const PIECE: usize = 128 << 10;

/// How many pieces wait to be sent.
const PIECES: usize = 4;

/// A blob of an archive.
pub(super) struct InArchive {
    archive: Opened,
    digest: Digest,
    named: (String, Request),
}

impl InArchive {
    pub(super) fn new(archive: &Opened, repository: &Repository, digest: &Digest) -> Self {
        let named = asked("GET", repository, digest);
        Self { archive: archive.clone(), digest: digest.clone(), named }
    }
}

impl BlobSource for InArchive {
    fn named(&self) -> (String, Request) {
        self.named.clone()
    }

    fn open(&self) -> BoxFuture<'_, Result<Option<Chunks>, RegistryError>> {
        let (archive, digest) = (self.archive.clone(), self.digest.clone());
        async move {
            let (found, finds) = oneshot::channel();
            let (give, pieces) = mpsc::channel(PIECES);
            spawn_blocking(move || {
                // A run that is cut off is gone before its readers are.
                let _in_use = archive.in_use();
                match archive.open_blob(&digest) {
                    Ok(Some(reader)) => {
                        // Whoever asked may have gone meanwhile.
                        if found.send(Ok(true)).is_ok() {
                            read(&archive, reader, &give);
                        }
                    }
                    Ok(None) => drop(found.send(Ok(false))),
                    Err(error) => drop(found.send(Err(archive.told(&error)))),
                }
            });
            let ended = || "failed to read an archive: the thread that read it has ended".into();
            let is_there = finds.await.map_err(|_| RegistryError::Archive { why: ended() })??;
            let pieces = stream::unfold(pieces, async |mut pieces| {
                pieces.recv().await.map(|piece| (piece, pieces))
            });
            Ok(is_there.then(|| pieces.boxed()))
        }
        .boxed()
    }
}

/// Gives what `reader` has, as fast as it is taken, until it is not taken any more.
fn read(
    archive: &Opened,
    mut reader: Box<dyn Read + Send>,
    give: &mpsc::Sender<Result<Bytes, RegistryError>>,
) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = reader.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let is_end = piece.is_empty();
        let piece = match read {
            Ok(_) if is_end => return,
            Ok(_) => Ok(piece.into()),
            Err(error) => Err(archive.told_by_reader(error)),
        };
        let failed = piece.is_err();
        if give.blocking_send(piece).is_err() || failed {
            return;
        }
    }
}
