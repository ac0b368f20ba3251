//! The controller over registries that stall: whatever one of them does, objects of the others are published.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "controller/api.rs"]
mod api;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use multiarch_operator::{
    admin::Admin,
    controller::{self, Options},
    leader::Term,
    metrics::{Format, Metrics},
    registry::{
        memory::{Lie, Lies, Server, Store, serve, server::LimitLie},
        remote::{self, Limits, Remote},
    },
    shutdown::Shutdown,
};
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::Api;

const SLOW: usize = 50;
const OTHERS: usize = 10;

/// A registry with two images for each of so many objects.
async fn registry(objects: usize) -> Server {
    let store = Store::new();
    for n in 0..objects {
        store.push_image(&format!("app{n}"), "amd64", "linux/amd64");
        store.push_image(&format!("app{n}"), "arm64", "linux/arm64");
    }
    serve(store, Lies::default()).await
}

/// An object with its sources in `from` and its target in `to`.
fn object(name: &str, n: usize, from: &Server, to: &Server) -> Value {
    let source =
        |name: &str| json!({"name": name, "image": format!("{}/app{n}:{name}", from.addr)});
    let host = |server: &Server| json!({"host": server.addr.to_string(), "plainHTTP": true});
    json!({
        "apiVersion": "multiarch.dev/v1alpha1", "kind": "MultiArchImage",
        "metadata": {"namespace": "team", "name": name, "uid": name, "generation": 1},
        "spec": {
            "target": {"image": format!("{}/{name}:1.0", to.addr)},
            "sources": [source("amd64"), source("arm64")],
            "registries": [host(from), host(to)],
        },
        "status": {"observedGeneration": -1},
    })
}

/// Objects of a registry that does not answer come first, and are many; then those of another one. That one is
/// the target of all, too, where the first is but where some copy from.
#[rstest]
#[case::its_own_target(false)]
#[case::a_source_for_the_others_target(true)]
#[tokio::test]
async fn a_registry_that_stalls_holds_up_nobody_else(#[case] one_target: bool) {
    let (slow, fast) = (registry(SLOW).await, registry(OTHERS).await);
    slow.lie([Lie::Limit(LimitLie::Gate)]);
    let (api, shutdown) = (Api::new(), Shutdown::default());
    let target = if one_target { &fast } else { &slow };
    for n in 0..SLOW {
        api.apply(object(&format!("slow{n}"), n, &slow, target));
    }
    for n in 0..OTHERS {
        api.apply(object(&format!("other{n}"), n, &fast, &fast));
    }
    let limits = Limits { a_second: 1000.0, ..Limits::default() };
    let remote = Remote::new(remote::Options {
        allow_loopback: true,
        allow_http: true,
        limits,
        ..remote::Options::default()
    });
    let options = Options {
        namespaces: Vec::new(),
        selector: None,
        providers: Arc::default(),
        allowed: Vec::new(),
        concurrent: NonZeroU16::new(4).unwrap(),
        spread: Duration::ZERO,
        node_platforms: false,
        sets: false,
        shelf: Arc::default(),
    };
    let metrics = Arc::new(Metrics::new());
    let shown = Arc::clone(&metrics);
    let waiting = || -> usize {
        let text = shown.render(Format::Text);
        let depth = text.lines().find_map(|line| line.strip_prefix("multiarch_workqueue_depth "));
        depth.unwrap().parse().unwrap()
    };
    let admin = Admin::new(metrics.clone());
    let client = api.client().await;
    let run =
        controller::run(client, remote.unwrap(), options, metrics, admin, Term::alone(&shutdown));
    let running = tokio::spawn(run);

    api.until("the others", |api| api.events().len() == OTHERS).await;
    for n in 0..OTHERS {
        assert!(fast.store().tagged(&format!("other{n}"), "1.0").is_some());
    }
    assert!(slow.waiting() > 0 && slow.seen().len() == slow.waiting(), "it has not answered");
    assert!((SLOW - 4..SLOW).contains(&waiting()), "{} wait", waiting());
    slow.lie([]);
    api.until("all", |api| api.events().len() == OTHERS + SLOW).await;
    for n in 0..SLOW {
        assert!(target.store().tagged(&format!("slow{n}"), "1.0").is_some());
    }
    assert_eq!(waiting(), 0);
    shutdown.stop.cancel();
    running.await.unwrap();
}
