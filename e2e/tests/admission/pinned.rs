//! A tag that is pinned to a digest: what becomes of it does not depend on which map has which of the two.

use anyhow::Result;
use serde_json::json;

use crate::{
    ask::Verdict,
    entries::{BEFORE, Entries, Entry, NEVER, NOW, key},
    stage::Stage,
};

const APP: &str = "registry.example.com/pinned/app";

/// `app:1` named BEFORE once, which `app:2` names now, and which lacks a platform.
fn entries() -> Entries {
    let incomplete = Entry {
        digest: BEFORE,
        complete: false,
        platforms: "linux/amd64",
        missing: "linux/arm64",
        ..Entry::published("team-a/second")
    };
    let first = Entry { former: BEFORE, ..Entry::published("team-a/first") };
    let all = [
        (format!("{APP}:1"), first),
        (format!("{APP}@{NOW}"), first),
        (format!("{APP}:2"), incomplete),
        (format!("{APP}@{BEFORE}"), incomplete),
    ];
    all.into_iter().map(|(image, entry)| (key(&image), entry.value())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_judged_by_its_tag_in_whatever_maps() -> Result<()> {
    let stage = Stage::new().await?;
    // Digests sort before tags.
    let tags = key(&format!("{APP}:1"));
    let (digests, tagged): (Entries, Entries) =
        entries().into_iter().partition(|(key, _)| *key < tags);
    assert_eq!((digests.len(), tagged.len()), (2, 2));
    stage.map("0", &entries()).await?;
    stage.install(&json!({"pods": "Deny", "requireManaged": true})).await?;
    stage.until_at_work(&["pods"]).await?;
    for parted in [false, true] {
        if parted {
            stage.map_of("1", [&tags, ""], &tagged).await?;
            stage.map_of("0", ["", &tags], &digests).await?;
            // The probe's map is gone with it.
            let unmanaged = |verdict: &Verdict| matches!(verdict, Verdict::Refused(said) if said.contains("is of no"));
            stage.until_pod("probe.example.com/probe:1", "is unmanaged", unmanaged).await?;
        }
        for pinned in
            [format!("{APP}:1@{NOW}"), format!("{APP}:1@{BEFORE}"), format!("{APP}@{NOW}")]
        {
            assert_eq!(stage.pod(&pinned).await?, Verdict::Passed, "{pinned}, parted: {parted}");
        }
        for (pinned, words) in [
            (format!("{APP}:2@{BEFORE}"), "MultiArchImage team-a/second lacks linux/arm64"),
            (format!("{APP}@{BEFORE}"), "MultiArchImage team-a/second lacks linux/arm64"),
            (format!("{APP}:1@{NEVER}"), "MultiArchImage team-a/first never served"),
            (format!("{APP}:2@{NOW}"), "MultiArchImage team-a/second never served"),
        ] {
            let verdict = stage.pod(&pinned).await?;
            let once = matches!(&verdict, Verdict::Refused(said)
                if said.contains(words) && said.matches(&format!("image {pinned} ")).count() == 1);
            assert!(once, "{pinned}, parted: {parted}: {verdict:?}");
        }
    }
    stage.end().await
}
