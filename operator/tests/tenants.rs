//! Two tenants of one registry whose objects run at the same time: each request carries the credential that it should, told at the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test, a panic is the report")]

#[path = "registry/faces.rs"]
mod faces;
#[path = "registry/object.rs"]
mod object;

use std::collections::{BTreeMap, BTreeSet};

use faces::{Asks, Real};
use futures::future::join_all;
use multiarch_e2e::{
    images::Image,
    proxy::Seen,
    registry::{CI, READER},
    tokens::{User, whose},
};
use multiarch_operator::{reconcile::status::Outcome, registry::remote::Remote};
use object::Object;
use rstest::rstest;
use serde_json::json;

/// A name and a password.
type Who = (&'static str, &'static str);

const PLATFORMS: [&str; 2] = ["amd64", "arm64"];
const TENANTS: [&str; 2] = ["a", "b"];
/// How many objects each of them has.
const OBJECTS: usize = 5;

/// The two that htpasswd knows.
const ONE: Who = (CI.user, CI.password);
const TWO: Who = (READER.user, READER.password);

/// What an object reads from, or writes to. `{tenant}` is one of [`TENANTS`].
#[derive(Clone, Copy)]
struct End {
    repository: &'static str,
    /// As whom each tenant does.
    who: [Who; 2],
}

impl End {
    fn repository(self, tenant: usize) -> String {
        self.repository.replace("{tenant}", TENANTS[tenant])
    }

    /// A tag that is one tenant's alone.
    fn tag(self, tenant: usize, number: usize, more: &str) -> String {
        format!("{}:{}-{number}{more}", self.repository(tenant), TENANTS[tenant])
    }
}

struct Scene {
    real: Real,
    remote: Remote,
    from: End,
    to: End,
    objects: Vec<Object>,
}

/// Tenant and number of each object, in turn.
fn all() -> impl Iterator<Item = (usize, usize)> {
    (0..OBJECTS).flat_map(|number| [(0, number), (1, number)])
}

/// What one of them publishes: nothing of it is of anything else.
fn image(tenant: usize, number: usize, platform: &str, version: &str) -> Image {
    let app = format!("{version} of {} {number}", TENANTS[tenant]);
    Image::layered(&format!("linux/{platform}"), &[&app, &format!("{app} for {platform}")]).unwrap()
}

impl Scene {
    async fn of(asks: Asks, from: End, to: End) -> Self {
        let mut users: BTreeMap<_, User> = BTreeMap::new();
        for (end, actions) in [(from, "pull"), (to, "pull,push")] {
            for (tenant, (name, password)) in end.who.into_iter().enumerate() {
                let user = users.entry(name).or_insert_with(|| User::new(name, password, &[]));
                let actions = actions.split(',').map(Into::into).collect();
                user.rights.push((end.repository(tenant), actions));
            }
        }
        let real = Real::counted(asks, users.into_values().collect()).await;
        let objects = all().map(|(tenant, number)| {
            let tagged = |of: String| format!("{}/{of}", real.host());
            let source = |platform| tagged(from.tag(tenant, number, &format!("-{platform}")));
            let mut object =
                Object::new(&tagged(to.tag(tenant, number, "")), &PLATFORMS.map(source))
                    .by_http([real.host()])
                    .with_certificates(&real.secrets());
            for (name, (user, password)) in
                [("reads", from.who[tenant]), ("writes", to.who[tenant])]
            {
                let login = json!({"username": user, "password": password});
                let logins = json!({"auths": {(real.host()): login}});
                object = object.with_secret(name, logins.to_string());
            }
            let secret = |name: &str| multiarch_crds::v1alpha1::SecretRef { name: name.into() };
            object.spec.image_pull_secrets = vec![secret("reads")];
            object.spec.target.secret_ref = Some(secret("writes"));
            object
        });
        let (objects, remote) = (objects.collect(), real.remote());
        Self { real, remote, from, to, objects }
    }

    async fn push(&self, version: &str) {
        for (tenant, number) in all() {
            for platform in PLATFORMS {
                let to = self.from.tag(tenant, number, &format!("-{platform}"));
                let image = image(tenant, number, platform, version);
                self.real.registry.push(&to, &image).await.unwrap();
            }
        }
    }

    /// All run at once, and each is told whose requests it was.
    async fn run(&mut self, pushes: bool) -> Vec<Seen> {
        self.real.registry.proxy.forget();
        let remote = &self.remote;
        let runs = join_all(self.objects.iter_mut().map(|object| object.run(remote))).await;
        for run in runs {
            match run.outcome {
                Outcome::Served { published, .. } => assert_eq!(published.pushed(), pushes),
                Outcome::Unchanged => assert!(!pushes),
                other => panic!("{other:?}"),
            }
        }
        self.real.registry.proxy.seen()
    }

