//! Charts made of ours: its next version, and one that has it as a dependency.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::helm::chart;

/// A copy of the chart in `folder` whose CRD has one more field of the spec, `new`.
pub fn next_version(folder: &Path) -> Result<PathBuf> {
    let copied = copy(folder)?;
    let file = copied.join("files/crds/multiarchimages.yaml");
    let yaml = fs::read_to_string(&file).context("failed to read the CRD")?;
    let mut crd: Value = serde_saphyr::from_str(&yaml).context("the CRD is not YAML")?;
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"]["new"] = json!({"type": "string"});
    fs::write(file, crd.to_string()).context("failed to write the CRD")?;
    Ok(copied)
}

/// A chart called `platform` in `folder` that has ours as a dependency, which a value of it turns off.
pub fn parent(folder: &Path) -> Result<()> {
    for name in ["charts", "templates"] {
        fs::create_dir_all(folder.join(name)).context("failed to make a chart")?;
    }
    copy(&folder.join("charts"))?;
    let metadata = json!({
        "apiVersion": "v2", "name": "platform", "version": "1.0.0", "type": "application",
        "dependencies": [{
            "name": "multiarch-operator", "version": "*", "repository": "", "condition": "multiarch-operator.enabled",
        }],
    });
    fs::write(folder.join("Chart.yaml"), metadata.to_string())
        .context("failed to write a chart")?;
    let values = "global:\n  imageRegistry: mirror.example.com\n  storageClass: fast\n";
    fs::write(folder.join("values.yaml"), values).context("failed to write values")
}

/// A copy of the chart in `folder` that renders its notes, too: as `notes` of a ConfigMap, by the template `notes.yaml`.
pub fn with_notes(folder: &Path) -> Result<PathBuf> {
    let copied = copy(folder)?;
    let notes = "files/NOTES.txt";
    fs::rename(copied.join("templates/NOTES.txt"), copied.join(notes))
        .context("failed to move the notes")?;
    let shown = format!(
        "kind: ConfigMap\napiVersion: v1\nmetadata: {{name: notes}}\ndata:\n  notes: {{{{ tpl (.Files.Get {notes:?}) . | toJson }}}}\n"
    );
    fs::write(copied.join("templates/notes.yaml"), shown).context("failed to write a template")?;
    Ok(copied)
}

fn copy(folder: &Path) -> Result<PathBuf> {
    let ours = chart();
    let copied = Command::new("cp").arg("-R").arg(&ours).arg(folder).status();
    ensure!(copied.context("failed to run cp")?.success(), "failed to copy the chart");
    Ok(folder.join(ours.file_name().context("a chart without name")?))
}
