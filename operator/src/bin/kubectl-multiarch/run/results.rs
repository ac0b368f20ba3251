//! What became of images, in the words of a status.

use multiarch_crds::v1alpha1::SourceState;
use multiarch_operator::{
    reconcile::Amounts,
    registry::{Copied, dry_run},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    exit::Exit,
    output::{Columns, Table, bytes, count},
};

/// What became of each image that `publish`, `plan`, `mirror` or `load` was asked for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    /// In the order in which they were asked for.
    pub(crate) images: Vec<ImageResult>,
}

/// What became of one image.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageResult {
    /// Where it was asked for: a file and the object in it, a line of a list, an argument.
    pub(crate) name: String,
    /// The tag that is published; empty where it cannot be told.
    pub(crate) target: String,
    /// What became of it, in one word.
    pub(crate) outcome: Outcome,
    /// Why, in one word: the reason of the condition Ready.
    pub(crate) reason: String,
    /// The same for people.
    pub(crate) message: String,
    /// The digest that the tag names, or would name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    /// The tags that name it, or would.
    pub(crate) tags: Vec<String>,
    /// Its images.
    pub(crate) platforms: Vec<PlatformResult>,
    /// What each source answered.
    pub(crate) sources: Vec<SourceResult>,
    /// What was sent; all zero in a plan.
    pub(crate) sent: Sent,
    /// What would be pushed; in a plan only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<Pushes>,
}

/// What became of an image, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum Outcome {
    /// It was pushed, and read back.
    Published,
    /// All was as it should be.
    Unchanged,
    /// It would be pushed.
    WouldPublish,
    /// Nothing failed, and something that it must have is not there.
    NotCovered,
    /// It failed, or is refused.
    Failed,
    /// It was left alone, as it says.
    Skipped,
    /// The command was told to stop before it was done with it.
    Interrupted,
}

/// An image of an index.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlatformResult {
    /// `linux/arm64`
    pub(crate) platform: String,
    /// The digest of its manifest.
    pub(crate) digest: String,
    /// The source that it came from; empty where it was there.
    pub(crate) source: String,
}

/// What a source answered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceResult {
    /// Its name.
    pub(crate) name: String,
    /// What it names.
    pub(crate) image: String,
    /// How it answered, as in a status.
    pub(crate) state: SourceState,
    /// The digest that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// What was sent for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sent {
    /// Blobs that were sent.
    pub(crate) blobs: usize,
    /// Their bytes, those that had to be sent again included.
    pub(crate) bytes: u64,
    /// Blobs that the registry took from another repository of its own.
    pub(crate) mounted: usize,
    /// Blobs that were there.
    pub(crate) present: usize,
    /// Manifests that were copied.
    pub(crate) manifests: usize,
}

/// What would be pushed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pushes {
    /// Manifests that are not there yet, in the order in which they would be pushed.
    pub(crate) manifests: Vec<ManifestPush>,
    /// Blobs of the images that would be copied.
    pub(crate) blobs: Vec<BlobPush>,
    /// Bytes of blobs that would be sent, if the registry takes all mounts.
    pub(crate) bytes: u64,
}

/// A manifest that would be pushed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestPush {
    /// Under which tag, or as which digest.
    pub(crate) reference: String,
    /// Its digest.
    pub(crate) digest: String,
    /// Its media type.
    pub(crate) media_type: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// A blob of an image that would be copied.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlobPush {
    /// Its digest.
    pub(crate) digest: String,
    /// In bytes.
    pub(crate) size: u64,
    /// What would be done.
    pub(crate) how: How,
}

/// What would be done for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) enum How {
    /// Nothing: it is there.
    Present,
    /// The registry would take it from another repository of its own, or it would be sent.
    Mount,
    /// Its bytes would be sent.
    Send,
}

