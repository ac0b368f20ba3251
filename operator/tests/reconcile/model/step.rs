//! What may happen to two objects, their sources and their registry: the steps of a history.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use multiarch_crds::v1alpha1::{Attestations, PublishPolicy, RemovalPolicy, TagPolicy};
use multiarch_operator::registry::{RegistryError, Request, memory::Store};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
};

use super::{REPOSITORIES, TAGS};
use crate::world::*;

/// One of the two objects.
pub(super) type Who = usize;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Push(usize, u8),
    Attest(usize, u8),
    /// A source's tag is gone.
    Clean(usize),
    /// A source's image is gone, with its tags.
    Lose(usize),
    /// Something else writes a tag of the target's repository.
    Move(&'static str, Vec<&'static str>),
    /// Something else deletes one.
    Delete(&'static str),
    /// A published image of that number is gone from the target's repository, or the index.
    Collect(Who, usize),
    Break(Which, How, Option<u8>),
    /// No tag can be overwritten.
    Protect,
    /// The tag of the first object shows what is pushed only after so many looks.
    Lag(u8),
    /// Something else writes the tag of an object again and again.
    Fight(Who),
    Mend,
    Edit(Who, Edit),
    Request(Who),
    Restart,
    /// The operator is killed while it works on an object, after so many requests.
    Kill(Who, u8),
    Later(i64),
    /// Nothing else happens until all is at rest.
    Rest,
    /// All is mended, and ends well.
    Calm,
}

/// What is changed in a spec.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Tags(TagPolicy),
    Removal(RemovalPolicy),
    Publish(PublishPolicy),
    Attestations(Attestations),
    Optional(usize, bool),
    Drop(usize),
    Add(usize),
    Annotate(u8),
    Say(usize, u8),
    Beside(Vec<&'static str>),
    PlatformTags(bool),
    Match(bool),
    Require(bool),
    /// To another tag, or back.
    Retarget(bool),
}

/// The requests that a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Source(usize),
    /// Looks at tags of the target's repository.
    Looks,
    TagWrites,
    ManifestWrites,
    Manifests,
    /// Blobs that are read.
    Blobs,
    Uploads,
    Everything,
}

/// What becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Unavailable,
    RateLimited,
    Denied,
    Unauthorized,
    Unreachable,
    TooSlow,
    /// No answer before the run's own time is over. A client does not wait that long for ever.
    Silent,
    /// Writes are done, and nobody is told.
    Lost,
}

/// A fault at work.
#[derive(Clone)]
pub(super) struct Fault {
    which: Which,
    how: How,
    /// How often yet; without one, until it is mended.
    left: Option<Arc<AtomicUsize>>,
}

impl Fault {
    pub(super) fn new(which: Which, how: How, times: Option<u8>) -> Self {
        let times = times.or((how == How::Silent).then_some(1));
        let left = times.map(|times| Arc::new(AtomicUsize::new(times.into())));
        Self { which, how, left }
    }

    /// Whether it is about `request`, and not over.
    fn strikes(&self, request: &Request) -> bool {
        let take = |left: usize| left.checked_sub(1);
        self.which.is(request)
            && self.left.as_ref().is_none_or(|left| {
                left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
            })
    }

    pub(super) fn install(&self, store: &Store) {
        let (fault, how) = (self.clone(), self.how);
        let when = move |request: &Request| fault.strikes(request);
        match how {
            How::Silent => store.hang(when),
            How::Lost => store.lose(when, move |request| how.error(request)),
            _ => store.fail(when, move |request| how.error(request)),
        }
    }
}

impl Which {
    fn is(self, request: &Request) -> bool {
        let Request { method, noun, of } = request;
        let by_digest = of.contains('@');
        let here = of.split([':', '@']).next() == Some(PATH);
        let source = |(path, tag, _): &(&str, &str, &str)| *of == format!("{path}:{tag}");
        match self {
            Self::Source(at) => source(&REPOSITORIES[at]),
            Self::Looks => {
                let is_source = REPOSITORIES.iter().any(source);
                *noun == "manifest" && *method != "PUT" && here && !by_digest && !is_source
            }
            Self::TagWrites => *noun == "manifest" && *method == "PUT" && !by_digest,
            Self::ManifestWrites => *noun == "manifest" && *method == "PUT" && by_digest,
            Self::Manifests => *noun == "manifest" && *method != "PUT" && by_digest,
            Self::Blobs => *noun == "blob" && *method != "PUT",
            Self::Uploads => matches!(*method, "POST" | "PUT") && *noun != "manifest",
            Self::Everything => true,
        }
    }
}

