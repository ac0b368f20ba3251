//! reads: files, folders and standard input → the documents in them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How the files of a folder end that are read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// A document, and where it stands.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: String,
    /// It, or why it is none.
    pub(super) value: Result<Value, String>,
}

/// The documents in `paths`, each a file, a folder of files, or `-`. What cannot be read ends the command; what is no YAML is one
/// document that is none.
pub(super) fn documents(paths: &[String]) -> Result<Vec<Document>> {
    let mut all = Vec::new();
    for path in paths {
        if path == "-" {
            let text = io::read_to_string(io::stdin()).context("failed to read standard input")?;
            all.extend(parse("standard input", &text));
            continue;
        }
        let files = files(Path::new(path))?;
        if files.is_empty() {
            bail!("there is no file in {path} that ends in .yaml, .yml or .json");
        }
        for file in files {
            let text = fs::read_to_string(&file);
            let text = text.with_context(|| format!("failed to read {}", file.display()))?;
            all.extend(parse(&file.display().to_string(), &text));
        }
    }
    Ok(all)
}

/// `path`, or the files right in it, sorted, as `kubectl apply -f` reads a folder.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    let failed = || format!("failed to read the folder {}", path.display());
    for found in fs::read_dir(path).with_context(failed)? {
        let found = found.with_context(failed)?.path();
        let ends = found.extension().and_then(|ending| ending.to_str());
        if found.is_file() && ends.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(found);
        }
    }
    files.sort();
    Ok(files)
}

/// The documents of `text`, those that are empty left out.
fn parse(name: &str, text: &str) -> Vec<Document> {
    match serde_saphyr::from_multiple::<Value>(text) {
        Ok(values) => {
            let values: Vec<_> = values.into_iter().filter(|value| !value.is_null()).collect();
            let many = values.len() > 1;
            let named = |(at, value)| Document {
                name: if many { format!("{name}#{}", at + 1) } else { name.to_owned() },
                value: Ok(value),
            };
            values.into_iter().enumerate().map(named).collect()
        }
        Err(error) => {
            let value = Err(format!("it is no YAML: {error}"));
            vec![Document { name: name.into(), value }]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(documents: &[Document]) -> Vec<(&str, bool)> {
        documents.iter().map(|it| (it.name.as_str(), it.value.is_ok())).collect()
    }

    #[test]
    fn reads_each_document() {
        assert_eq!(names(&parse("a", "kind: X\n")), [("a", true)]);
        let two = parse("a", "---\nkind: X\n---\n---\n{\"kind\": \"Y\"}\n");
        assert_eq!(names(&two), [("a#1", true), ("a#2", true)]);
        assert_eq!(names(&parse("a", "x: [")), [("a", false)]);
        assert_eq!(names(&parse("a", "# nothing\n")), []);
        // Or one of the two would be lost without a word.
        assert_eq!(names(&parse("a", "x: 1\nx: 2\n")), [("a", false)]);
    }

    #[test]
    fn reads_the_files_of_a_folder_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.yml", "c.json", "d.txt"] {
            fs::write(folder.path().join(name), "{kind: X}").unwrap();
        }
        let found = files(folder.path()).unwrap();
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["a.yml", "b.yaml", "c.json"]);
    }
}