    /// By a repository and a tag or digest in it: who asks for that.
    fn owners(&self, version: &str) -> BTreeMap<(String, String), &'static str> {
        let mut owners = BTreeMap::new();
        for (tenant, number) in all() {
            for (end, more) in [(self.from, &["-amd64", "-arm64"][..]), (self.to, &[""])] {
                let tags = more.iter().map(|more| end.tag(tenant, number, more));
                let tags = tags.map(|of| of.split_once(':').unwrap().1.to_owned());
                let images = PLATFORMS.map(|platform| image(tenant, number, platform, version));
                let digests = images.iter().flat_map(|image| {
                    let blobs = image.blobs.iter().map(|blob| blob.digest.clone());
                    blobs.chain([image.manifest.digest()])
                });
                for name in tags.chain(digests) {
                    let key = (end.repository(tenant), name);
                    let who = end.who[tenant].0;
                    // An object's two images have a layer in common.
                    assert!(owners.insert(key, who).is_none_or(|known| known == who));
                }
            }
        }
        owners
    }

    /// Every request is by whom it should be.
    fn check(&self, seen: &[Seen], version: &str) {
        let owners = self.owners(version);
        // Where an upload begins nothing says of what, so that these are counted against those that end.
        let mut uploads: BTreeMap<String, i32> = BTreeMap::new();
        let (mut asked, mut by) = (0, BTreeSet::new());
        for seen in seen {
            let Some(authorization) = &seen.authorization else {
                assert_eq!(seen.status, 401, "{seen:?}");
                continue;
            };
            let who = whose(authorization).unwrap();
            let path = seen.path.strip_prefix("/v2/").unwrap();
            let parts = ["/manifests/", "/blobs/"].iter().find_map(|part| path.split_once(part));
            let (repository, what) = parts.unwrap();
            let name = if seen.is_mount() {
                let of = seen.query.split('&').find_map(|pair| pair.strip_prefix("mount="));
                of.unwrap().replace("%3A", ":")
            } else if seen.is_start() {
                *uploads.entry(who).or_default() += 1;
                continue;
            } else if seen.is_upload() {
                *uploads.entry(who.clone()).or_default() -= 1;
                seen.blob()
            } else {
                what.to_owned()
            };
            let owner = owners[&(repository.to_owned(), name)];
            assert_eq!(who, owner, "{seen:?}");
            asked += 1;
            by.insert(owner);
        }
        assert!(uploads.values().all(|left| *left == 0), "{uploads:?}");
        assert!(asked >= all().count() * 3, "{asked} requests with a credential");
        let all: BTreeSet<_> =
            [self.from, self.to].iter().flat_map(|end| end.who).map(|(name, _)| name).collect();
        assert_eq!(by, all, "each has asked");
    }

    /// No token is fetched twice, and each only for what its user has at hand.
    fn check_tokens(&self, mounts: bool) {
        let Some(tokens) = &self.real.tokens else { return };
        let mut asked: Vec<_> =
            tokens.seen().into_iter().map(|asked| (asked.user.unwrap(), asked.scopes)).collect();
        tokens.forget();
        asked.sort();
        let mut expected = BTreeSet::new();
        for tenant in 0..TENANTS.len() {
            let pull = format!("repository:{}:pull", self.from.repository(tenant));
            let push = format!("repository:{}:pull,push", self.to.repository(tenant));
            let [reads, writes] = [self.from, self.to].map(|end| end.who[tenant].0.to_owned());
            if mounts {
                expected.insert((reads, vec![pull, push]));
            } else {
                expected.extend([(reads, vec![pull]), (writes, vec![push])]);
            }
        }
        assert_eq!(asked, expected.into_iter().collect::<Vec<_>>());
    }
}

const APART: [&str; 2] = ["build-{tenant}/app", "team-{tenant}/app"];
const SHARED: [&str; 2] = ["build/app", "team/app"];
const A: [Who; 2] = [("a-reads", "one"), ("a-writes", "two")];
const B: [Who; 2] = [("b-reads", "three"), ("b-writes", "four")];

#[rstest]
#[case::passwords(Asks::Password, APART, [ONE, TWO], [ONE, TWO])]
#[case::passwords_in_one_repository(Asks::Password, SHARED, [ONE, TWO], [ONE, TWO])]
#[case::passwords_crosswise(Asks::Password, SHARED, [ONE, TWO], [TWO, ONE])]
#[case::tokens(Asks::Token, APART, [A[0], B[0]], [A[0], B[0]])]
#[case::tokens_in_one_repository(Asks::Token, SHARED, [A[0], B[0]], [A[0], B[0]])]
#[case::tokens_for_each_end(Asks::Token, APART, [A[0], B[0]], [A[1], B[1]])]
#[case::tokens_for_each_end_of_one_repository(Asks::Token, SHARED, [A[0], B[0]], [A[1], B[1]])]
#[case::tokens_crosswise(Asks::Token, SHARED, [A[0], B[0]], [B[0], A[0]])]
#[tokio::test(flavor = "multi_thread")]
async fn each_request_carries_its_own_credential(
    #[case] asks: Asks,
    #[case] repositories: [&'static str; 2],
    #[case] read_by: [Who; 2],
    #[case] written_by: [Who; 2],
) {
    let [from, to] = repositories;
    let (from, to) =
        (End { repository: from, who: read_by }, End { repository: to, who: written_by });
    let mut scene = Scene::of(asks, from, to).await;
    let mounts = read_by == written_by;
    scene.push("1").await;
    let seen = scene.run(true).await;
    scene.check(&seen, "1");
    scene.check_tokens(mounts);
    assert_eq!(seen.iter().any(Seen::is_mount), mounts);
    // Once more with what is known of the host, and then with something to do.
    let seen = scene.run(false).await;
    scene.check(&seen, "1");
    assert!(seen.iter().all(|seen| seen.method == "HEAD"), "{seen:#?}");
    scene.push("2").await;
    let seen = scene.run(true).await;
    // What was published before may be asked for, too.
    let old = scene.owners("1");
    let (before, now): (Vec<_>, Vec<_>) = seen.into_iter().partition(|seen| {
        old.keys().any(|(_, name)| name.starts_with("sha256:") && seen.path.ends_with(&**name))
    });
    for seen in before {
        let who = whose(seen.authorization.as_ref().unwrap()).unwrap();
        assert!(old.iter().any(|((_, name), owner)| seen.path.ends_with(&**name) && *owner == who));
    }
    scene.check(&now, "2");
}
