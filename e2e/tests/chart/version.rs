//! The commands that install a released chart name the version that is released next.

use std::fs;

use multiarch_e2e::bin::workspace;

const CHART: &str = "oci://ghcr.io/multiarch-operator/charts/multiarch-operator --version ";

#[test]
fn of_the_commands_is_the_charts() {
    for page in ["docs/install.md", "docs/upgrade.md", "charts/multiarch-operator/README.md"] {
        let text = fs::read_to_string(workspace().join(page)).unwrap();
        let versions: Vec<_> =
            text.split(CHART).skip(1).map(|after| after.split(' ').next().unwrap()).collect();
        assert_eq!(versions, [env!("CARGO_PKG_VERSION")], "{page}");
    }
}
