//! A blob of 256 MiB between two real registries, in little memory. A process of its own: the peak is the process's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Instant};

use bytes::Bytes;
use faces::{Asks, Real, Speaks, access, remote};
use futures::stream;
use multiarch_operator::{
    oci::{Descriptor, Reference, Repository},
    registry::{Copied, Place, Progress, Registry, remote::Limits},
};
use sha2::{Digest as _, Sha256};

const CHUNK: usize = 1 << 20;
const CHUNKS: u64 = 256;
/// What the process may need beyond what it has when it starts.
const MOST: u64 = 64 << 20;

/// Each chunk is another one, so that nothing can be stored or sent once for all.
fn chunk(at: u64) -> Bytes {
    let mut bytes = vec![u8::try_from(at).unwrap(); CHUNK];
    bytes[..8].copy_from_slice(&at.to_be_bytes());
    bytes.into()
}

fn repository(registry: &Real) -> Repository {
    let reference: Reference = format!("{}/team/app:any", registry.host()).parse().unwrap();
    reference.repository().clone()
}

/// `VmHWM` or `VmRSS` of this process, in bytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Puts the blob there, as it is made.
async fn push(registry: &Real) -> Descriptor {
    let mut hash = Sha256::new();
    (0..CHUNKS).for_each(|at| hash.update(chunk(at)));
    let digest = hash.finalize().iter().fold("sha256:".to_owned(), |mut text, byte| {
        std::fmt::Write::write_fmt(&mut text, format_args!("{byte:02x}")).unwrap();
        text
    });
    // reqwest asks for a provider even where no TLS is spoken.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let start = format!("http://{}/v2/team/app/blobs/uploads/", registry.host());
    let started = client.post(start).send().await.unwrap();
    let mut session: url::Url = started.headers()["location"].to_str().unwrap().parse().unwrap();
    session.query_pairs_mut().append_pair("digest", &digest);
    let size = CHUNKS * CHUNK as u64;
    let body = stream::iter((0..CHUNKS).map(|at| Ok::<_, Infallible>(chunk(at))));
    let put = client.put(session).header("content-length", size);
    let done = put.body(reqwest::Body::wrap_stream(body)).send().await.unwrap();
    assert_eq!(done.status(), 201);
    Descriptor {
        media_type: "application/octet-stream".into(),
        digest: digest.parse().unwrap(),
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        data: None,
        platform: None,
        artifact_type: None,
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_large_blob_passes_in_little_memory() {
    let started = memory("VmRSS");
    let source = Real::start(Asks::Nobody, Speaks::Plain).await;
    let target = Real::start(Asks::Nobody, Speaks::Plain).await;
    let remote = remote(Limits::default());
    let blob = push(&source).await;
    let pushed = memory("VmHWM");
    let (access, progress): (_, Progress) = (access(None), Arc::new(|_| {}));
    let (from, to) = (repository(&source), repository(&target));
    let from = Place { access: &access, repository: &from };
    let to = Place { access: &access, repository: &to };
    let begun = Instant::now();
    let copied = remote.copy_blob(from, to, &blob, &progress).await.unwrap();
    let elapsed = begun.elapsed();
    assert_eq!(copied, Some(Copied::Uploaded));
    assert!(remote.blob_exists(&access, to.repository, &blob).await.unwrap());
    let peak = memory("VmHWM");
    println!(
        "{} MiB copied in {elapsed:?}; memory in KiB: {} at the start, peak {} while it was made, \
         {} with the copy",
        blob.size >> 20,
        started >> 10,
        pushed >> 10,
        peak >> 10,
    );
    assert!(peak - started < MOST, "{peak} bytes at the peak, {started} at the start");
}
