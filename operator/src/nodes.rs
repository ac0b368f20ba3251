//! pure: the nodes of a cluster → the platforms that images are to have for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::oci::Platform;

/// For how long a platform counts whose last node has left: spot nodes come back, and each change may be one write for each object.
pub const STAYS: Duration = Duration::from_hours(1);

/// How many platforms of nodes a status and the metrics name.
pub const MOST: usize = 64;

/// The nodes that there are, and the platforms that count.
#[derive(Debug, Default)]
pub struct Nodes {
    /// By name; those alone of which the platform is known.
    of: HashMap<String, Platform>,
    platforms: BTreeMap<Platform, Count>,
    /// When they were listed first.
    listed: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    nodes: usize,
    /// When the last of them left, where there is none.
    left: Duration,
}

/// What is known of the nodes' platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Nobody looks at nodes.
    #[default]
    Off,
    /// They were not listed yet.
    Unseen,
    /// The API server does not let this process list them.
    Refused,
    /// These count, sorted by their text.
    Seen(Arc<[Platform]>),
}

/// The platform of a node with these labels, which its kubelet keeps true. None of a node that lacks them: it has just joined, or it is
/// none that images are chosen for.
#[must_use]
pub fn platform(labels: &BTreeMap<String, String>) -> Option<Platform> {
    let label = |name| labels.get(name).filter(|value| !value.is_empty()).cloned();
    let platform = Platform {
        os: label("kubernetes.io/os")?,
        architecture: label("kubernetes.io/arch")?,
        ..Platform::default()
    };
    let build = label("node.kubernetes.io/windows-build");
    let os_version = build.filter(|_| platform.normalized().os == "windows");
    let platform = Platform { os_version, ..platform };
    (platform.is_well_formed() && !platform.is_unknown()).then_some(platform)
}

/// Those of `nodes` that no image of `published` runs on, by their text.
#[must_use]
pub fn missing(nodes: &[Platform], published: &[Platform]) -> Vec<String> {
    let lacks = |node: &&Platform| !published.iter().any(|image| image.runs_on(node));
    nodes.iter().filter(lacks).map(ToString::to_string).collect()
}

impl Nodes {
    /// The node called `name` is there, with this platform. The times are those of one clock, that of the process.
    pub fn is_there(&mut self, name: &str, platform: Option<Platform>, now: Duration) {
        if self.of.get(name) == platform.as_ref() {
            return;
        }
        self.is_gone(name, now);
        if let Some(platform) = platform {
            self.platforms.entry(platform.clone()).or_default().nodes += 1;
            self.of.insert(name.to_owned(), platform);
        }
    }

    /// It is there no more.
    pub fn is_gone(&mut self, name: &str, now: Duration) {
        let was = self.of.remove(name);
        let count = was.and_then(|platform| self.platforms.get_mut(&platform));
        if let Some(count) = count {
            *count = Count { nodes: count.nodes - 1, left: now };
        }
    }

    /// These are all that there are.
    pub fn are(&mut self, mut listed: HashMap<String, Option<Platform>>, now: Duration) {
        let gone: Vec<_> =
            self.of.keys().filter(|name| !listed.contains_key(*name)).cloned().collect();
        for (name, platform) in listed.drain() {
            self.is_there(&name, platform, now);
        }
        for name in &gone {
            self.is_gone(name, now);
        }
        self.listed.get_or_insert(now);
    }

    /// What statuses say that is missing was a node's platform, before this process looked. How long ago it cannot know, so it counts as if its last node
    /// had left when this process began to look: else each restart would write what an hour was to save.
    pub fn were(&mut self, platforms: impl IntoIterator<Item = Platform>, now: Duration) {
        let left = self.listed.unwrap_or(now);
        if now.saturating_sub(left) < STAYS {
            for platform in platforms {
                self.platforms.entry(platform).or_insert(Count { nodes: 0, left });
            }
        }
    }

    /// What is known of them at `now`. What does not count any more is forgotten.
    pub fn view(&mut self, now: Duration) -> View {
        let counts = |count: &Count| count.nodes > 0 || now.saturating_sub(count.left) < STAYS;
        self.platforms.retain(|_, count| counts(count));
        if self.listed.is_none() {
            return View::Unseen;
        }
        let mut platforms: Vec<_> = self.platforms.keys().cloned().collect();
        platforms.sort_by_cached_key(ToString::to_string);
        View::Seen(platforms.into())
    }

