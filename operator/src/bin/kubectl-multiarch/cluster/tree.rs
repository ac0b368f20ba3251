//! `kubectl multiarch tree`: an object with its sources, index and images, or a set with its objects.

mod set;

use anyhow::Result;
use multiarch_crds::v1alpha1::{MultiArchImage, PublishedPlatform, SourceState};
use schemars::JsonSchema;
use serde::Serialize;

use self::set::SetTree;
use super::{Flags, name::Name, object::Object, state::State};
use crate::{
    Common,
    exit::{self, Exit},
    output::{Table, plain},
};

/// Show an object with its sources, its index and the images in it, or a set with its objects.
///
/// All of it is what the object's status says; no registry is asked (`inspect` asks one). Of a set each object is one line, with what it
/// says where it is not ready; `-o json` has all of each.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The objects; mais/NAME for a set.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<Name>,
    #[command(flatten)]
    cluster: Flags,
}

const EXAMPLES: &str = "Examples:
  # What is published, and where each image of it came from?
  kubectl multiarch tree app

  # What became of each image of a list?
  kubectl multiarch tree mais/k3s";

/// Objects and sets with all that belongs to them.
#[derive(Debug, JsonSchema, Serialize)]
#[schemars(rename = "Trees")]
pub(crate) struct Report {
    /// Each object.
    items: Vec<Tree>,
    /// Each set.
    sets: Vec<SetTree>,
}

/// An object with all that belongs to it.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tree {
    namespace: String,
    name: String,
    target: String,
    ready: String,
    reason: String,
    sources: Vec<Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<Index>,
    tags: Vec<Tag>,
    /// What it says, where it is not fine.
    #[serde(skip)]
    says: Option<String>,
}

/// A source, and what became of it.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    name: String,
    image: String,
    /// The platforms that are declared for it.
    platforms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<SourceState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// What is published.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    images: Vec<PublishedPlatform>,
}

/// A tag of the target's repository.
#[derive(Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    name: String,
    /// It was not seen yet to name what it is to name.
    pending: bool,
}

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let cluster = args.cluster.connect().await?;
    let (mut items, mut sets, mut ended) = (Vec::new(), Vec::new(), Exit::Fine);
    for name in &args.names {
        let shown = match cluster.get(name).await {
            Ok(Object::Image(image)) => {
                items.push(Tree::of(&image));
                Ok(())
            }
            Ok(Object::Set(set)) => set::owned(&cluster, &set).await.map(|objects| {
                sets.push(SetTree::of(&set, &objects));
            }),
            Err(error) => Err(error),
        };
        // The others are shown all the same.
        if let Err(error) = shown {
            ended = exit::failed(&error);
        }
    }
    if !items.is_empty() || !sets.is_empty() {
        common.output.print(&Report { items, sets })?;
    }
    Ok(ended)
}

impl Tree {
    fn of(object: &MultiArchImage) -> Self {
        let (state, status) = (State::of(object), object.status.clone().unwrap_or_default());
        let sources = object.spec.sources.iter().map(|source| {
            let became = status.sources.iter().find(|became| became.name == source.name);
            Source {
                name: source.name.clone(),
                image: source.image.clone(),
                platforms: source.platforms.clone(),
                state: became.map(|it| it.state),
                digest: became.and_then(|it| it.digest.clone()),
                message: became.and_then(|it| it.message.clone()),
            }
        });
        let index = status.reference.clone().map(|reference| Index {
            reference,
            media_type: status.media_type.clone(),
            images: status.platforms.clone(),
        });
        let kept = status.tags.iter().map(|name| (name, false));
        let pending = status.pending_tags.iter().map(|tag| (&tag.name, true));
        let mut tags: Vec<Tag> = Vec::new();
        for (name, pending) in pending.chain(kept) {
            if !tags.iter().any(|tag| tag.name == *name) {
                tags.push(Tag { name: name.clone(), pending });
            }
        }
        tags.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            says: state.says(),
            namespace: state.namespace,
            name: state.name,
            target: state.target,
            ready: state.ready,
            reason: state.reason,
            sources: sources.collect(),
            index,
            tags,
        }
    }

    fn branch(&self) -> Branch {
        let head = format!(
            "MultiArchImage {}/{}  Ready {} {}",
            self.namespace, self.name, self.ready, self.reason
        );
        let sources = self.sources.iter().map(Source::branch).collect();
        let mut branches = vec![Branch::new("sources", sources)];
        match &self.index {
            Some(index) => branches.push(index.branch()),
            None => branches.push(Branch::new(&format!("{}  not published", self.target), vec![])),
        }
        let tag = |tag: &Tag| {
            let pending = if tag.pending { "  pending" } else { "" };
            Branch::new(&format!("{}{pending}", tag.name), Vec::new())
        };
        if !self.tags.is_empty() {
            branches.push(Branch::new("tags", self.tags.iter().map(tag).collect()));
        }
        Branch::new(&head, branches)
    }
}

