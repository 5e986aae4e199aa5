//! A vault of files, for control planes that run as host processes. Only the owner may read it.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{Bundle, Data, Vault};

pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to make the directory {}", path.display());
        fs::create_dir_all(path).with_context(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).with_context(failed)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Whole or not at all: a reader never sees half a file.
    fn put(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let target = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &target)
        };
        write().with_context(|| format!("failed to write {}", target.display()))
    }
}

impl Vault for Directory {
    async fn read(&self, bundle: Bundle) -> anyhow::Result<Data> {
        let mut data = Data::new();
        for (entry, file) in bundle.entries() {
            let path = self.path.join(file);
            match fs::read(&path) {
                Ok(bytes) => {
                    data.insert((*entry).to_owned(), bytes);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("failed to read {}", path.display()));
                }
            }
        }
        Ok(data)
    }

    async fn write(&self, bundle: Bundle, _known: &Data, data: &Data) -> anyhow::Result<bool> {
        for (entry, file) in bundle.entries() {
            if let Some(bytes) = data.get(*entry) {
                self.put(file, bytes)?;
            }
        }
        Ok(true)
    }

    async fn publish_authority(&self, _certificate: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }
}
