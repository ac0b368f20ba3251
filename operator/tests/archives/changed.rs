//! Runs over archives that change, are awaited, or are shared with other runs.

use std::{fs, path::Path, sync::Arc, time::Duration};

use multiarch_crds::{condition::Reason, v1alpha1::PublishPolicy};
use multiarch_operator::{
    archive::Archive,
    error::Retry,
    reconcile::{sources::Sources, status::Run},
    registry::{Access, Registry, RegistryError, archive::Archives, memory::Store},
};
use rstest::rstest;

use super::{
    archive::{
        images::{self, Image},
        write::{OnDisk, Tar, zstd},
    },
    archives, inside,
    runs::{PATH, failed, platforms, run, saved, sources},
};

/// One of the operator's, and one of a command, which does not look again.
fn settling(archives: Archives<Store>, settles: Option<Duration>) -> (Archives<Store>, Duration) {
    match settles {
        Some(settles) => (archives.settling(settles), settles),
        None => (archives, Duration::from_secs(30)),
    }
}

fn of_one(store: &Store, archive: &Arc<Archive>) -> Archives<Store> {
    Archives::new(store.clone(), [("amd.tar".to_owned(), Arc::clone(archive))])
}

fn consequence(run: &Run) -> (Reason, Retry) {
    let of = &run.failure().expect("it failed").consequence;
    (of.reason, of.retry)
}

/// It is written to in place while its layers are packed, or after that, while they are sent.
#[rstest]
#[case::while_they_are_packed(false)]
#[case::while_they_are_sent(true)]
#[tokio::test]
async fn of_one_that_is_written_to_nothing_is_published_and_that_is_told(
    #[case] is_made: bool,
    #[values(false, true)] is_cut: bool,
    #[values(None, Some(Duration::from_secs(7)))] settles: Option<Duration>,
) {
    let store = Store::new();
    let image = Image::of("amd64");
    let bytes = saved(&image);
    let file = OnDisk::new(&bytes);
    let opened = fs::File::open(file.path()).unwrap();
    // As the operator opens it: by the name that the object says.
    let archive = Arc::new(Archive::of(Path::new("amd.tar"), opened).unwrap());
    let (archives, settles) = settling(of_one(&store, &archive), settles);
    if is_made {
        let name = inside("amd.tar", "app:1");
        let (access, tag) = (Access::default(), name.tag_or_digest());
        archives.get_manifest(&access, name.repository(), &tag).await.unwrap().unwrap();
    }
    let other = Image::with("amd64", vec![Tar::new().file("other", b"x").end(); 2]);
    let others = saved(&other);
    fs::write(file.path(), if is_cut { &bytes[..bytes.len() / 4] } else { &others }).unwrap();
    let run = run(&archives, &sources(&[("amd.tar", Some("linux/amd64"))], false)).await;
    let said = failed(&run).unwrap();
    assert!(said.contains("amd.tar was changed while it was read"), "{said}");
    assert_eq!(consequence(&run), (Reason::WaitingForPlatforms, Retry::After(settles)));
    assert_eq!(store.tagged(PATH, "1"), None);
}

/// Whoever knows that it is read writes another file and moves it there: what is read goes on as it was.
#[tokio::test]
async fn one_in_whose_place_another_one_is_put_is_read_to_its_end() {
    let store = Store::new();
    let file = OnDisk::new(&saved(&Image::of("amd64")));
    let archive = Arc::new(file.open().unwrap());
    let beside = file.path().with_extension("part");
    fs::write(&beside, "another one").unwrap();
    fs::rename(&beside, file.path()).unwrap();
    let run = run(&of_one(&store, &archive), &sources(&[("amd.tar", None)], false)).await;
    assert_eq!(failed(&run), None);
    assert_eq!(platforms(&store), ["linux/amd64"]);
}

/// As many runs as an archive has images, at once: their manifests are made in one reading of it, and each blob is read at most once.
#[tokio::test(flavor = "multi_thread")]
async fn objects_of_one_archive_share_its_readings() {
    let names: Vec<_> = (0..12).map(|at| format!("app{at}:1")).collect();
    let layer = |at: usize| {
        let mut random = fastrand::Rng::with_seed(at as u64);
        let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(100 << 10).collect();
        Tar::new().file("noise", &noise).end()
    };
    let all: Vec<_> = (0..12).map(|at| Image::with("amd64", vec![layer(at)])).collect();
    let tags: Vec<_> = names.iter().map(|name| [name.as_str()]).collect();
    let with_tags: Vec<_> = all.iter().zip(&tags).map(|(image, of)| (image, &of[..])).collect();
    let file = OnDisk::new(&zstd(&Tar::of(&images::docker(&with_tags)).end(), 20));
    let archive = Arc::new(file.open().unwrap());
    let once = archive.bytes_read();
    let store = Store::new();
    let runs = names.iter().enumerate().map(|(at, name)| {
        let (store, archive) = (store.clone(), Arc::clone(&archive));
        let mut sources = sources(&[("amd.tar", None)], false);
        sources.sources[0].reference = inside("amd.tar", name);
        sources.target = format!("r.example/mirror/app{at}:1").parse().unwrap();
        tokio::spawn(async move { failed(&run(&of_one(&store, &archive), &sources).await) })
    });
    let runs: Vec<_> = runs.collect();
    for run in runs {
        assert_eq!(run.await.unwrap(), None);
    }
    let readings = archive.bytes_read() / once;
    assert!(readings <= 1 + 1 + 12, "{readings} readings for 12 images");
    // As one who has all of it: nothing is read for an image that is there.
    assert!(store.tagged("mirror/app11", "1").is_some());
}

/// One that is not there, and one that is being written, are waited for; with the policy for that what is there is published.
#[rstest]
#[case::absent(None, "arm.tar#docker.io/library/app:1", Retry::Interval)]
#[case::being_written(Some(7), "it is read in 7 seconds", Retry::After(Duration::from_secs(7)))]
#[tokio::test]
async fn what_is_not_to_be_read_yet_is_waited_for(
    #[case] after: Option<u64>,
    #[case] words: &str,
    #[case] retry: Retry,
    #[values(PublishPolicy::Complete, PublishPolicy::Partial)] policy: PublishPolicy,
) {
    let store = Store::new();
    let awaited = after.map(|after| RegistryError::ArchiveAwaited {
        why: format!("archive arm.tar was changed: it is read in {after} seconds"),
        after: Duration::from_secs(after),
    });
    let amd = saved(&Image::of("amd64"));
    let archives =
        archives(&store, &[("amd.tar", &amd)]).without([("arm.tar".to_owned(), awaited)]);
    let given = [("amd.tar", Some("linux/amd64")), ("arm.tar", Some("linux/arm64"))];
    let mut sources = Sources { publish_policy: policy, ..sources(&given, false) };
    sources.sources[1].optional = policy == PublishPolicy::Partial;
    let run = run(&archives, &sources).await;
    if policy == PublishPolicy::Partial {
        assert_eq!(platforms(&store), ["linux/amd64"], "{run:?}");
        return;
    }
    let told = format!("{} {:?}", failed(&run).unwrap_or_default(), run.resolutions);
    assert!(told.contains(words) || after.is_none(), "{told}");
    assert_eq!(consequence(&run), (Reason::WaitingForPlatforms, retry));
    assert_eq!(store.tagged(PATH, "1"), None);
}
