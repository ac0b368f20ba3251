//! Ctrl-C and SIGTERM: nothing is left half done, and a second run goes on.

use multiarch_operator::registry::memory::{Image, Lie};
use rstest::rstest;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr},
};

use super::bench::{Bench, Ended, object};

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

/// A run whose one write is held back, which is that of the tag, and what it says until it is told to stop.
async fn at_the_tag(bench: &Bench) -> (Child, Lines<BufReader<ChildStderr>>) {
    let images = ["amd64", "arm64"].map(|name| (name, bench.at(&format!("a/b:{name}"))));
    for (name, _) in &images {
        bench.store().push_image("a/b", name, &format!("linux/{name}"));
    }
    let images = images.each_ref().map(|(name, image)| (*name, image.as_str()));
    bench.file("app.json", &object("app", &bench.at("a/b:1.0"), &images).to_string());
    bench.server.lie([Lie::HeldBack("PUT")]);
    let mut child = bench.command(&["publish", "-f", "app.json"]).spawn().unwrap();
    let put = "PUT /v2/a/b/manifests/1.0".to_owned();
    bench.server.until(|server| server.requests().contains(&put)).await;
    tell(&child, Signal::INT);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = said.next_line().await.unwrap() {
        if line.starts_with("stopping") {
            return (child, said);
        }
    }
    panic!("it does not say that it stops")
}

/// A tag that is being written is seen through.
#[tokio::test]
async fn a_tag_that_is_being_written_is_read_back() {
    let bench = Bench::new().await;
    let (child, _said) = at_the_tag(&bench).await;
    bench.server.lie([]);
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    let published = bench.store().tagged("a/b", "1.0").unwrap();
    assert!(ended.out.contains("published"), "{}", ended.out);
    assert!(ended.out.contains(&published.digest().to_string()), "{}", ended.out);
}

#[tokio::test]
async fn told_twice_it_ends_at_once() {
    let bench = Bench::new().await;
    let (child, _said) = at_the_tag(&bench).await;
    tell(&child, Signal::INT);
    let ended = Ended::of(child.wait_with_output().await.unwrap());
    assert_eq!((ended.code, ended.out.as_str()), (130, ""), "{ended:?}");
}
