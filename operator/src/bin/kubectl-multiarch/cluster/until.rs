//! Watches an object until it is as it is waited for.

use std::{io::Write, time::Duration};

use anyhow::{Result, anyhow, bail};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::runtime::{watcher, watcher::watch_object};
use multiarch_crds::v1alpha1::{MultiArchImage, MultiArchImageSet};
use multiarch_operator::error::causes;
use tokio::time::{Instant, timeout_at};

use super::{
    Cluster, Ours,
    name::{Kind, Name},
    object::Object,
};
use crate::output::plain;

/// How waiting ended.
#[derive(Debug)]
pub(super) enum Waited {
    /// The object is as it was waited for.
    Met(Object),
    /// The time is over, and this is what it lacked then.
    Late(String),
}

/// Watches the object called `name` in `namespace` until `lacks` finds nothing any more, for so long at most. What it lacks
/// meanwhile is told on standard error, each change once.
pub(super) async fn until(
    cluster: &Cluster,
    (namespace, name): (&str, &Name),
    patience: Duration,
    lacks: impl Fn(&Object) -> Option<String>,
) -> Result<Waited> {
    let end = Instant::now() + patience;
    let mut watch = match name.kind {
        Kind::MultiArchImage => watch::<MultiArchImage>(cluster, namespace, &name.name),
        Kind::MultiArchImageSet => watch::<MultiArchImageSet>(cluster, namespace, &name.name),
    };
    let (mut last, mut trouble) = (String::new(), None);
    loop {
        let Ok(seen) = timeout_at(end, watch.next()).await else {
            let trouble: Option<String> = trouble;
            return Ok(Waited::Late(trouble.unwrap_or(last)));
        };
        let object = match seen {
            None => bail!("the watch of {namespace}/{name} has ended"),
            Some(Ok(None)) => {
                let elsewhere = cluster.elsewhere(name).await;
                bail!("{namespace}/{name} is not there{elsewhere}")
            }
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
        let Some(lacking) = lacks(&object) else { return Ok(Waited::Met(object)) };
        if lacking != last {
            // Where nobody listens any more, nobody is to be told.
            let _ = writeln!(std::io::stderr(), "{namespace}/{name}: {}", plain(&lacking));
            last = lacking;
        }
    }
}

fn watch<K: Ours>(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> BoxStream<'static, watcher::Result<Option<Object>>> {
    watch_object(cluster.of_namespace::<K>(namespace), name)
        .map_ok(|seen| seen.map(Into::into))
        .boxed()
}

/// Whether trying again gives the same answer.
fn is_final(error: &watcher::Error) -> bool {
    use watcher::Error as E;
    let (E::InitialListFailed(of) | E::WatchStartFailed(of) | E::WatchFailed(of)) = error else {
        return false;
    };
    matches!(of, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}