impl Outcome {
    /// In words for people.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unchanged => "unchanged",
            Self::WouldPublish => "would be published",
            Self::NotCovered => "not covered",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Published | Self::Unchanged | Self::Skipped => Exit::Fine,
            Self::WouldPublish | Self::NotCovered => Exit::Differs,
            Self::Failed => Exit::Failed,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

impl Results {
    /// How the command ends: the worst of all.
    pub(crate) fn exit(&self) -> Exit {
        self.images.iter().map(|image| image.outcome.exit()).max().unwrap_or(Exit::Fine)
    }
}

impl Sent {
    pub(crate) fn of(amounts: &Amounts) -> Self {
        Self {
            blobs: amounts.uploaded.blobs,
            bytes: amounts.sent,
            mounted: amounts.mounted.blobs,
            present: amounts.present.blobs,
            manifests: amounts.manifests.done,
        }
    }

    /// For people; empty where nothing was.
    pub(crate) fn words(&self) -> String {
        let mut words = Vec::new();
        if self.bytes > 0 {
            words.push(format!("{} sent", bytes(self.bytes)));
        }
        if self.mounted > 0 {
            words.push(format!("{} mounted", count(self.mounted, "blob")));
        }
        words.join(", ")
    }
}

impl Pushes {
    pub(crate) fn of(pushes: Vec<dry_run::Push>, blobs: Vec<dry_run::Blob>) -> Self {
        let manifests = pushes.into_iter().map(|push| ManifestPush {
            reference: push.reference.to_string(),
            digest: push.digest.to_string(),
            media_type: push.media_type,
            size: push.size,
        });
        let sent = blobs.iter().filter(|blob| blob.how == Copied::Uploaded);
        Self {
            bytes: sent.map(|blob| blob.size).sum(),
            manifests: manifests.collect(),
            blobs: blobs
                .into_iter()
                .map(|blob| BlobPush {
                    digest: blob.digest.to_string(),
                    size: blob.size,
                    how: match blob.how {
                        Copied::Present => How::Present,
                        Copied::Mounted => How::Mount,
                        Copied::Uploaded => How::Send,
                    },
                })
                .collect(),
        }
    }

    fn words(&self) -> String {
        let of = |how| self.blobs.iter().filter(move |blob| blob.how == how).count();
        let mut words = vec![count(self.manifests.len(), "manifest")];
        for (how, done) in
            [(How::Send, "to send"), (How::Mount, "to mount"), (How::Present, "there")]
        {
            let (blobs, of) = (of(how), if how == How::Send { self.bytes } else { 0 });
            if blobs > 0 && of > 0 {
                words.push(format!("{} {done} ({})", count(blobs, "blob"), bytes(of)));
            } else if blobs > 0 {
                words.push(format!("{} {done}", count(blobs, "blob")));
            }
        }
        words.join(", ")
    }
}

impl ImageResult {
    /// The message, where that says more than the outcome does.
    fn remark(&self) -> Option<String> {
        let is_worth_it = !matches!(self.outcome, Outcome::Published | Outcome::Unchanged)
            || self.reason != "Succeeded";
        let said = format!("{}: {}: {}", self.name, self.reason, self.message);
        (is_worth_it && self.outcome != Outcome::WouldPublish).then_some(said)
    }

    /// What would be pushed, for people.
    fn planned(&self) -> Option<String> {
        let plan = self.plan.as_ref().filter(|_| self.outcome == Outcome::WouldPublish)?;
        let media_type = self.media_type.as_deref().unwrap_or_default();
        let tags = self.tags.join(", ");
        Some(format!("{}: {media_type}; tags {tags}; {}", self.target, plan.words()))
    }
}

impl Table for Results {
    fn table(&self) -> String {
        let mut columns = Columns::new(["TARGET", "OUTCOME", "PLATFORMS", "DIGEST", "SENT"]);
        for image in &self.images {
            let target = if image.target.is_empty() { &image.name } else { &image.target };
            let platforms: Vec<_> =
                image.platforms.iter().map(|image| image.platform.as_str()).collect();
            columns.row([
                target.as_str(),
                image.outcome.words(),
                &platforms.join(","),
                image.digest.as_deref().unwrap_or_default(),
                &image.sent.words(),
            ]);
        }
        let remarks = self.images.iter().filter_map(|it| it.remark().or_else(|| it.planned()));
        let remarks: Vec<_> = remarks.collect();
        let gap = if remarks.is_empty() { "" } else { "\n" };
        let lines: String = remarks.into_iter().map(|remark| remark + "\n").collect();
        format!("{}{gap}{lines}", columns.text())
    }
}
