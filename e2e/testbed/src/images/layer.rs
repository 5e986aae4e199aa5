//! One layer of an image: a tar file whose bytes depend on the content alone.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{Builder, EntryType, Header};

/// A layer that is being filled. Paths are relative to the image's root; files belong to root.
pub struct Layer {
    archive: Builder<Vec<u8>>,
    folders: BTreeSet<PathBuf>,
}

impl Default for Layer {
    fn default() -> Self {
        Self {
            archive: Builder::new(Vec::new()),
            folders: BTreeSet::new(),
        }
    }
}

impl Layer {
    /// Adds a file, and the folders above it.
    pub fn file(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let path = self.enter(path)?;
        self.append(&path, EntryType::Regular, content, mode, 0)
    }

    /// Adds a folder that belongs to `owner`.
    pub fn folder(&mut self, path: &Path, mode: u32, owner: u64) -> Result<()> {
        let path = self.enter(path)?;
        self.folders.insert(path.clone());
        self.append(&path, EntryType::Directory, &[], mode, owner)
    }

    /// Adds a file or a folder with all that is in it from the machine; symbolic links are followed.
    pub fn copy(&mut self, source: &Path, path: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let context = || format!("failed to copy {}", source.display());
        let metadata = std::fs::metadata(source).with_context(context)?;
        if !metadata.is_dir() {
            let content = std::fs::read(source).with_context(context)?;
            let mode = if metadata.permissions().mode() & 0o111 == 0 {
                0o644
            } else {
                0o755
            };
            return self.file(path, &content, mode);
        }
        let mut entries = std::fs::read_dir(source)
            .and_then(|entries| {
                entries
                    .map(|entry| entry.map(|entry| entry.file_name()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .with_context(context)?;
        entries.sort();
        for name in entries {
            self.copy(&source.join(&name), &path.join(&name))?;
        }
        Ok(())
    }

    /// The layer's bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        self.archive.into_inner().context("failed to finish a layer")
    }

    /// The path without `/` and `.`, after its folders were added.
    fn enter(&mut self, path: &Path) -> Result<PathBuf> {
        let mut clean = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    bail!("{} leaves the image's root", path.display())
                }
            }
        }
        let parents = clean
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty());
        for parent in parents.map(Path::to_owned).collect::<Vec<_>>().into_iter().rev() {
            if self.folders.insert(parent.clone()) {
                self.append(&parent, EntryType::Directory, &[], 0o755, 0)?;
            }
        }
        Ok(clean)
    }

    fn append(&mut self, path: &Path, kind: EntryType, content: &[u8], mode: u32, owner: u64) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        self.archive
            .append_data(&mut header, path, content)
            .with_context(|| format!("failed to add {} to a layer", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_content_gives_equal_bytes_and_folders_come_first() {
        let make = || {
            let mut layer = Layer::default();
            layer.file(Path::new("/usr/bin/a"), b"a", 0o755).unwrap();
            layer.file(Path::new("usr/bin/b"), b"b", 0o644).unwrap();
            layer.finish().unwrap()
        };
        assert_eq!(make(), make());
        let bytes = make();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["usr", "usr/bin", "usr/bin/a", "usr/bin/b"]
        );
    }

    #[test]
    fn nothing_leaves_the_root() {
        assert!(
            Layer::default()
                .file(Path::new("../etc/passwd"), b"", 0o644)
                .is_err()
        );
    }
}
