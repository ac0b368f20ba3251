//! docs/from-scripts.md keeps its word: each of its rows names a test of this program, and its specs are valid.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use multiarch_e2e::{bin::workspace, cluster::Cluster, namespace::Namespace};
use tokio::process::Command;

/// How a row says that there is nothing to test.
const NOTHING: &str = "No counterpart:";

fn page() -> Result<String> {
    let page = workspace().join("docs/from-scripts.md");
    std::fs::read_to_string(&page).with_context(|| format!("failed to read {}", page.display()))
}

/// The cells of each row, without the heads of the tables.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = page.lines().collect();
    let is_head = |n: usize| lines.get(n + 1).is_some_and(|next| next.starts_with("| ---"));
    let rows = lines
        .iter()
        .enumerate()
        .filter(|(n, line)| line.starts_with("| ") && !line.starts_with("| ---") && !is_head(*n));
    rows.map(|(_, line)| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_names_tests_that_exist() -> Result<()> {
    let list = Command::new(std::env::current_exe()?)
        .args(["--list", "--format", "terse"])
        .stdin(Stdio::null())
        .output()
        .await?;
    ensure!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let list = String::from_utf8(list.stdout)?;
    let tests: Vec<_> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(tests.contains(&"from_scripts::every_row_names_tests_that_exist"), "{list}");

    let page = page()?;
    let rows = rows(&page);
    assert!(rows.len() > 80, "only {} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let [script, spec, _, named] = row[..] else {
            wrong.push(format!("not four cells: {row:?}"));
            continue;
        };
        let named: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        if named.is_empty() != spec.starts_with(NOTHING) {
            wrong.push(format!("{script}: either a test or \"{NOTHING}\""));
        }
        let unknown = named.iter().filter(|name| !tests.contains(name));
        wrong.extend(unknown.map(|name| format!("{script}: no test is called {name}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_spec() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = Namespace::create(&cluster.client().await?).await?;
    let folder = tempfile::tempdir()?;
    let page = page()?;
    let specs = page.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
    let mut taken = 0;
    for spec in specs {
        let object = format!(
            "apiVersion: multiarch.dev/v1alpha1\nkind: MultiArchImage\nmetadata: {{name: page}}\nspec:\n  {}\n",
            spec.trim_end().replace('\n', "\n  ")
        );
        let file = folder.path().join("object.yaml");
        std::fs::write(&file, object)?;
        let file = file.to_string_lossy();
        let said = cluster.try_out(&namespace.name, &file).await?;
        assert!(said.contains("multiarchimage.multiarch.dev/page"), "{spec}: {said}");
        taken += 1;
    }
    assert!(taken >= 4, "only {taken} specs on the page");
    namespace.delete().await
}
