//! What breaks, and what comes of it.

use std::time::Duration;

use multiarch_e2e::proxy::{Answer, Operation, Rule};

use super::kind::Kind;

/// At which registry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Source,
    Target,
}

/// What comes of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ends {
    /// It passes: published, and right.
    Right,
    /// Published, and right, but without what refers to it.
    Unsigned,
    /// While it lasts one of these is said, and nothing that was published is taken back; mended, it ends right.
    Says(&'static [&'static str]),
    /// The same, and it is not waited for the end.
    Stays(&'static [&'static str]),
}

/// A line of the matrix.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) side: Side,
    pub(super) rule: Rule,
    pub(super) ends: Ends,
    /// How many requests more it may take than without trouble.
    pub(super) more: usize,
}

impl Case {
    /// Whether it waits until a limit of time has run out.
    pub(super) fn is_slow(&self) -> bool {
        let fault = self.rule.to_string();
        ["no answer", "silent", "deaf"].iter().any(|slow| fault.starts_with(slow))
    }
}

const UNREACHABLE: &[&str] = &["False/RegistryUnreachable"];
const LIMITED: &[&str] = &["False/RateLimited"];
const UNSUPPORTED: &[&str] = &["False/UnsupportedContent"];
const WAITING: &[&str] = &["Unknown/WaitingForPlatforms"];
const PUSH: &[&str] = &["False/PushFailed"];
const NO_REPOSITORY: &[&str] = &["False/RepositoryNotFound"];
const DENIED: &[&str] = &["False/AccessDenied"];

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [reading(), asking(), sending(), tagging(), looking()].concat()
}

fn case(kind: Kind, side: Side, rule: Rule, ends: Ends, more: usize) -> Case {
    Case { kind, side, rule, ends, more }
}

fn error(status: u16) -> Answer {
    Answer::Error(status, if status == 429 { "TOOMANYREQUESTS" } else { "UNKNOWN" })
}

