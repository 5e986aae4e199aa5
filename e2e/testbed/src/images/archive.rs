//! An image as an OCI archive: the image layout of the OCI image specification 1.1 in a tar file, which
//! `ctr images import` and `skopeo copy oci-archive:` read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::layer::Layer;
use crate::paths::write_file;

/// How a container of the image runs, by the specification's meanings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Default further arguments.
    pub command: Vec<String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// User, as `uid` or `uid:gid`.
    pub user: String,
    /// The working folder.
    pub working_folder: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// An image: layers (tar files, lowest first) and configuration.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Tar files, lowest first.
    pub layers: Vec<Vec<u8>>,
    /// How a container runs.
    pub config: Config,
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Image {
    /// Writes the archive; `tag` is the full reference, e.g. `localhost/sample:1`.
    pub fn write(&self, path: &Path, tag: &str) -> Result<()> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let diff_ids = self
            .layers
            .iter()
            .map(|layer| format!("sha256:{}", digest(layer)))
            .collect::<Vec<_>>();
        let environment = self
            .config
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": self.config.entrypoint,
                "Cmd": self.config.command,
                "Env": environment.collect::<Vec<_>>(),
                "User": self.config.user,
                "WorkingDir": self.config.working_folder,
                "Labels": self.config.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let layers = self
            .layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
        let version = tag.rsplit_once(':').map_or("latest", |(_, version)| version);
        entry["annotations"] =
            json!({"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": version});
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        });

        let mut archive = Layer::default();
        archive.file(
            Path::new("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
            0o644,
        )?;
        archive.file(Path::new("index.json"), index.to_string().as_bytes(), 0o644)?;
        let blobs = self.layers.iter().map(|layer| (digest(layer), layer.as_slice()));
        let others = [
            (digest(&config), config.as_slice()),
            (digest(&manifest), manifest.as_slice()),
        ];
        for (name, bytes) in blobs.chain(others).collect::<BTreeMap<_, _>>() {
            archive.file(&PathBuf::from("blobs/sha256").join(name), bytes, 0o644)?;
        }
        write_file(path, archive.finish()?)
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_holds_its_parts_and_is_reproducible() {
        let folder = tempfile::tempdir().unwrap();
        let image = Image {
            layers: vec![b"layer".to_vec()],
            config: Config::default(),
        };
        let (first, second) = (folder.path().join("1.tar"), folder.path().join("2.tar"));
        image.write(&first, "localhost/x:1").unwrap();
        image.write(&second, "localhost/x:1").unwrap();
        let bytes = std::fs::read(&first).unwrap();
        assert_eq!(bytes, std::fs::read(&second).unwrap());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string());
        let names = names.collect::<Vec<_>>();
        assert!(
            names.contains(&format!("blobs/sha256/{}", digest(b"layer"))),
            "{names:?}"
        );
        assert!(names.contains(&"index.json".to_owned()));
    }
}
