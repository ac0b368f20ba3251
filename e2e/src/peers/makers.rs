//! Indexes as other tools make them, of images that are in the target's repository.

use anyhow::{Context, Result};

use super::{regctl::plain, run};
use crate::registry::Registry;

/// A tool that makes indexes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Maker {
    /// `crane index append`.
    Crane,
    /// `manifest-tool push --type oci from-args`.
    ManifestTool,
    /// `oras manifest index create`.
    Oras,
    /// `regctl index create`.
    Regctl,
}

impl Maker {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Crane, Self::ManifestTool, Self::Oras, Self::Regctl];
}

/// Has `maker` make an index under `to` (repository:tag) of the images that are tagged as `to` is, with an architecture behind it.
pub async fn make(
    maker: Maker,
    registry: &Registry,
    to: &str,
    architectures: &[&str],
) -> Result<()> {
    let to = registry.uncounted(to);
    let sources: Vec<_> = architectures.iter().map(|of| format!("{to}-{of}")).collect();
    let each = |option| sources.iter().flat_map(move |source| [option, source.as_str()]);
    match maker {
        Maker::Crane => {
            let append = ["index", "append", "--insecure", "--tag", &to];
            run(
                registry,
                "crane",
                &append.into_iter().chain(each("--manifest")).collect::<Vec<_>>(),
            )
            .await
        }
        Maker::ManifestTool => {
            let platforms: Vec<_> = architectures.iter().map(|of| format!("linux/{of}")).collect();
            let (platforms, template) = (platforms.join(","), format!("{to}-ARCH"));
            let from = ["--platforms", &platforms, "--template", &template, "--target", &to];
            let push =
                ["--plain-http", "push", "--type", "oci", "from-args"].into_iter().chain(from);
            run(registry, "manifest-tool", &push.collect::<Vec<_>>()).await
        }
        Maker::Oras => {
            let (_, tag) = to.rsplit_once(':').context("a reference without tag")?;
            let tags: Vec<_> = architectures.iter().map(|of| format!("{tag}-{of}")).collect();
            let create = ["manifest", "index", "create", "--plain-http", &to].into_iter();
            run(
                registry,
                "oras",
                &create.chain(tags.iter().map(String::as_str)).collect::<Vec<_>>(),
            )
            .await
        }
        Maker::Regctl => {
            let host = plain(&to)?;
            let create = ["--host", &host, "index", "create", &to].into_iter();
            run(registry, "regctl", &create.chain(each("--ref")).collect::<Vec<_>>()).await
        }
    }
    .map(drop)
}