/// What sources are read by.
fn reading() -> Vec<Case> {
    use Answer as A;
    use Ends::{Right, Says, Stays};
    use Kind::{Assemble, Choose, Copy, Mount};
    use Operation::{GetBlob, GetConfig, GetManifest, GetTag};
    let of = |kind, operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(kind, Side::Source, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    let at_home = |kind, operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(kind, Side::Target, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    vec![
        of(Copy, GetTag, A::Late(Duration::from_millis(300)))(|r| r, Right, 0),
        of(Copy, GetTag, error(500))(|r| r.first(2), Right, 4),
        of(Copy, GetTag, A::Status(502, vec![]))(|r| r.each(2), Right, 4),
        of(Copy, GetTag, error(429))(|r| r.first(2), Right, 4),
        of(Copy, GetTag, A::Later(429, 2))(|r| r.first(1), Right, 4),
        of(Copy, GetTag, A::LaterByDate(429, 3))(|r| r.first(1), Right, 4),
        of(Copy, GetTag, A::Later(503, 2))(|r| r.first(2), Right, 6),
        of(Copy, GetTag, A::Later(429, 3600))(|r| r, Stays(LIMITED), 0),
        of(Copy, GetTag, A::Cut)(|r| r.first(3), Right, 6),
        of(Copy, GetTag, A::CutAfter(40))(|r| r.first(2), Right, 4),
        of(Copy, GetTag, A::Never)(|r| r.first(1), Right, 4),
        of(Copy, GetTag, A::StallAfter(40))(|r| r.first(1), Right, 4),
        of(Copy, GetTag, A::Truncated(40))(|r| r, Says(UNSUPPORTED), 8),
        of(Copy, GetTag, A::Corrupt)(|r| r, Says(UNSUPPORTED), 8),
        of(Copy, GetTag, error(500))(|r| r, Says(UNREACHABLE), 16),
        of(Copy, GetTag, A::Cut)(|r| r, Says(UNREACHABLE), 16),
        of(Copy, GetTag, error(403))(|r| r, Says(WAITING), 8),
        of(Copy, GetTag, A::Error(404, "MANIFEST_UNKNOWN"))(|r| r.first(1), Says(WAITING), 6),
        at_home(Assemble, GetTag, error(500))(|r| r.first(2), Right, 4),
        at_home(Mount, GetTag, A::Cut)(|r| r.first(2), Right, 4),
        of(Choose, GetManifest, A::Status(502, vec![]))(|r| r.first(2), Right, 4),
        of(Choose, GetManifest, A::CutAfter(40))(|r| r.first(2), Right, 4),
        of(Choose, GetManifest, A::Later(429, 2))(|r| r.first(1), Right, 6),
        of(Choose, GetManifest, A::Corrupt)(|r| r, Says(UNSUPPORTED), 8),
        of(Choose, GetManifest, A::Error(404, "MANIFEST_UNKNOWN"))(
            |r| r.first(1),
            Says(WAITING),
            6,
        ),
        of(Copy, GetConfig, error(500))(|r| r.first(2), Right, 4),
        of(Copy, GetConfig, A::CutAfter(40))(|r| r.first(2), Right, 4),
        of(Copy, GetConfig, A::Later(503, 2))(|r| r.first(1), Right, 6),
        of(Copy, GetConfig, A::Never)(|r| r.first(1), Right, 6),
        of(Copy, GetConfig, A::Corrupt)(|r| r, Says(UNSUPPORTED), 8),
        of(Copy, GetBlob, A::CutAfter(100_000))(|r| r.first(3), Right, 16),
        of(Copy, GetBlob, A::Truncated(1_000))(|r| r, Says(UNSUPPORTED), 60),
        of(Copy, GetBlob, A::Corrupt)(|r| r, Says(UNSUPPORTED), 60),
        of(Copy, GetBlob, A::StallAfter(100_000))(|r| r.first(1), Right, 20),
        of(Copy, GetBlob, error(500))(|r| r.each(3).first(4), Right, 20),
        of(Copy, GetBlob, A::Later(503, 2))(|r| r.first(2), Right, 30),
        of(Copy, GetBlob, A::Error(404, "BLOB_UNKNOWN"))(|r| r, Says(WAITING), 40),
        of(Copy, GetBlob, A::Late(Duration::from_millis(300)))(|r| r, Right, 0),
    ]
}

/// What is asked of the target before anything is written, and of token endpoints.
fn asking() -> Vec<Case> {
    use Answer as A;
    use Ends::{Right, Says, Unsigned};
    use Kind::{Copy, Mount, Signed, Tokens};
    use Operation::{GetTag, HeadBlob, HeadTag, Mount as AskMount, PostUpload, Referrers, Token};
    let of = |kind, operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(kind, Side::Target, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    let far = |kind, operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(kind, Side::Source, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    vec![
        of(Copy, HeadTag, error(500))(|r| r.first(2), Right, 4),
        of(Copy, HeadTag, A::Later(429, 2))(|r| r.first(1), Right, 16),
        of(Copy, HeadTag, A::Cut)(|r| r.first(2), Right, 4),
        of(Copy, HeadTag, A::Never)(|r| r.first(1), Right, 16),
        of(Copy, HeadBlob, error(500))(|r| r.first(3), Right, 10),
        of(Copy, HeadBlob, A::Later(429, 2))(|r| r.first(1), Right, 30),
        of(Copy, HeadBlob, A::Cut)(|r| r.each(2).first(4), Right, 10),
        of(Copy, HeadBlob, A::Never)(|r| r.first(1), Right, 30),
        of(Copy, PostUpload, error(500))(|r| r.first(2), Right, 10),
        of(Copy, PostUpload, A::Later(503, 2))(|r| r.first(1), Right, 30),
        of(Copy, PostUpload, A::Later(429, 2))(|r| r.first(1), Right, 30),
        of(Copy, PostUpload, A::Cut)(|r| r.first(2), Right, 10),
        of(Copy, PostUpload, A::Cut)(|r| r, Says(NO_REPOSITORY), 80),
        of(Copy, PostUpload, A::Error(404, "NAME_UNKNOWN"))(|r| r, Says(NO_REPOSITORY), 50),
        of(Copy, PostUpload, A::Lost)(|r| r.first(1), Right, 10),
        of(Mount, AskMount, error(500))(|r| r.first(2), Right, 10),
        of(Mount, AskMount, A::Later(429, 2))(|r| r.first(1), Right, 30),
        of(Mount, AskMount, A::Cut)(|r| r.first(2), Right, 10),
        of(Mount, AskMount, A::Lost)(|r| r.first(1), Right, 10),
        of(Mount, AskMount, A::WithoutQuery)(|r| r, Right, 40),
        of(Mount, AskMount, A::Error(405, "UNSUPPORTED"))(|r| r, Right, 40),
        of(Mount, AskMount, A::Never)(|r| r.first(1), Right, 40),
        far(Signed, Referrers, error(500))(|r| r.first(2), Right, 10),
        far(Signed, Referrers, A::Later(429, 600))(|r| r, Unsigned, 10),
        far(Signed, Referrers, A::Cut)(|r| r, Unsigned, 20),
        of(Signed, GetTag, error(500))(|r| r.path("sha256-"), Unsigned, 30),
        of(Tokens, Token, error(500))(|r| r.first(2), Right, 10),
        of(Tokens, Token, A::Later(429, 2))(|r| r.first(1), Right, 20),
        far(Tokens, Token, A::Cut)(|r| r.first(2), Right, 20),
        far(Tokens, Token, A::CutAfter(10))(|r| r.first(1), Right, 20),
        far(Tokens, Token, A::Never)(|r| r.first(1), Right, 20),
        of(Tokens, Token, error(503))(|r| r, Says(UNREACHABLE), 50),
    ]
}

/// What is sent to the target, but for tags.
fn sending() -> Vec<Case> {
    use Answer as A;
    use Ends::{Right, Says};
    use Kind::Copy;
    use Operation::{PutBlob, PutManifest};
    let of = |operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(Copy, Side::Target, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    vec![
        of(PutBlob, A::CutUploadAfter(100_000))(|r| r.first(2), Right, 20),
        of(PutBlob, A::Lost)(|r| r.first(2), Right, 10),
        of(PutBlob, A::Lost)(|r| r.each(2), Right, 20),
        of(PutBlob, A::Cut)(|r| r.first(2), Right, 20),
        of(PutBlob, error(500))(|r| r.first(2), Right, 20),
        of(PutBlob, A::Later(429, 2))(|r| r.first(1), Right, 30),
        of(PutBlob, A::Later(503, 2))(|r| r.first(1), Right, 30),
        of(PutBlob, A::Never)(|r| r.first(1), Right, 20),
        of(PutBlob, A::StallUploadAfter(100_000))(|r| r.first(1), Right, 30),
        of(PutBlob, A::Status(413, vec![]))(|r| r.first(2), Right, 20),
        of(PutBlob, error(507))(
            |r| r,
            Says(&["False/PushFailed", "False/RegistryUnreachable"]),
            80,
        ),
        of(PutManifest, error(500))(|r| r.first(2), Right, 10),
        of(PutManifest, A::Status(502, vec![]))(|r| r.first(1), Right, 10),
        of(PutManifest, A::Later(429, 2))(|r| r.first(1), Right, 20),
        of(PutManifest, A::Later(503, 2))(|r| r.first(1), Right, 20),
        of(PutManifest, A::Cut)(|r| r.first(2), Right, 10),
        of(PutManifest, A::Lost)(|r| r.first(2), Right, 10),
        of(PutManifest, A::Never)(|r| r.first(1), Right, 20),
        of(PutManifest, error(500))(|r| r, Says(UNREACHABLE), 50),
    ]
}

/// Tags: the target's, its read back, those beside it, and their end.
fn tagging() -> Vec<Case> {
    use Answer as A;
    use Ends::{Right, Says};
    use Kind::{Assemble, Copy, Delete};
    use Operation::{DeleteTag, HeadTag, PutTag};
    let of = |kind, operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(kind, Side::Target, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    let index: fn(Rule) -> Rule = |rule| rule.path("/manifests/1");
    let latest: fn(Rule) -> Rule = |rule| rule.path("/manifests/latest");
    vec![
        of(Assemble, PutTag, error(500))(|r| r.path("/manifests/1").first(2), Right, 20),
        of(Assemble, PutTag, A::Status(502, vec![]))(|r| r.path("/manifests/1").first(1), Right, 6),
        of(Assemble, PutTag, A::Later(429, 2))(|r| r.path("/manifests/1").first(1), Right, 10),
        of(Assemble, PutTag, A::Cut)(|r| r.path("/manifests/1").first(2), Right, 10),
        of(Assemble, PutTag, A::Lost)(|r| r.path("/manifests/1").first(1), Right, 6),
        of(Copy, PutTag, A::Lost)(|r| r.first(2), Right, 6),
        of(Copy, PutTag, A::Never)(|r| r.path("/manifests/1").first(1), Right, 20),
        // One that lags on what the index lists.
        of(Assemble, PutTag, A::Error(400, "MANIFEST_BLOB_UNKNOWN"))(
            |r| r.path("/manifests/1").first(1),
            Right,
            20,
        ),
        of(Assemble, PutTag, A::Error(404, "MANIFEST_BLOB_UNKNOWN"))(
            |r| r.path("/manifests/1").first(2),
            Right,
            30,
        ),
        of(Assemble, PutTag, error(500))(index, Says(PUSH), 30),
        of(Assemble, PutTag, error(403))(index, Says(DENIED), 30),
        of(Assemble, PutTag, A::Error(404, "NAME_UNKNOWN"))(index, Says(NO_REPOSITORY), 30),
        of(Assemble, HeadTag, A::Error(404, "MANIFEST_UNKNOWN"))(
            |r| r.path("/manifests/1").after(PutTag).first(3),
            Right,
            10,
        ),
        of(Assemble, HeadTag, error(500))(|r| r.after(PutTag).first(2), Right, 10),
        of(Assemble, HeadTag, A::Later(429, 2))(|r| r.after(PutTag).first(1), Right, 10),
        of(Assemble, HeadTag, A::Cut)(|r| r.after(PutTag).first(3), Right, 8),
        of(Assemble, HeadTag, A::Never)(|r| r.after(PutTag).first(1), Right, 10),
        of(Assemble, HeadTag, error(500))(|r| r.after(PutTag), Says(&["Unknown/ReadingBack"]), 40),
        of(Assemble, PutTag, error(500))(|r| r.path("/manifests/latest").first(2), Right, 20),
        of(Assemble, PutTag, A::Lost)(|r| r.path("/manifests/latest").first(1), Right, 6),
        of(Assemble, PutTag, A::Later(429, 2))(|r| r.path("/manifests/latest").first(1), Right, 20),
        of(Assemble, PutTag, error(403))(latest, Says(DENIED), 30),
        of(Delete, DeleteTag, error(500))(|r| r.first(2), Right, 10),
        of(Delete, DeleteTag, A::Later(429, 2))(|r| r.first(1), Right, 10),
        of(Delete, DeleteTag, A::Lost)(|r| r.first(1), Right, 10),
        of(Delete, DeleteTag, A::Cut)(|r| r.first(1), Right, 10),
        of(Delete, DeleteTag, A::Error(405, "UNSUPPORTED"))(|r| r, Says(&[]), 0),
        of(Delete, DeleteTag, error(500))(|r| r, Says(&[]), 20),
    ]
}

/// Looks at what was published.
fn looking() -> Vec<Case> {
    use Answer as A;
    use Ends::{Right, Says};
    use Kind::{Idle, Repair};
    use Operation::{GetBlob, GetManifest, HeadManifest, HeadTag, PostUpload, PutManifest};
    let of = |kind, side, operation, answer| {
        move |rule: fn(Rule) -> Rule, ends, more| {
            case(kind, side, rule(Rule::of(operation, answer)), ends, more)
        }
    };
    let (source, target) = (Side::Source, Side::Target);
    vec![
        of(Idle, source, HeadTag, error(500))(|r| r.first(2), Right, 4),
        of(Idle, source, HeadTag, A::Cut)(|r| r.first(2), Right, 4),
        of(Idle, source, HeadTag, A::Never)(|r| r, Says(UNREACHABLE), 30),
        of(Idle, source, HeadTag, error(503))(|r| r, Says(UNREACHABLE), 30),
        of(Idle, source, HeadTag, error(403))(|r| r, Says(DENIED), 30),
        of(Idle, source, HeadTag, A::Later(429, 3))(|r| r, Says(LIMITED), 30),
        of(Idle, source, HeadTag, A::Status(404, vec![]))(|r| r.first(1), Right, 30),
        of(Idle, target, HeadTag, error(500))(|r| r.first(2), Right, 4),
        of(Idle, target, HeadTag, error(500))(|r| r, Says(UNREACHABLE), 30),
        of(Idle, target, HeadTag, A::LaterByDate(429, 3))(|r| r, Says(LIMITED), 30),
        of(Repair, target, HeadManifest, error(500))(|r| r.first(2), Right, 10),
        of(Repair, source, GetManifest, error(500))(|r| r.first(2), Right, 10),
        of(Repair, source, GetManifest, A::Corrupt)(|r| r, Says(&["False/ChildMissing"]), 60),
        of(Repair, target, PutManifest, A::Lost)(|r| r.first(1), Right, 10),
        of(Repair, target, PutManifest, error(500))(|r| r, Says(&["False/ChildMissing"]), 60),
        of(Repair, target, PostUpload, error(500))(|r| r.first(2), Right, 10),
        of(Repair, source, GetBlob, error(500))(|r| r.first(2), Right, 10),
    ]
}
