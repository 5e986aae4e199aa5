//! Container images without a container engine: a Dockerfile's steps that only copy are a tar file and some JSON.
//!
//! Nothing can be pulled or run while building: `FROM` names a base of [`base`], or `scratch`; `RUN` is refused.
//! The same Dockerfiles build elsewhere with any engine, where `BASE` defaults to a public image.

mod archive;
mod base;
mod dockerfile;
mod layer;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use archive::{Config, Image};
pub use base::NONROOT;
pub use layer::Layer;

use crate::binaries;
use crate::paths::cache;

/// Builds the Dockerfile with `context` as the source of its COPY steps; `arguments` are values of its ARGs.
pub fn build(dockerfile: &Path, context: &Path, arguments: &[(String, String)]) -> Result<Image> {
    let text = std::fs::read_to_string(dockerfile)
        .with_context(|| format!("failed to read {}", dockerfile.display()))?;
    dockerfile::build(&text, context, arguments)
        .with_context(|| format!("failed to build {}", dockerfile.display()))
}

/// The tag of the image that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/threeport-pause:1";
/// The tag of the cluster's DNS server.
pub const COREDNS: &str = "localhost/coredns:testbed";

/// The archives that a cluster itself needs, made if the cache has none.
pub(crate) fn of_cluster() -> Result<Vec<PathBuf>> {
    Ok(vec![
        cached(
            PAUSE,
            Path::new("/usr/bin/busybox"),
            "busybox",
            &["/busybox", "sleep", "2147483647"],
        )?,
        cached(COREDNS, &binaries::path("coredns")?, "coredns", &["/coredns"])?,
    ])
}

/// An image of one program, kept in the cache under a hash of that program.
fn cached(tag: &str, binary: &Path, name: &str, entrypoint: &[&str]) -> Result<PathBuf> {
    let content = std::fs::read(binary).with_context(|| {
        format!(
            "failed to read {}: `testbed install` installs it",
            binary.display()
        )
    })?;
    let key = archive::digest(&[content.as_slice(), tag.as_bytes()].concat());
    let path = cache()?.join("images").join(format!("{name}-{}.tar", &key[..12]));
    if !path.exists() {
        let mut layer = Layer::default();
        layer.file(Path::new(name), &content, 0o755)?;
        let config = Config {
            entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
            user: NONROOT.to_string(),
            ..Config::default()
        };
        Image {
            layers: vec![layer.finish()?],
            config,
        }
        .write(&path, tag)?;
    }
    Ok(path)
}
