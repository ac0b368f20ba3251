//! What k3s is installed from where there is no network: a tarball of images for each architecture.

use anyhow::Result;

use super::{Layer, Saved};

/// The images of k3s v1.21.7.
pub const IMAGES: [&str; 8] = [
    "rancher/coredns-coredns:1.8.3",
    "rancher/klipper-helm:v0.6.6-build20211022",
    "rancher/klipper-lb:v0.3.4",
    "rancher/library-busybox:1.32.1",
    "rancher/library-traefik:2.4.8",
    "rancher/local-path-provisioner:v0.0.19",
    "rancher/metrics-server:v0.3.6",
    "rancher/pause:3.1",
];

/// The architectures that there is a tarball for.
pub const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "arm"];

/// Images whose config says another architecture than that of their archive: the image, the archive, and what the config says.
pub const WRONG: [(&str, &str, &str); 3] = [
    ("rancher/klipper-lb:v0.3.4", "arm64", "amd64"),
    ("rancher/library-traefik:2.4.8", "arm", "amd64"),
    ("rancher/metrics-server:v0.3.6", "arm", "arm64"),
];

/// The images of the archive for `architecture`, with [`WRONG`] ones unless it is `mended`. All of them share a layer, as images do
/// that were built on one base.
pub fn images(architecture: &str, mended: bool) -> Result<Vec<Saved>> {
    let base = Layer::file(format!("base for {architecture}\n").as_bytes())?;
    let image = |&image: &&str| {
        let own = Layer::file(format!("{image} for {architecture}\n").as_bytes())?;
        let wrong = WRONG.iter().find(|(name, of, _)| (*name, *of) == (image, architecture));
        let says = wrong.filter(|_| !mended).map_or(architecture, |(.., says)| *says);
        let name = format!("docker.io/{image}");
        Saved::made(&format!("linux/{says}"), &[&name], vec![base.clone(), own])
    };
    IMAGES.iter().map(image).collect()
}
