//! A request as it went over the wire, and what of a registry's work it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, header},
};

/// What a request asks of a registry.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Operation {
    /// Whether there is such a tag, and what it names.
    HeadTag,
    /// What a tag names, whole.
    GetTag,
    /// An index, or what is mirrored, under a tag.
    PutTag,
    /// The end of a tag.
    DeleteTag,
    /// Whether there is a manifest.
    HeadManifest,
    /// A manifest by its digest.
    GetManifest,
    /// A manifest under its digest.
    PutManifest,
    /// The end of a manifest.
    DeleteManifest,
    /// Whether there is a blob.
    HeadBlob,
    /// A blob that is a config.
    GetConfig,
    /// Any other blob.
    GetBlob,
    /// A mount from another repository.
    Mount,
    /// The start of an upload.
    PostUpload,
    /// How far an upload is.
    GetUpload,
    /// A part of a blob.
    PatchUpload,
    /// A blob, or the end of one.
    PutBlob,
    /// The end of an upload without a blob.
    CancelUpload,
    /// What refers to a manifest.
    Referrers,
    /// A token.
    Token,
    /// Anything else.
    Other,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HeadTag => "HEAD tag",
            Self::GetTag => "GET tag",
            Self::PutTag => "PUT tag",
            Self::DeleteTag => "DELETE tag",
            Self::HeadManifest => "HEAD manifest",
            Self::GetManifest => "GET manifest",
            Self::PutManifest => "PUT manifest",
            Self::DeleteManifest => "DELETE manifest",
            Self::HeadBlob => "HEAD blob",
            Self::GetConfig => "GET config",
            Self::GetBlob => "GET blob",
            Self::Mount => "mount",
            Self::PostUpload => "POST upload",
            Self::GetUpload => "GET upload",
            Self::PatchUpload => "PATCH upload",
            Self::PutBlob => "PUT blob",
            Self::CancelUpload => "DELETE upload",
            Self::Referrers => "referrers",
            Self::Token => "token",
            Self::Other => "other",
        })
    }
}

/// A request as it went over the wire, and the status that it was answered with (0 while there is no answer).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What follows the path after `?`, empty where nothing does.
    pub query: String,
    /// Its Authorization header.
    pub authorization: Option<String>,
    /// The length that it gives of its body.
    pub length: u64,
    /// What it asks for.
    pub operation: Operation,
    /// When it came.
    pub at: Instant,
    /// Whether a rule answered it.
    pub disturbed: bool,
    /// The status of the answer.
    pub status: u16,
    /// The path of the upload that the answer has begun, empty where it has not.
    pub upload: String,
}

impl Seen {
    /// What `request` is; `configs` are the digests of blobs that are configs.
    pub(super) fn of(request: &Request, configs: &BTreeSet<String>) -> Self {
        let seen = Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            authorization: text(request.headers(), &header::AUTHORIZATION),
            length: text(request.headers(), &header::CONTENT_LENGTH)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            operation: Operation::Other,
            at: Instant::now(),
            disturbed: false,
            status: 0,
            upload: String::new(),
        };
        Self { operation: seen.asks(configs), ..seen }
    }

    fn asks(&self, configs: &BTreeSet<String>) -> Operation {
        use Operation as O;
        let method = self.method.as_str();
        if let Some((_, reference)) = self.path.rsplit_once("/manifests/") {
            return match (method, reference.contains(':')) {
                ("HEAD", false) => O::HeadTag,
                ("GET", false) => O::GetTag,
                ("PUT", false) => O::PutTag,
                ("DELETE", false) => O::DeleteTag,
                ("HEAD", true) => O::HeadManifest,
                ("GET", true) => O::GetManifest,
                ("PUT", true) => O::PutManifest,
                ("DELETE", true) => O::DeleteManifest,
                _ => O::Other,
            };
        }
        if self.path.contains("/blobs/uploads/") {
            return match method {
                "POST" if self.query.contains("mount=") => O::Mount,
                "POST" => O::PostUpload,
                "GET" => O::GetUpload,
                "PATCH" => O::PatchUpload,
                "PUT" => O::PutBlob,
                "DELETE" => O::CancelUpload,
                _ => O::Other,
            };
        }
        match (method, self.path.contains("/blobs/"), self.path.contains("/referrers/")) {
            ("HEAD", true, _) => O::HeadBlob,
            ("GET", true, _) if configs.contains(&self.blob()) => O::GetConfig,
            ("GET", true, _) => O::GetBlob,
            ("GET", _, true) => O::Referrers,
            ("GET" | "POST", ..) if self.path == super::tokens::PATH => O::Token,
            _ => O::Other,
        }
    }

    /// Whether it asks for an upload, which a mount is when it is refused.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.method == "POST" && self.path.ends_with("/blobs/uploads/")
    }

    /// Whether it asks for a mount.
    #[must_use]
    pub fn is_mount(&self) -> bool {
        self.operation == Operation::Mount
    }

    /// The digest of the blob that it reads, looks for, or sends to its end; empty for anything else.
    #[must_use]
    pub fn blob(&self) -> String {
        let of_upload = self.query.split('&').find_map(|pair| pair.strip_prefix("digest="));
        let of_blob = self.path.split_once("/blobs/sha256:").map(|(_, encoded)| encoded);
        match (of_upload, of_blob) {
            (Some(digest), _) => digest.replace("%3A", ":"),
            (None, Some(encoded)) => format!("sha256:{encoded}"),
            (None, None) => String::new(),
        }
    }

    /// Whether it sends a blob.
    #[must_use]
    pub fn is_upload(&self) -> bool {
        self.operation == Operation::PutBlob
    }

    /// Whether it writes a manifest, by digest or under a tag.
    #[must_use]
    pub fn is_manifest_put(&self) -> bool {
        matches!(self.operation, Operation::PutManifest | Operation::PutTag)
    }
}