impl Source {
    fn branch(&self) -> Branch {
        let mut words = vec![self.name.clone(), self.image.clone()];
        if !self.platforms.is_empty() {
            words.push(self.platforms.join(","));
        }
        words.push(self.state.map_or_else(|| "not looked at".into(), |state| format!("{state:?}")));
        words.extend(self.digest.clone());
        let told = self.message.iter().map(|message| Branch::new(message, Vec::new()));
        Branch::new(&words.join("  "), told.collect())
    }
}

impl Index {
    fn branch(&self) -> Branch {
        let image = |image: &PublishedPlatform| {
            let from = if image.source.is_empty() {
                "retained".into()
            } else {
                format!("from {}", image.source)
            };
            let said = |digest: &String| Branch::new(&format!("attestation  {digest}"), vec![]);
            let attestations = image.attestations.iter().map(said).collect();
            Branch::new(&format!("{}  {}  {from}", image.platform, image.digest), attestations)
        };
        Branch::new(&self.reference, self.images.iter().map(image).collect())
    }
}

/// A line, and what hangs on it.
struct Branch {
    line: String,
    branches: Vec<Branch>,
}

impl Branch {
    fn new(line: &str, branches: Vec<Branch>) -> Self {
        Self { line: plain(line), branches }
    }

    /// Writes it, each of its lines but the first after `indent`.
    fn write(&self, text: &mut String, indent: &str) {
        text.push_str(&self.line);
        text.push('\n');
        for (at, branch) in self.branches.iter().enumerate() {
            let last = at + 1 == self.branches.len();
            let (knot, line) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            text.push_str(indent);
            text.push_str(knot);
            branch.write(text, &format!("{indent}{line}"));
        }
    }
}

impl Table for Report {
    fn table(&self) -> String {
        let mut text = String::new();
        let sets = self.sets.iter().map(SetTree::branch);
        for branch in self.items.iter().map(Tree::branch).chain(sets) {
            branch.write(&mut text, "");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::state::tests::{conditions, object},
        *,
    };

    #[test]
    fn all_that_belongs_to_an_object() {
        let object = object(&json!({
            "observedGeneration": 2, "reference": "r.example/app:1@sha256:i",
            "conditions": conditions(&[("Ready", "Unknown", "WaitingForPlatforms")]),
            "platforms": [
                {"platform": "linux/amd64", "digest": "sha256:a", "source": "amd64", "attestations": ["sha256:s"]},
                {"platform": "linux/386", "digest": "sha256:b", "source": ""},
            ],
            "sources": [{"name": "arm64", "state": "Missing", "since": "2026-01-01T00:00:00Z", "message": "not there"}],
            "tags": ["1", "latest"], "pendingTags": [{"name": "latest"}],
        }));
        let report = Report { items: vec![Tree::of(&object)], sets: Vec::new() };
        let expected = "\
MultiArchImage team-a/app  Ready Unknown WaitingForPlatforms
├── sources
│   ├── amd64  r.example/app:1-amd64  not looked at
│   └── arm64  r.example/app:1-arm64  linux/arm64  Missing
│       └── not there
├── r.example/app:1@sha256:i
│   ├── linux/amd64  sha256:a  from amd64
│   │   └── attestation  sha256:s
│   └── linux/386  sha256:b  retained
└── tags
    ├── 1
    └── latest  pending
";
        assert_eq!(report.table(), expected);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["items"][0]["index"]["images"][0]["platform"], "linux/amd64");
        assert_eq!(json["items"][0]["tags"][1], json!({"name": "latest", "pending": true}));
    }
}
