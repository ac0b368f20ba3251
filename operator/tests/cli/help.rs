//! What people are told before anything is done: help, mistakes on the command line, and completion.

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use tokio::process::Command;

use super::bench::Bench;

#[tokio::test]
async fn a_mistake_ends_with_1_and_help_with_0() {
    let bench = Bench::new().await;
    for wrong in [
        &["inspekt"][..],
        &["inspect"],
        &["wait", "app", "--for", "x"],
        &["suspend"],
        &["status", "app", "-A"],
    ] {
        let ended = bench.run(wrong).await;
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{wrong:?}: {ended:?}");
        assert!(ended.err.starts_with("error: "), "{ended:?}");
    }
    let ended = bench.run(&["wait", "--help"]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("Usage: kubectl multiarch wait") && ended.out.contains("Examples:"));
}

#[tokio::test]
async fn where_there_is_no_cluster_that_is_said() {
    let bench = Bench::new().await;
    let ended = bench.run(&["status"]).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .err
            .starts_with("Error: failed to find a cluster (--kubeconfig, --context, $KUBECONFIG)"),
        "{ended:?}"
    );
}

/// The scripts are such that bash takes them; kubectl's asks the program, which is on the PATH.
#[tokio::test]
async fn shells_take_the_scripts() {
    let bench = Bench::new().await;
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ended = bench.run(&["completion", shell]).await;
        assert_eq!(ended.code, 0);
        for command in ["kubectl-multiarch", "inspect", "no-referrers"] {
            assert!(ended.out.contains(command), "{shell}: {command}");
        }
    }
    let script = bench.file("bash", &bench.run(&["completion", "bash"]).await.out);
    let checked = Command::new("bash").arg("-n").arg(script).output().await.unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let asks = bench
        .file("bin/kubectl_complete-multiarch", &bench.run(&["completion", "kubectl"]).await.out);
    fs::set_permissions(&asks, fs::Permissions::from_mode(0o700)).unwrap();
    let program = bench.home.path().join("bin/kubectl-multiarch");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-multiarch"), program).unwrap();
    let path = format!("{}:/usr/bin:/bin", bench.home.path().join("bin").display());
    let mut command = Command::new(asks);
    command.args(["inspect", "--plat"]).env("PATH", path).stdin(Stdio::null());
    let answered = command.output().await.unwrap();
    assert_eq!(String::from_utf8(answered.stdout).unwrap(), "--platform\n:4\n");
}