/// How often each operation was asked for.
#[must_use]
pub fn counts(seen: &[Seen]) -> BTreeMap<Operation, usize> {
    let mut counts = BTreeMap::new();
    for seen in seen {
        *counts.entry(seen.operation).or_default() += 1;
    }
    counts
}

/// The most requests of any second.
#[must_use]
pub fn peak(seen: &[Seen]) -> usize {
    let mut times: Vec<_> = seen.iter().map(|seen| seen.at).collect();
    times.sort();
    let mut first = 0;
    let mut most = 0;
    for (last, at) in times.iter().enumerate() {
        while *at - times[first] >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// The uploads that were begun, and neither came to an end nor were given up, as far as the answers tell.
#[must_use]
pub fn open_uploads(seen: &[Seen]) -> usize {
    let is_end = |seen: &&Seen| {
        (seen.operation == Operation::PutBlob && seen.status == 201)
            || (seen.operation == Operation::CancelUpload && matches!(seen.status, 200..300 | 404))
    };
    let ended: BTreeSet<_> = seen.iter().filter(is_end).map(|seen| seen.path.as_str()).collect();
    // One without an answer may have begun one.
    let begun = seen.iter().filter(|seen| seen.is_start() && matches!(seen.status, 0 | 202));
    begun.filter(|seen| !ended.contains(seen.upload.as_str())).count()
}

pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, uri: &str) -> Seen {
        let request = Request::builder().method(method).uri(uri).body(axum::body::Body::empty());
        let configs = BTreeSet::from(["sha256:c0".to_owned()]);
        Seen::of(&request.unwrap_or_default(), &configs)
    }

    #[test]
    fn every_operation_is_told_from_the_others() {
        use Operation as O;
        let cases = [
            ("HEAD", "/v2/team/app/manifests/1", O::HeadTag),
            ("GET", "/v2/team/app/manifests/1", O::GetTag),
            ("PUT", "/v2/team/app/manifests/1", O::PutTag),
            ("DELETE", "/v2/team/app/manifests/1", O::DeleteTag),
            ("HEAD", "/v2/team/app/manifests/sha256:a", O::HeadManifest),
            ("GET", "/v2/team/app/manifests/sha256:a", O::GetManifest),
            ("PUT", "/v2/team/app/manifests/sha256:a", O::PutManifest),
            ("DELETE", "/v2/team/app/manifests/sha256:a", O::DeleteManifest),
            ("HEAD", "/v2/team/app/blobs/sha256:a", O::HeadBlob),
            ("GET", "/v2/team/app/blobs/sha256:a", O::GetBlob),
            ("GET", "/v2/team/app/blobs/sha256:c0", O::GetConfig),
            ("POST", "/v2/team/app/blobs/uploads/", O::PostUpload),
            ("POST", "/v2/team/app/blobs/uploads/?mount=sha256:a&from=b", O::Mount),
            ("GET", "/v2/team/app/blobs/uploads/1?_state=x", O::GetUpload),
            ("PATCH", "/v2/team/app/blobs/uploads/1?_state=x", O::PatchUpload),
            ("PUT", "/v2/team/app/blobs/uploads/1?digest=sha256:a", O::PutBlob),
            ("DELETE", "/v2/team/app/blobs/uploads/1", O::CancelUpload),
            ("GET", "/v2/team/app/referrers/sha256:a", O::Referrers),
            ("GET", "/token?scope=x", O::Token),
            ("GET", "/v2/", O::Other),
        ];
        for (method, uri, operation) in cases {
            assert_eq!(of(method, uri).operation, operation, "{method} {uri}");
        }
    }

    #[test]
    fn the_peak_is_of_one_second() {
        let start = Instant::now();
        let at = |millis| Seen { at: start + Duration::from_millis(millis), ..of("GET", "/v2/") };
        let seen = [0, 500, 999, 1_000, 1_400, 3_000].map(at);
        assert_eq!(peak(&seen), 4);
        assert_eq!(peak(&[]), 0);
    }

    #[test]
    fn an_upload_is_open_until_it_came_to_an_end_or_was_given_up() {
        let start = |status, upload: &str| Seen {
            status,
            upload: upload.into(),
            ..of("POST", "/v2/a/blobs/uploads/")
        };
        let end = |method, path, status| Seen { status, ..of(method, path) };
        let (one, two, three) =
            ("/v2/a/blobs/uploads/1", "/v2/a/blobs/uploads/2", "/v2/a/blobs/uploads/3");
        let seen = vec![start(202, one), start(202, two), start(202, three), start(0, "")];
        assert_eq!(open_uploads(&seen), 4);
        let more = [end("PUT", one, 201), end("DELETE", two, 204), end("PUT", three, 0)];
        assert_eq!(open_uploads(&[seen, more.to_vec()].concat()), 2);
    }
}
