//! Watches an object until it is as it is waited for.

use std::{io::Write, pin::pin, time::Duration};

use anyhow::{Result, anyhow, bail};
use futures::StreamExt;
use kube::runtime::{watcher, watcher::watch_object};
use multiarch_crds::v1alpha1::MultiArchImage;
use multiarch_operator::error::causes;
use tokio::time::{Instant, timeout_at};

use super::{Cluster, state::State};
use crate::output::plain;

/// How waiting ended.
#[derive(Debug)]
pub(super) enum Waited {
    /// The object is as it was waited for.
    Met(Box<MultiArchImage>),
    /// The time is over, and this is what it lacked then.
    Late(String),
}

/// Watches the object called `name` in `namespace` until `lacks` finds nothing any more, for so long at most. What it lacks
/// meanwhile is told on standard error, each change once.
pub(super) async fn until(
    cluster: &Cluster,
    (namespace, name): (&str, &str),
    patience: Duration,
    lacks: impl Fn(&MultiArchImage) -> Option<String>,
) -> Result<Waited> {
    let end = Instant::now() + patience;
    let mut watch = pin!(watch_object(cluster.of_namespace(namespace), name));
    let (mut last, mut trouble) = (String::new(), None);
    loop {
        let Ok(seen) = timeout_at(end, watch.next()).await else {
            let trouble: Option<String> = trouble;
            return Ok(Waited::Late(trouble.unwrap_or(last)));
        };
        let object = match seen {
            None => bail!("the watch of {namespace}/{name} has ended"),
            Some(Ok(None)) => bail!("{namespace}/{name} is not there"),
            Some(Ok(Some(object))) => object,
            Some(Err(error)) if is_final(&error) => {
                return Err(anyhow!("failed to watch {namespace}/{name}: {}", causes(&error)));
            }
            // It is tried again, and a little later each time.
            Some(Err(error)) => {
                trouble = Some(causes(&error));
                continue;
            }
        };
        trouble = None;
        let Some(lacking) = lacks(&object) else { return Ok(Waited::Met(Box::new(object))) };
        if lacking != last {
            // Where nobody listens any more, nobody is to be told.
            let id = State::of(&object).id();
            let _ = writeln!(std::io::stderr(), "{id}: {}", plain(&lacking));
            last = lacking;
        }
    }
}

/// Whether trying again gives the same answer.
fn is_final(error: &watcher::Error) -> bool {
    use watcher::Error as E;
    let (E::InitialListFailed(of) | E::WatchStartFailed(of) | E::WatchFailed(of)) = error else {
        return false;
    };
    matches!(of, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}
