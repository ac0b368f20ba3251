//! What is forgotten, when, and what is not.

use std::{fs, fs::File};

use tempfile::TempDir;

use super::{
    super::{
        Shelf,
        tests::{layout, options},
    },
    *,
};

/// A shelf with these archives, which are open.
async fn with(dir: &TempDir, names: &[&str]) -> (Shelf, Vec<Arc<Archive>>) {
    let shelf = Shelf::new(options(dir));
    let mut opened = Vec::new();
    for name in names {
        layout(&dir.path().join("team").join(name), "docker.io/rancher/pause:3.1");
        opened.push(shelf.open("team", name).await.unwrap());
    }
    (shelf, opened)
}

/// Those that are there.
fn kept(shelf: &Shelf) -> Vec<String> {
    let inner = shelf.places.inner();
    let names = inner.by_path.keys().map(|path| path.file_name().unwrap().to_str().unwrap());
    names.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn what_nobody_asks_for_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (shelf, opened) = with(&dir, &["a", "b"]).await;
    let last = |at: &str| shelf.places.inner().by_path[&dir.path().join("team").join(at)].used;
    let (first, second) = (last("a"), last("b"));
    assert!(first < second);
    shelf.places.tidy(first + FORGOTTEN.mul_f64(0.99), MOST);
    assert_eq!(kept(&shelf), ["a", "b"]);
    shelf.places.tidy(first + FORGOTTEN, MOST);
    assert_eq!(kept(&shelf), ["b"]);
    assert_eq!(opened[0].images().len(), 1, "who has it may use it");
}

#[tokio::test]
async fn what_was_not_asked_for_in_the_longest_time_goes_where_there_is_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let (shelf, opened) = with(&dir, &["a", "b", "c", "d"]).await;
    shelf.open("team", "b").await.unwrap();
    let all: usize = {
        let inner = shelf.places.inner();
        inner.by_path.iter().map(|(path, place)| place.keeps(path)).sum()
    };
    let room = all - opened[0].keeps() - OPEN;
    // A run has the first one, and what it has would be in memory all the same.
    let mut rest = opened;
    let first = rest.remove(0);
    shelf.places.tidy(Instant::now(), room);
    assert_eq!(kept(&shelf), ["a", "b", "c", "d"], "all of them are used");
    drop(rest);
    shelf.places.tidy(Instant::now(), room);
    assert_eq!(kept(&shelf), ["a", "b", "d"]);
    shelf.places.tidy(Instant::now(), 0);
    assert_eq!(kept(&shelf), ["a"]);
    assert!(Arc::ptr_eq(&shelf.open("team", "a").await.unwrap(), &first), "it is not read twice");
}

/// It would take room on the disk for as long as it is open.
#[tokio::test]
async fn a_file_that_is_deleted_is_closed_when_another_one_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (shelf, _opened) = with(&dir, &["other"]).await;
    let file = dir.path().join("team/k3s.tar");
    let mut tar = tar::Builder::new(File::create(&file).unwrap());
    tar.append_dir_all("", dir.path().join("team/other")).unwrap();
    tar.into_inner().unwrap();
    let archive = shelf.open("team", "k3s.tar").await.unwrap();
    shelf.open("team", "other").await.unwrap();
    assert_eq!(kept(&shelf), ["k3s.tar", "other"]);
    fs::remove_file(&file).unwrap();
    shelf.open("team", "other").await.unwrap();
    assert_eq!(kept(&shelf), ["other"]);
    let image = archive.images()[0].clone();
    assert!(archive.manifest_of(&image).is_ok(), "a run that has it goes on");
    let weak = Arc::downgrade(&archive);
    drop(archive);
    assert!(weak.upgrade().is_none());
}

/// Whoever names what is not there leaves nothing behind.
#[tokio::test]
async fn what_is_not_there_is_not_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (shelf, _opened) = with(&dir, &["a"]).await;
    for at in 0..100 {
        shelf.open("team", &format!("absent-{at}")).await.unwrap_err();
    }
    assert_eq!(kept(&shelf), ["a"]);
}

/// More than are looked at at once.
#[tokio::test]
async fn each_is_looked_at_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<_> = (10..10 + 2 * LOOKS).map(|at| at.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (shelf, _opened) = with(&dir, &names).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let some = shelf.places.inner().some();
        assert_eq!(some.len(), LOOKS);
        seen.extend(some.into_iter().map(|(path, _)| path));
    }
    assert_eq!(seen.len(), names.len());
}
