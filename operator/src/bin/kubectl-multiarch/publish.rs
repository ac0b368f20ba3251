//! `kubectl multiarch publish`: what objects ask for, without a cluster.

use std::sync::Arc;

use anyhow::{Result, bail};
use multiarch_crds::v1alpha1::MultiArchImageSpec;
use multiarch_operator::oci::Reference;

use crate::{
    Common,
    exit::Exit,
    objects::{self, template},
    output::print,
    registries::Registries,
    run::{self, Asks, Mode, Task},
    written::{named_as, written},
};

/// Publish what MultiArchImage objects or manifest-tool specs ask for, from this machine.
///
/// What a cluster would check, is checked: platforms against the images' configs, and the rules of the API. Objects that are suspended are
/// passed over.
///
/// Example: kubectl multiarch publish -f app.yaml
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) run: run::Flags,
    /// Say what would be pushed, and push nothing: the same as `plan`.
    #[arg(long)]
    dry_run: bool,
    /// Write the object that --template makes to standard output, with its sources, and publish nothing.
    #[arg(long, requires = "template")]
    print_object: bool,
}

/// What is to be published.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct What {
    /// A file with objects, YAML or JSON, one or many; a folder of such files; `-` is standard input. May be repeated.
    #[arg(long = "filename", short, value_name = "FILE", conflicts_with_all = ["template"])]
    files: Vec<String>,
    /// How the images of the platforms are called: repo:tag-{os}-{arch}{variant}.
    #[arg(long, value_name = "TEMPLATE", requires_all = ["platforms", "target"])]
    template: Option<String>,
    /// The platforms of --template: linux/amd64,linux/arm64. May be repeated.
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', requires = "template")]
    platforms: Vec<String>,
    /// The tag to publish what --template names under.
    #[arg(long, value_name = "IMAGE", requires = "template")]
    target: Option<String>,
    /// More tags beside that of --target.
    #[arg(long, value_name = "TAG", value_delimiter = ',', requires = "template")]
    tags: Vec<String>,
}

impl What {
    /// What is to be run.
    pub(crate) fn tasks(&self, common: &Common) -> Result<Vec<Task>> {
        let tasks = match self.made()? {
            Some(spec) => vec![objects::of_spec("--template", &spec)],
            None => objects::tasks(&self.files, common)?,
        };
        if tasks.is_empty() {
            bail!("there is no MultiArchImage in what -f names");
        }
        Ok(tasks)
    }

    /// What `--template` makes.
    fn made(&self) -> Result<Option<MultiArchImageSpec>> {
        let Some(template) = &self.template else { return Ok(None) };
        let target = self.target.as_deref().unwrap_or_default();
        let made = template::spec(template, &self.platforms, target, &self.tags);
        made.and_then(|spec| objects::hold(&spec)).map(Some).map_err(anyhow::Error::msg)
    }
}

/// Runs the command.
pub(crate) async fn run(args: Args, common: &Common) -> Result<Exit> {
    if args.print_object {
        let Some(spec) = args.what.made()? else { bail!("--print-object goes with --template") };
        let target: Reference = spec.target.image.parse()?;
        print(&written(&named_as(target.repository()), None, &spec, common.output)?)?;
        return Ok(Exit::Fine);
    }
    let tasks = args.what.tasks(common)?;
    let registries = Registries::open(&common.registries)?;
    let registry = Arc::new(registries.remote.clone());
    let mode = if args.dry_run { Mode::Plan } else { Mode::Publish };
    run::run(registry, &registries, tasks, (mode, Asks::Objects, &args.run), common).await
}
