//! Images, and what is known of each: the maps' entries, and what is said of a Pod of it.

use serde_json::{Value, json};

use crate::entries::{BEFORE, Entries, Entry, NEVER, NOW, key};

/// An image, and the Pod that has it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// As it is written.
    pub(crate) image: String,
    /// What the Pod's spec has beside.
    pub(crate) spec: Value,
    /// Words of what is said, beside the image; nothing is wrong where there are none.
    pub(crate) says: Vec<&'static str>,
}

/// Published, for all that the cases select.
pub(crate) const FINE: &str = "registry.example.com/team/fine:1";

pub(crate) fn entries() -> Entries {
    let published = Entry::published;
    let incomplete = Entry {
        complete: false,
        platforms: "linux/amd64",
        missing: "linux/arm64",
        ..published("team-a/incomplete")
    };
    let kept = Entry { until: "1790000000", ..published("team-a/pinned") };
    let both = Entry { platforms: "linux/amd64,windows/amd64", ..published("team-a/windows") };
    let all = [
        ("unpublished:1", Entry::awaited("team-a/unpublished", "linux/arm64")),
        ("refused:1", Entry::awaited("team-a/refused", "")),
        ("broken:1", Entry { published: false, ..published("team-a/broken") }),
        ("incomplete:1", incomplete),
        (&format!("incomplete@{NOW}"), incomplete),
        ("unsure:1", Entry { complete: false, ..published("team-a/unsure") }),
        ("published:1", published("team-a/published")),
        (
            "fine:1",
            Entry {
                platforms: "linux/amd64,linux/arm64,windows/amd64",
                ..published("team-a/fine")
            },
        ),
        // A registry that is down, or a spec that is edited, changes Ready and nothing of what is published.
        ("down:1", published("team-a/down")),
        ("edited:1", published("team-a/edited")),
        ("edited:2", Entry::awaited("team-a/edited", "linux/amd64,linux/arm64")),
        ("pinned:1", Entry { former: BEFORE, ..published("team-a/pinned") }),
        (&format!("pinned@{NOW}"), published("team-a/pinned")),
        // What was served before was, whole or not.
        (&format!("pinned@{BEFORE}"), Entry { digest: BEFORE, complete: false, ..kept }),
        ("former:1", Entry { until: "1790000000", ..published("team-a/former") }),
        ("amd64:1", Entry { platforms: "linux/amd64", ..published("team-a/amd64") }),
        ("windows:1", both),
    ];
    let all = all.iter().map(|(name, entry)| (format!("registry.example.com/team/{name}"), *entry));
    let hub = ("docker.io/library/hub:latest".to_owned(), Entry::awaited("team-a/hub", ""));
    all.chain([hub]).map(|(name, entry)| (key(&name), entry.value())).collect()
}

