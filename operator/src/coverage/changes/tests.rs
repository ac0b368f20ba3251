use super::*;

fn map(from: &str, to: &str, keys: &str) -> Map {
    let data = keys.chars().map(|key| (key.to_string(), format!("value of {key}"))).collect();
    Map { name: format!("from-{from}"), from: from.into(), to: to.into(), data }
}

fn stored(maps: &[Map]) -> Stored {
    maps.iter().map(|map| (map.name.clone(), map.over(None, "system"))).collect()
}

/// `write from-a after from-b`, of each.
fn told(maps: &[Map], stored: &Stored) -> Vec<String> {
    let changes = changes(maps, stored).into_iter();
    let told = changes.map(|change| {
        let verb = if change.map.is_some() { "write" } else { "delete" };
        let after: Vec<_> = change.waits_for.into_iter().collect();
        format!("{verb} {} after [{}]", change.name, after.join(" "))
    });
    told.collect()
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    let maps = [map("", "m", "ab"), map("m", "", "mn")];
    assert_eq!(told(&maps, &stored(&maps)), [""; 0]);
    let one_more = [map("", "m", "abc"), map("m", "", "mn")];
    assert_eq!(told(&one_more, &stored(&maps)), ["write from- after []"]);
    assert_eq!(told(&maps, &Stored::new()), ["write from- after []", "write from-m after []"]);
}

#[test]
fn of_a_split_the_new_map_comes_first() {
    let before = stored(&[map("", "", "abmn")]);
    let after = [map("", "m", "ab"), map("m", "", "mn")];
    assert_eq!(told(&after, &before), ["write from- after [from-m]", "write from-m after []"]);
    // Also where there is nothing yet in what it gets: its range is.
    let empty = [map("", "x", "abmn"), map("x", "", "")];
    assert_eq!(told(&empty, &before), ["write from- after [from-x]", "write from-x after []"]);
}

#[test]
fn of_two_that_come_together_one_gets_all_before_the_other_goes() {
    let before = stored(&[map("", "m", "ab"), map("m", "", "mn")]);
    let after = [map("", "", "abmn")];
    assert_eq!(told(&after, &before), ["write from- after []", "delete from-m after [from-]"]);
}

#[test]
fn a_stray_goes_at_once_where_nobody_misses_it() {
    let maps = [map("", "m", "ab"), map("m", "", "mn")];
    let mut stored = stored(&maps);
    stored.insert("stray".into(), ConfigMap::default());
    assert_eq!(told(&maps, &stored), ["delete stray after []"]);
    // A copy of a map that is gone has what that one is to have.
    let gone = stored.remove("from-m").unwrap();
    stored.insert("stray".into(), gone);
    assert_eq!(told(&maps, &stored), ["write from-m after []", "delete stray after [from-m]"]);
}
