//! The one place that waits: for a condition of an object (by watch) or of anything else (by poll), never past a deadline.

use std::{fmt::Debug, time::Duration};

use anyhow::{Context, Result, bail};
use kube::{Api, Resource, runtime::wait};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that does not wait for an interval. It is generous: a busy machine is no bug.
pub const SOON: Duration = Duration::from_secs(30);

/// Between two looks at what cannot be watched.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits until `condition` holds for the object called `name`, and returns it. An error shows what it looked like instead.
pub async fn await_condition<K>(
    api: &Api<K>,
    name: &str,
    what: &str,
    deadline: Duration,
    condition: impl Fn(&K) -> bool,
) -> Result<K>
where
    K: Clone + Debug + DeserializeOwned + Resource + Send + Serialize + 'static,
{
    let holds = |object: Option<&K>| object.is_some_and(&condition);
    match timeout(deadline, wait::await_condition(api.clone(), name, holds)).await {
        Ok(Ok(Some(object))) => Ok(object),
        Ok(Ok(None)) => bail!("{name} was deleted while waiting for: {what}"),
        Ok(Err(error)) => Err(error).with_context(|| format!("failed to watch {name}")),
        Err(_) => {
            let last = match api.get_opt(name).await {
                Ok(object) => {
                    serde_json::to_string_pretty(&object).unwrap_or_else(|error| error.to_string())
                }
                Err(error) => error.to_string(),
            };
            bail!("not within {deadline:?}: {what}. {name} is now:\n{last}")
        }
    }
}

/// Waits until `look` finds something, and returns it. An error ends the wait: `look` knows which ones will pass.
pub async fn await_some<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look().await.with_context(|| format!("while waiting: {what}"))? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("not within {deadline:?}: {what}");
        }
        sleep(LOOK_EVERY).await;
    }
}
