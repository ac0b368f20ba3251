//! pure: what archives have → what is to be published of it, one index a name.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, bail};
use multiarch_crds::{
    condition::Reason,
    v1alpha1::{MultiArchImageSpec, RemovalPolicy, Target},
};
use multiarch_operator::{
    archive::{Archive, Image, Unusable},
    oci::{Digest, Prefix, Reference, Repository},
    reconcile::sources::{Source, Sources},
};

use super::given::Given;
use crate::{
    mirror::list::TIMEOUT,
    run::{Asked, Task},
};

/// An archive, and what was said of it.
pub(super) struct Opened {
    pub(super) given: Given,
    pub(super) archive: Arc<Archive>,
}

/// What holds for all images.
pub(super) struct Rules {
    pub(super) to: Prefix,
    /// Which of them; `all`.
    pub(super) images: Vec<String>,
    /// What the one image of each archive is called, whatever it is called there.
    pub(super) name: Option<Reference>,
    pub(super) trust: bool,
    pub(super) removal: RemovalPolicy,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) tasks: Vec<Task>,
    /// Images that are called as `--name` says, each in its archive.
    pub(super) called: Vec<(Reference, Digest)>,
    /// What people are told beside.
    pub(super) notes: Vec<String>,
}

/// What is called by one name.
#[derive(Default)]
struct Called<'a> {
    /// The archives that have it, each once.
    given: Vec<&'a Given>,
    /// What is wrong with it in others.
    wrong: Vec<String>,
}

/// Which images are meant.
enum Chosen {
    All,
    Tag(Reference),
    /// All tags of it.
    Repository(Repository),
}

/// The images of all archives, by name.
pub(super) fn images(opened: &[Opened], rules: &Rules) -> Result<Images> {
    let mut images = Images::default();
    let mut by_name: BTreeMap<Reference, Called<'_>> = BTreeMap::new();
    for Opened { given, archive } in opened {
        images.look(given, archive.images(), rules, &mut by_name)?;
        images.refuse(given, archive.unusable(), &mut by_name);
    }
    if by_name.is_empty() {
        let digests =
            opened.iter().flat_map(|it| it.archive.images()).map(|it| it.digest.to_string());
        let digests: Vec<_> = digests.collect();
        bail!("no image has a name: call it by --name ({})", some(&digests));
    }
    let mut chosen = Vec::new();
    for text in &rules.images {
        chosen.push((text, Chosen::parse(text)?));
    }
    for (text, chosen) in &chosen {
        if !by_name.keys().any(|name| chosen.has(name)) {
            let names: Vec<_> = by_name.keys().map(ToString::to_string).collect();
            let message = format!("no archive has {text}: they have {}", some(&names));
            images.tasks.push(Task::refused(text, "", message));
        }
    }
    by_name.retain(|name, _| chosen.iter().any(|(_, chosen)| chosen.has(name)));
    images.tasks.extend(by_name.iter().map(|(name, called)| rules.task(name, called)));
    Ok(images)
}

impl Images {
    /// Puts what one archive has to the other ones'.
    fn look<'a>(
        &mut self,
        given: &'a Given,
        images: &[Image],
        rules: &Rules,
        by_name: &mut BTreeMap<Reference, Called<'a>>,
    ) -> Result<()> {
        let Given { text, path, .. } = given;
        if images.is_empty() {
            bail!("--archive {text} has no image");
        }
        if let Some(name) = &rules.name {
            let [one] = images else {
                bail!(
                    "--name is for archives with one image, and --archive {text} has {}: leave it out, and choose by --images",
                    images.len()
                );
            };
            self.called.push((inside(path, name), one.digest.clone()));
            by_name.entry(name.clone()).or_default().given.push(given);
            self.notes.extend(absent(path, name, one));
            return Ok(());
        }
        let nameless = images.iter().filter(|image| image.names.is_empty());
        self.notes.extend(nameless.map(|image| {
            format!(
                "{path}: the image {} has no name, and is left: call it by --name",
                image.digest
            )
        }));
        for image in images {
            for name in &image.names {
                let called = by_name.entry(name.clone()).or_default();
                if called.given.last().is_some_and(|last| std::ptr::eq(*last, given)) {
                    let inside = inside(path, name);
                    called.wrong.push(format!(
                        "{inside} is there more than once: which is meant, nobody knows"
                    ));
                    continue;
                }
                called.given.push(given);
                self.notes.extend(absent(path, name, image));
            }
        }
        Ok(())
    }

    /// Has those that an archive names and does not have refused, and tells of those without a name.
    fn refuse(
        &mut self,
        given: &Given,
        unusable: &[Unusable],
        by_name: &mut BTreeMap<Reference, Called<'_>>,
    ) {
        for Unusable { names, why } in unusable {
            if names.is_empty() {
                self.notes.push(format!("{}: an image without a name is left: {why}", given.path));
            }
            for name in names {
                by_name.entry(name.clone()).or_default().wrong.push(why.to_string());
            }
        }
    }
}

