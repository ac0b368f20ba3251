//! `kubectl multiarch export`: an object that reproduces an existing index.

mod object;

use std::io::Write;

use anyhow::{Result, ensure};
use multiarch_operator::{oci::Reference, reconcile::resolve::inspect::Asked};

use self::object::{By, Exported, object};
use crate::{
    Common,
    exit::Exit,
    inspect::look,
    output::{plain, print},
    registries::Registries,
    written::{named_as, written},
};

/// Write a MultiArchImage that reproduces an existing index.
///
/// Each image becomes a source, pinned by digest, with the platform that the index lists for it. Images with attestations, or of which
/// the index says more than their config, are taken from the index itself, pinned as well. Published under the same tag it finds
/// nothing to write; elsewhere the index has the same content, and another digest unless you ask for --whole.
///
/// What cannot be reproduced is told on standard error, and then it ends with 2. The object goes to standard output, as YAML
/// unless -o json asks for JSON.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The index or image: host/repository:tag or host/repository@digest.
    #[arg(value_name = "REF")]
    reference: Reference,
    /// Where the object publishes: host/repository:tag. Default: REF, which then needs a tag.
    #[arg(long, value_name = "IMAGE")]
    target: Option<Reference>,
    /// One source, the index as it is, which is published byte for byte and keeps its digest and signatures.
    #[arg(long)]
    whole: bool,
    /// What the object is called. Default: as the last part of the target's repository.
    #[arg(long)]
    name: Option<String>,
    /// Its namespace. Default: none is written.
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

const EXAMPLES: &str = "Examples:
  # Have the operator keep what a script has published.
  kubectl multiarch export registry.example.com/team/app:1.0 | kubectl apply -n team-a -f -

  # The same index in another registry, byte for byte.
  kubectl multiarch export --whole --target registry.example.com/mirror/debian:12 docker.io/library/debian:12";

pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    let Args { reference, target, whole, name, namespace } = args;
    let target = target.unwrap_or_else(|| untagged(&reference));
    ensure!(
        target.tag().is_some() && target.digest().is_none(),
        "{target} is no tag to publish: name one by --target host/repository:tag"
    );
    let registries = Registries::open(&common.registries)?;
    let found = look(&registries, &reference, &Asked::default()).await?;
    ensure!(found.failures.is_empty(), "{}", found.failures.join("; "));
    let mut plain_http = Vec::new();
    for host in [reference.repository().host(), target.repository().host()] {
        if registries.is_plain(host).await && !plain_http.iter().any(|known| known == host) {
            plain_http.push(host.to_owned());
        }
    }
    let by = if whole { By::Whole } else { By::Image };
    let Exported { spec, notes, lost } = object(&found, &target, by, &plain_http);
    ensure!(!spec.sources.is_empty(), "{reference} has no image that could be a source");
    let name = name.unwrap_or_else(|| named_as(target.repository()));
    print(&written(&name, namespace.as_deref(), &spec, common.output)?)?;
    let mut err = std::io::stderr().lock();
    for note in notes {
        // Where nobody listens any more, nobody is to be told.
        let _ = writeln!(err, "Note: {}", plain(&note));
    }
    for lost in &lost {
        let _ = writeln!(err, "Not reproduced: {}", plain(lost));
    }
    if lost.is_empty() {
        return Ok(Exit::Fine);
    }
    let _ = writeln!(err, "--whole reproduces an index byte for byte");
    Ok(Exit::Differs)
}

/// `reference` as a target.
fn untagged(reference: &Reference) -> Reference {
    match reference.tag() {
        Some(tag) => reference.repository().tag(tag),
        None => reference.clone(),
    }
}
