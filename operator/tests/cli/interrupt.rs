//! Ctrl-C and SIGTERM: nothing is left half done, and a second run goes on.

use multiarch_operator::registry::memory::{Image, Lie};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use super::bench::{Bench, Ended};

fn tell(child: &Child, signal: Signal) {
    let process = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).unwrap())).unwrap();
    kill_process(process, signal).unwrap();
}

#[rstest]
#[case(Signal::INT)]
#[case(Signal::TERM)]
#[tokio::test]
async fn what_is_cut_off_is_cancelled_and_goes_on_next_time(#[case] signal: Signal) {
    let (from, to) = (Bench::new().await, Bench::new().await);
    from.store().push("a/b", Some("1"), &Image::of("linux/amd64"));
    from.store().push("a/c", Some("1"), &Image::of("linux/arm64"));
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let args = ["mirror", "--from", &at, "--to", &target, "--at-once", "1", "a/b:1", "a/c:1"];
    // Uploads are begun and their bytes not taken.
    to.server.lie([Lie::SilentTo("PUT"), Lie::SilentTo("PATCH")]);
    let child = from.command(&args).spawn().unwrap();
    to.server.until(|server| server.open_uploads() > 0).await;
    tell(&child, signal);
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.err.contains("run the same command again"), "{}", ended.err);
    assert!(ended.out.contains("interrupted"), "{}", ended.out);
    assert_eq!(to.server.open_uploads(), 0);
    assert_eq!(to.store().tags("a/b"), [""; 0]);
    to.server.lie([]);
    let ended = from.run(&args).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(to.store().tagged("a/b", "1").is_some() && to.store().tagged("a/c", "1").is_some());
}

/// A tag that is being written is seen through.
#[tokio::test]
async fn a_tag_that_is_being_written_is_read_back() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    from.store().push("a/b", Some("1"), &Image::of("linux/amd64"));
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    let args = ["mirror", "--from", &at, "--to", &target, "a/b:1"];
    // Its blobs are there, so that the next PUT is the tag's.
    let again = [&args[..], &["a/b:2"]].concat();
    assert_eq!(from.run(&args).await.code, 0);
    let image = from.store().tagged("a/b", "1").unwrap();
    from.store().tag("a/b", "2", image.digest());
    to.server.forget();
    to.server.lie([Lie::HeldBack("PUT")]);
    let child = from.command(&again).spawn().unwrap();
    let tag = |server: &multiarch_operator::registry::memory::Server| {
        server.requests().iter().any(|it| it == "PUT /v2/a/b/manifests/2")
    };
    let by_digest = format!("PUT /v2/a/b/manifests/{}", image.digest());
    to.server.until(|server| server.requests().contains(&by_digest) || tag(server)).await;
    if !tag(&to.server) {
        to.server.lie([]);
        to.server.until(tag).await;
    }
    tell(&child, Signal::INT);
    to.server.lie([]);
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    assert_eq!(to.store().tagged("a/b", "2").unwrap(), image);
}

#[tokio::test]
async fn told_twice_it_ends_at_once() {
    let (from, to) = (Bench::new().await, Bench::new().await);
    from.store().push("a/b", Some("1"), &Image::of("linux/amd64"));
    let (at, target) = (from.server.addr.to_string(), to.server.addr.to_string());
    // What cancels an upload gets no answer either.
    to.server.lie([Lie::SilentTo("PUT"), Lie::SilentTo("PATCH"), Lie::SilentTo("DELETE")]);
    let args = ["mirror", "--from", &at, "--to", &target, "a/b:1"];
    let mut child = from.command(&args).spawn().unwrap();
    to.server.until(|server| server.open_uploads() > 0).await;
    tell(&child, Signal::INT);
    // It says so when it has heard the first.
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = said.next_line().await.unwrap() {
        if line.starts_with("stopping") {
            break;
        }
    }
    tell(&child, Signal::INT);
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (130, ""), "{ended:?}");
}