/// What `image` was written without, in words.
fn absent(path: &str, name: &Reference, image: &Image) -> Option<String> {
    if image.absent.is_empty() {
        return None;
    }
    let shown = |child: &multiarch_operator::oci::Descriptor| match &child.platform {
        Some(platform) if !platform.is_unknown() => platform.to_string(),
        _ => child.digest.to_string(),
    };
    let absent: Vec<_> = image.absent.iter().map(shown).collect();
    Some(format!("{}: is in it without {}", inside(path, name), some(&absent)))
}

impl Chosen {
    fn parse(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Self::All);
        }
        match text.parse::<Reference>() {
            Ok(name) if name.digest().is_none() => Ok(Self::Tag(name)),
            Ok(_) => bail!("--images {text}: an archive's images are known by their tags"),
            Err(error) => match format!("{text}:any").parse::<Reference>() {
                Ok(any) => Ok(Self::Repository(any.repository().clone())),
                Err(_) => bail!("--images: {error}"),
            },
        }
    }

    fn has(&self, name: &Reference) -> bool {
        match self {
            Self::All => true,
            Self::Tag(tag) => tag == name,
            Self::Repository(repository) => repository == name.repository(),
        }
    }
}

impl Rules {
    /// The index of what is called `name` in the archives that are `given`.
    fn task(&self, name: &Reference, Called { given, wrong }: &Called<'_>) -> Task {
        let (path, tag) = (name.repository().path(), name.tag().unwrap_or_default());
        let (host, before) = (self.to.host(), self.to.path());
        let gap = if before.is_empty() { "" } else { "/" };
        let image = format!("{host}/{before}{gap}{path}:{tag}");
        let spec = MultiArchImageSpec {
            target: Target { image: image.clone(), ..Target::default() },
            removal_policy: self.removal,
            timeout: TIMEOUT.into(),
            ..MultiArchImageSpec::default()
        };
        let called = name.to_string();
        if !wrong.is_empty() {
            let (reason, message) = (Reason::UnsupportedContent, wrong.join("; "));
            return Task { name: called, asked: Asked::Refused { target: image, reason, message } };
        }
        match Sources::parse(&spec) {
            Ok(parsed) => {
                let sources = given.iter().map(|given| self.source(name, given)).collect();
                let sources = Sources { sources, wraps: true, any_format: true, ..parsed };
                Task { name: called, asked: Asked::Run(Box::new(sources)) }
            }
            Err(error) => Task::refused(&called, &image, error.to_string()),
        }
    }

    /// What one archive has of it.
    fn source(&self, name: &Reference, given: &Given) -> Source {
        Source {
            name: given.text.clone(),
            reference: inside(&given.path, name),
            declared: given.platform.iter().cloned().collect(),
            trust: self.trust,
            optional: false,
            annotations: BTreeMap::new(),
            secret: None,
            provider: false,
        }
    }
}

/// What is called `name` in the archive at `path`.
fn inside(path: &str, name: &Reference) -> Reference {
    let repository = Repository::in_archive(path, name.repository());
    repository.tag(name.tag().unwrap_or_default())
}

/// The first few of `all`.
fn some(all: &[String]) -> String {
    const SHOWN: usize = 8;
    match all.len().checked_sub(SHOWN) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..SHOWN].join(", ")),
    }
}