impl How {
    fn error(self, request: &Request) -> RegistryError {
        let request = request.clone();
        match self {
            Self::Unavailable => unavailable(&request),
            Self::RateLimited => rate_limited(&request),
            Self::Denied => denied(&request),
            Self::Unauthorized => unauthorized(&request),
            Self::TooSlow => {
                let (host, limit) = (HOST.into(), "no answer within 60s".into());
                RegistryError::TooSlow { host, request, limit }
            }
            Self::Silent | Self::Unreachable | Self::Lost => {
                let (host, why) = (HOST.into(), "the connection broke".into());
                RegistryError::Unreachable { host, request, why, sent: false }
            }
        }
    }
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let at = || 0..REPOSITORIES.len();
    let who = || 0..2_usize;
    let foreign = vec!["linux/amd64", "linux/arm64", "linux/riscv64"];
    prop_oneof![
        8 => (at(), 0..4_u8).prop_map(|(at, salt)| Step::Push(at, salt)),
        2 => (at(), 0..4_u8).prop_map(|(at, salt)| Step::Attest(at, salt)),
        3 => at().prop_map(Step::Clean),
        2 => at().prop_map(Step::Lose),
        4 => (select(&TAGS[..]), subsequence(foreign, 1..=3)).prop_map(|(t, p)| Step::Move(t, p)),
        2 => select(&TAGS[..]).prop_map(Step::Delete),
        2 => (who(), 0..4_usize).prop_map(|(who, n)| Step::Collect(who, n)),
        8 => (which(), how(), prop_oneof![Just(None), (1..4_u8).prop_map(Some)])
            .prop_map(|(which, how, times)| Step::Break(which, how, times)),
        1 => Just(Step::Protect),
        2 => (1..12_u8).prop_map(Step::Lag),
        1 => who().prop_map(Step::Fight),
        6 => Just(Step::Mend),
        10 => (who(), edit()).prop_map(|(who, edit)| Step::Edit(who, edit)),
        4 => who().prop_map(Step::Request),
        2 => Just(Step::Restart),
        6 => (who(), 0..40_u8).prop_map(|(who, requests)| Step::Kill(who, requests)),
        12 => select(&[1_i64, 3, 10, 70][..]).prop_map(Step::Later),
        1 => Just(Step::Rest),
        2 => Just(Step::Calm),
    ]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        4 => (0..REPOSITORIES.len()).prop_map(Which::Source),
        3 => Just(Which::Looks),
        3 => Just(Which::TagWrites),
        2 => Just(Which::ManifestWrites),
        2 => Just(Which::Manifests),
        2 => Just(Which::Blobs),
        2 => Just(Which::Uploads),
        1 => Just(Which::Everything),
    ]
}

fn how() -> impl Strategy<Value = How> {
    select(vec![
        How::Unavailable,
        How::RateLimited,
        How::Denied,
        How::Unauthorized,
        How::Unreachable,
        How::TooSlow,
        How::Silent,
        How::Lost,
    ])
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = || 0..REPOSITORIES.len();
    let tags = [TagPolicy::Enforce, TagPolicy::Yield, TagPolicy::Immutable];
    let removals = [RemovalPolicy::Refuse, RemovalPolicy::Retain, RemovalPolicy::Remove];
    let publish = [PublishPolicy::Complete, PublishPolicy::Partial];
    prop_oneof![
        4 => select(tags.to_vec()).prop_map(Edit::Tags),
        2 => select(removals.to_vec()).prop_map(Edit::Removal),
        2 => select(publish.to_vec()).prop_map(Edit::Publish),
        1 => select(vec![Attestations::Keep, Attestations::Drop]).prop_map(Edit::Attestations),
        1 => (at(), any::<bool>()).prop_map(|(at, is)| Edit::Optional(at, is)),
        1 => at().prop_map(Edit::Drop),
        3 => at().prop_map(Edit::Add),
        2 => (0..3_u8).prop_map(Edit::Annotate),
        1 => (at(), 0..3_u8).prop_map(|(at, n)| Edit::Say(at, n)),
        3 => subsequence(vec!["latest", "1"], 0..=2).prop_map(Edit::Beside),
        2 => any::<bool>().prop_map(Edit::PlatformTags),
        1 => any::<bool>().prop_map(Edit::Match),
        1 => any::<bool>().prop_map(Edit::Require),
        1 => any::<bool>().prop_map(Edit::Retarget),
    ]
}