/// Where no platform can be named.
const UNSURE: [&str; 2] = [
    "is not complete: MultiArchImage team-a/unsure says in its conditions",
    "kubectl -n team-a describe mai unsure",
];

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, image: &str, spec, says: &[&'static str]| Case {
        name,
        image: if image.contains("hub") {
            image.into()
        } else {
            format!("registry.example.com/team/{image}")
        },
        spec,
        says: says.to_vec(),
    };
    let plain = |name, image: &str, says: &[&'static str]| case(name, image, json!({}), says);
    let unpublished =
        ["is not published", "MultiArchImage team-a/unpublished", "waits for linux/arm64"];
    let incomplete = ["is not complete", "MultiArchImage team-a/incomplete", "lacks linux/arm64"];
    let hub = [
        "is not published",
        "MultiArchImage team-a/hub has not published it: kubectl -n team-a describe mai hub",
    ];
    let mut all = vec![
        plain("not published", "unpublished:1", &unpublished),
        plain("refused", "refused:1", &["is not published", "team-a/refused has not published it"]),
        plain("broken since", "broken:1", &["is not published", "team-a/broken"]),
        plain("incomplete", "incomplete:1", &incomplete),
        plain("not known to be complete", "unsure:1", &UNSURE),
        plain("published", "published:1", &[]),
        plain("registry down since", "down:1", &[]),
        plain("edited since, old tag", "edited:1", &[]),
        plain(
            "edited since, new tag",
            "edited:2",
            &["team-a/edited waits for linux/amd64,linux/arm64"],
        ),
        plain("unmanaged", "unmanaged:1", &[]),
        plain("pinned to now", &format!("pinned:1@{NOW}"), &[]),
        plain("pinned to now, no tag", &format!("pinned@{NOW}"), &[]),
        plain("pinned to before", &format!("pinned:1@{BEFORE}"), &[]),
        plain("pinned to before, no tag", &format!("pinned@{BEFORE}"), &[]),
        plain(
            "pinned to never",
            &format!("pinned:1@{NEVER}"),
            &["MultiArchImage team-a/pinned never served; it serves", NOW],
        ),
        plain("pinned to never, no tag", &format!("pinned@{NEVER}"), &[]),
        plain(
            "pinned, not published",
            &format!("unpublished:1@{NOW}"),
            &["team-a/unpublished never served"],
        ),
        plain("pinned, incomplete", &format!("incomplete:1@{NOW}"), &incomplete),
        plain("pinned, incomplete, no tag", &format!("incomplete@{NOW}"), &incomplete),
        plain("pinned, another tag", &format!("elsewhere:1@{NOW}"), &[]),
        plain("former tag", "former:1", &[]),
    ];
    let select = |labels: Value| json!({"nodeSelector": labels});
    let arch = |value: &str| json!({"kubernetes.io/arch": value});
    let terms = |terms: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    let term = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "kubernetes.io/arch", "operator": operator, "values": values}]});
    let no_arm64 =
        ["has no arm64, which is selected", "MultiArchImage team-a/amd64 has linux/amd64"];
    let narrowed = json!({"nodeSelector": arch("amd64"), "affinity": terms(json!([term("In", &["amd64", "arm64"])]))["affinity"]});
    let preferred = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": term("In", &["arm64"])},
    ]}}});
    let windows = json!({"os": {"name": "windows"}, "nodeSelector": arch("amd64")});
    let linux = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"});
    all.extend([
        case("arch covered", "published:1", select(arch("arm64")), &[]),
        case("arch not covered", "amd64:1", select(arch("arm64")), &no_arm64),
        case("by affinity", "amd64:1", terms(json!([term("In", &["amd64", "arm64"])])), &no_arm64),
        case(
            "by another term",
            "amd64:1",
            terms(json!([term("In", &["amd64"]), term("In", &["arm64"])])),
            &no_arm64,
        ),
        case("narrowed by a selector", "amd64:1", narrowed, &[]),
        case("affinity for others", "amd64:1", terms(json!([term("NotIn", &["arm64"])])), &[]),
        case("preferred only", "amd64:1", preferred, &[]),
        case("os covered", "windows:1", windows.clone(), &[]),
        case("os not covered", "amd64:1", windows, &["has no windows/amd64, which is selected"]),
        case(
            "os by selector",
            "windows:1",
            select(linux),
            &["has no linux/arm64", "linux/amd64,windows/amd64"],
        ),
        case(
            "pinned, arch not covered",
            &format!("incomplete@{NOW}"),
            select(arch("arm64")),
            &incomplete,
        ),
        plain("hub", "hub", &hub),
        plain("hub, with its names", "index.docker.io/library/hub:latest", &hub),
        plain("hub, in capitals", "DOCKER.IO:443/hub", &hub),
    ]);
    let odd = "REGISTRY.example.com:0443/team/unpublished:1".to_owned();
    all.push(Case { image: odd, ..plain("in capitals, with its port", "", &unpublished) });
    all
}