    /// When the next platform is forgotten, unless a node of it comes.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let empty = self.platforms.values().filter(|count| count.nodes == 0);
        empty.map(|count| count.left + STAYS).min()
    }

    /// How many nodes each platform has, those that count without one included; past [`MOST`] of them together, as `other`.
    #[must_use]
    pub fn counts(&self) -> Vec<(String, usize)> {
        let all = self.platforms.iter();
        let mut counts: Vec<_> =
            all.map(|(platform, count)| (platform.to_string(), count.nodes)).collect();
        counts.sort();
        if counts.len() > MOST {
            let others = counts.split_off(MOST).iter().map(|(_, nodes)| nodes).sum();
            counts.push(("other".into(), others));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prelude::*};
    use rstest::rstest;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[expect(clippy::unnecessary_wraps, reason = "what a node says, which may be nothing")]
    fn of(text: &str) -> Option<Platform> {
        Some(text.parse().unwrap())
    }

    fn shown(nodes: &mut Nodes, now: Duration) -> Vec<String> {
        match nodes.view(now) {
            View::Seen(platforms) => platforms.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[rstest]
    #[case::linux(&[("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "arm64")], Some("linux/arm64"))]
    #[case::arm(&[("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "arm")], Some("linux/arm"))]
    #[case::windows(
        &[("kubernetes.io/os", "windows"), ("kubernetes.io/arch", "amd64"), ("node.kubernetes.io/windows-build", "10.0.20348")],
        Some("windows(10.0.20348)/amd64")
    )]
    #[case::windows_of_any_build(&[("kubernetes.io/os", "windows"), ("kubernetes.io/arch", "amd64")], Some("windows/amd64"))]
    #[case::linux_has_no_build(
        &[("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64"), ("node.kubernetes.io/windows-build", "1.2.3")],
        Some("linux/amd64")
    )]
    #[case::just_joined(&[], None)]
    #[case::no_architecture(&[("kubernetes.io/os", "linux")], None)]
    #[case::beta(&[("beta.kubernetes.io/os", "linux"), ("beta.kubernetes.io/arch", "amd64")], None)]
    #[case::empty(&[("kubernetes.io/os", ""), ("kubernetes.io/arch", "amd64")], None)]
    #[case::no_word(&[("kubernetes.io/os", "li.nux"), ("kubernetes.io/arch", "amd64")], None)]
    #[case::nothing(&[("kubernetes.io/os", "unknown"), ("kubernetes.io/arch", "unknown")], None)]
    fn labels_tell_the_platform(#[case] labels: &[(&str, &str)], #[case] expected: Option<&str>) {
        let labels = labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(platform(&labels).map(|platform| platform.to_string()).as_deref(), expected);
    }

    #[test]
    fn what_no_image_runs_on_is_missing() {
        let all = |texts: &[&str]| texts.iter().filter_map(|text| of(text)).collect::<Vec<_>>();
        let nodes = all(&["linux/amd64", "linux/arm", "windows(10.0.20348)/amd64"]);
        let lacks = |published: &[&str]| missing(&nodes, &all(published));
        assert_eq!(lacks(&["linux/amd64", "linux/arm/v6", "windows(10.0.20348.7)/amd64"]), [""; 0]);
        assert_eq!(
            lacks(&["linux/amd64/v3", "windows(10.0.17763.1)/amd64"]),
            ["linux/amd64", "linux/arm", "windows(10.0.20348)/amd64"]
        );
    }

    /// A spot node that comes and goes changes nothing but once.
    #[test]
    fn a_platform_counts_at_once_and_for_an_hour_after_its_last_node() {
        let mut nodes = Nodes::default();
        assert_eq!(nodes.view(MINUTE), View::Unseen);
        nodes.are([("a".into(), of("linux/amd64"))].into(), MINUTE);
        assert_eq!(shown(&mut nodes, MINUTE), ["linux/amd64"]);
        nodes.is_there("spot", of("linux/arm64"), 2 * MINUTE);
        nodes.is_there("spot-2", of("linux/arm64"), 2 * MINUTE);
        assert_eq!(shown(&mut nodes, 2 * MINUTE), ["linux/amd64", "linux/arm64"]);
        nodes.is_gone("spot", 10 * MINUTE);
        assert_eq!(nodes.next(), None);
        nodes.is_gone("spot-2", 20 * MINUTE);
        assert_eq!(nodes.next(), Some(80 * MINUTE));
        assert_eq!(nodes.counts(), [("linux/amd64".into(), 1), ("linux/arm64".into(), 0)]);
        nodes.is_there("spot-3", of("linux/arm64"), 70 * MINUTE);
        assert_eq!((nodes.next(), shown(&mut nodes, 100 * MINUTE).len()), (None, 2));
        nodes.is_gone("spot-3", 100 * MINUTE);
        assert_eq!(shown(&mut nodes, 159 * MINUTE + Duration::from_secs(59)).len(), 2);
        assert_eq!(shown(&mut nodes, 160 * MINUTE), ["linux/amd64"]);
        assert_eq!(nodes.next(), None);
    }

    #[test]
    fn a_list_tells_who_has_gone_and_a_label_what_a_node_is() {
        let mut nodes = Nodes::default();
        nodes
            .are([("a".into(), of("linux/amd64")), ("b".into(), of("linux/arm64"))].into(), MINUTE);
        nodes.are([("a".into(), of("linux/amd64")), ("new".into(), None)].into(), 2 * MINUTE);
        assert_eq!(nodes.counts(), [("linux/amd64".into(), 1), ("linux/arm64".into(), 0)]);
        nodes.is_there("new", of("linux/s390x"), 3 * MINUTE);
        nodes.is_there("a", None, 3 * MINUTE);
        let counts = [("linux/amd64", 0), ("linux/arm64", 0), ("linux/s390x", 1)];
        assert_eq!(nodes.counts(), counts.map(|(text, nodes)| (text.into(), nodes)));
    }

    #[test]
    fn a_restart_forgets_nothing_that_statuses_speak_of() {
        let mut nodes = Nodes::default();
        nodes.were(of("linux/arm64"), Duration::ZERO);
        assert_eq!(nodes.view(Duration::ZERO), View::Unseen);
        nodes.are([("a".into(), of("linux/amd64"))].into(), MINUTE);
        nodes.were([of("linux/s390x"), of("linux/amd64")].into_iter().flatten(), 30 * MINUTE);
        assert_eq!(shown(&mut nodes, 30 * MINUTE), ["linux/amd64", "linux/arm64", "linux/s390x"]);
        assert_eq!(shown(&mut nodes, 60 * MINUTE), ["linux/amd64", "linux/s390x"]);
        assert_eq!(shown(&mut nodes, 61 * MINUTE), ["linux/amd64"]);
        // Whoever has looked for an hour knows better.
        nodes.were(of("linux/arm64"), 61 * MINUTE);
        assert_eq!(shown(&mut nodes, 61 * MINUTE), ["linux/amd64"]);
    }

    #[test]
    fn metrics_show_no_more_than_most() {
        let mut nodes = Nodes::default();
        for n in 0..MOST + 3 {
            nodes.is_there(&n.to_string(), of(&format!("linux/a{n:03}")), MINUTE);
        }
        let counts = nodes.counts();
        assert_eq!((counts.len(), counts.last().unwrap()), (MOST + 1, &("other".into(), 3)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        There(usize, Option<usize>),
        Gone(usize),
        List(Vec<(usize, Option<usize>)>),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let (node, platform) = (0..5_usize, proptest::option::of(0..3_usize));
        let step = prop_oneof![
            4 => (node.clone(), platform.clone()).prop_map(|(node, of)| Step::There(node, of)),
            4 => node.clone().prop_map(Step::Gone),
            1 => collection::vec((node, platform), 0..5).prop_map(Step::List),
            4 => (1..50_u64).prop_map(Step::Wait),
        ];
        collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// Whatever comes and goes: a platform counts while it has a node, and less than an hour after it had one; and when it stops to count is
        /// known before.
        #[test]
        fn a_platform_counts_as_long_as_it_should(steps in steps()) {
            const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "windows(10.0.20348)/amd64"];
            let of = |at: Option<usize>| at.map(|at| PLATFORMS[at].parse::<Platform>().unwrap());
            let (mut nodes, mut now) = (Nodes::default(), Duration::ZERO);
            nodes.are(HashMap::new(), now);
            // What there is, and when each platform last had a node.
            let mut there: BTreeMap<usize, usize> = BTreeMap::new();
            let mut last: BTreeMap<usize, Duration> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::There(node, at) => {
                        nodes.is_there(&node.to_string(), of(at), now);
                        there.remove(&node);
                        there.extend(at.map(|at| (node, at)));
                    }
                    Step::Gone(node) => {
                        nodes.is_gone(&node.to_string(), now);
                        there.remove(&node);
                    }
                    Step::List(list) => {
                        let list: BTreeMap<_, _> = list.into_iter().collect();
                        let listed = list.iter().map(|(node, at)| (node.to_string(), of(*at)));
                        nodes.are(listed.collect(), now);
                        there = list.into_iter().filter_map(|(node, at)| Some((node, at?))).collect();
                    }
                    Step::Wait(minutes) => {
                        let next = nodes.next();
                        let before = shown(&mut nodes, now);
                        now += MINUTE * u32::try_from(minutes).unwrap();
                        let changed = shown(&mut nodes, now) != before;
                        prop_assert_eq!(changed, next.is_some_and(|next| next <= now));
                    }
                }
                for at in there.values() {
                    last.insert(*at, now);
                }
                let expected: Vec<_> = (0..3)
                    .filter(|at| {
                        there.values().any(|of| of == at)
                            || last.get(at).is_some_and(|last| now < *last + STAYS)
                    })
                    .map(|at| PLATFORMS[at].to_owned())
                    .collect();
                prop_assert_eq!(shown(&mut nodes, now), expected);
                let all: usize = nodes.counts().iter().map(|(_, nodes)| nodes).sum();
                prop_assert_eq!(all, there.len());
            }
        }
    }
}
