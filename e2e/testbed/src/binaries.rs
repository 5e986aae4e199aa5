//! The components' binaries: built from their Go modules once, kept in the cache.
//!
//! Each lies in `<cache>/bin/<component>-<version>-<key>/`, where the key is a hash of everything that it is built
//! from. A build goes to a temporary folder and is renamed, so an interruption leaves nothing half; a file lock
//! keeps two builds of one component apart.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::paths::{self, create_folder};
use crate::versions::{self, Pin};
use crate::{process, progress};

/// The path of a binary (`kubectl`, `nats-server`, ...), built first if it is not in the cache.
pub fn path(binary: &str) -> Result<PathBuf> {
    let (component, pin) = versions::pins()?
        .into_iter()
        .find(|(component, pin)| is_of(binary, component, pin))
        .with_context(|| format!("versions.toml has no binary {binary:?}"))?;
    Ok(ensure_built(&component, &pin)?.join(binary))
}

/// Builds everything that is missing; gives each binary's path by name.
pub fn all() -> Result<BTreeMap<String, PathBuf>> {
    those(|_| true)
}

/// The same for what every testbed needs.
pub fn of_every_testbed() -> Result<BTreeMap<String, PathBuf>> {
    those(|pin| !pin.on_demand)
}

fn those(is_wanted: impl Fn(&Pin) -> bool) -> Result<BTreeMap<String, PathBuf>> {
    let mut paths = BTreeMap::new();
    for (component, pin) in versions::pins()?
        .into_iter()
        .filter(|(_, pin)| pin.within.is_none() && is_wanted(pin))
    {
        let folder = ensure_built(&component, &pin)?;
        for name in pin.links.into_iter().chain([component]) {
            paths.insert(name.clone(), folder.join(name));
        }
    }
    Ok(paths)
}

/// How long building what is missing for a testbed takes on two cores.
pub fn missing_build_time() -> Result<Duration> {
    build_time(|_, pin| !pin.on_demand)
}

/// The same for the components that these binaries are of.
pub fn build_time_of(binaries: impl IntoIterator<Item = &'static str>) -> Result<Duration> {
    let binaries = binaries.into_iter().collect::<Vec<_>>();
    build_time(|component, pin| binaries.iter().any(|binary| is_of(binary, component, pin)))
}

fn build_time(is_wanted: impl Fn(&str, &Pin) -> bool) -> Result<Duration> {
    let mut seconds = 0;
    for (component, pin) in versions::pins()? {
        if pin.within.is_none() && is_wanted(&component, &pin) && !folder(&component, &pin)?.exists() {
            seconds += pin.build_seconds;
        }
    }
    Ok(Duration::from_secs(seconds))
}

/// Whether the binary is the component's own, or one of its other names.
fn is_of(binary: &str, component: &str, pin: &Pin) -> bool {
    pin.within.is_none() && (component == binary || pin.links.iter().any(|link| link == binary))
}

fn folder(component: &str, pin: &Pin) -> Result<PathBuf> {
    let key = key(&paths::components().join(component), pin)?;
    Ok(paths::cache()?
        .join("bin")
        .join(format!("{component}-{}-{key}", pin.version)))
}

/// A hash of what the component is built from: its module's files and the pin.
fn key(source: &Path, pin: &Pin) -> Result<String> {
    let mut files = fs::read_dir(source)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .with_context(|| format!("failed to list {}", source.display()))?;
    files.sort();
    let mut hash = Sha256::new();
    let Pin {
        version,
        package,
        links,
        ldflags,
        files: taken,
        ..
    } = pin;
    hash.update(format!(
        "{version} {package} {links:?} {ldflags} {taken:?} {}",
        std::env::consts::ARCH
    ));
    for file in files {
        hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update(fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?);
    }
    let mut key = hex::encode(hash.finalize());
    key.truncate(12);
    Ok(key)
}

fn ensure_built(component: &str, pin: &Pin) -> Result<PathBuf> {
    let folder = folder(component, pin)?;
    if folder.exists() {
        return Ok(folder);
    }
    let parent = paths::cache()?.join("bin");
    create_folder(&parent)?;
    let _lock = lock(&parent.join(format!(".{component}.lock")), component)?;
    if !folder.exists() {
        let what = format!("Build {component} {} from its Go module", pin.version);
        progress::step(&what, Duration::from_secs(pin.build_seconds), || {
            build(component, pin, &parent, &folder)
        })?;
    }
    Ok(folder)
}

fn lock(path: &Path, component: &str) -> Result<File> {
    let context = || format!("failed to lock {}", path.display());
    let file = File::create(path).with_context(context)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let what = format!("Wait for another build of {component}");
            progress::step(&what, Duration::ZERO, || file.lock().with_context(context))?;
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(context),
    }
    Ok(file)
}

fn build(component: &str, pin: &Pin, parent: &Path, folder: &Path) -> Result<()> {
    let prefix = format!(".building-{component}-");
    remove_unfinished(parent, &prefix)?;
    let building = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(parent)
        .with_context(|| format!("failed to create a folder in {}", parent.display()))?;
    let log = parent.join(format!("{component}.log"));
    let output = File::create(&log).with_context(|| format!("failed to create {}", log.display()))?;
    // Ends with this process, so that an interrupted build does not go on behind the next one.
    let status = Command::new("setpriv")
        .args([
            "--pdeathsig=TERM",
            "nice",
            "go",
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            // The linker would take it out again.
            "-gcflags=all=-dwarf=false",
            "-ldflags",
        ])
        .arg(format!("-s -w {}", pin.ldflags).trim_end())
        .arg("-o")
        .arg(building.path().join(component))
        .arg(&pin.package)
        .current_dir(paths::components().join(component))
        .env("CGO_ENABLED", "0")
        // The compiler collects its garbage half as often: less of its time for more of its memory, of which there is enough.
        .env("GOGC", "200")
        .env("GOTOOLCHAIN", "local")
        .env_remove("GOFLAGS")
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("failed to duplicate a log's handle")?)
        .stderr(output)
        .status()
        .context("failed to run go: install Go 1.26 or newer and put it into PATH")?;
    ensure!(
        status.success(),
        "failed to build {component}; the end of {}:\n{}",
        log.display(),
        process::log_tail(&log)
    );
    copy_files(component, pin, building.path())?;
    for link in &pin.links {
        symlink(component, building.path().join(link)).with_context(|| format!("failed to link {link}"))?;
    }
    // Readable by other users: PostgreSQL's tests run some tools as another one.
    fs::set_permissions(
        building.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .context("failed to set the folder's mode")?;
    match fs::rename(building.path(), folder) {
        Ok(()) => {
            // Renamed: there is nothing left to remove.
            let _ = building.keep();
            Ok(())
        }
        Err(error) => bail!(
            "failed to move the built {component} to {}: {error}",
            folder.display()
        ),
    }
}

fn copy_files(component: &str, pin: &Pin, target: &Path) -> Result<()> {
    if pin.files.is_empty() {
        return Ok(());
    }
    let folder = process::output(
        Command::new("go")
            .args(["list", "-m", "-f", "{{.Dir}}", &pin.module])
            .current_dir(paths::components().join(component))
            .env("GOTOOLCHAIN", "local"),
    )?;
    for file in &pin.files {
        let from = Path::new(folder.trim()).join(file);
        let content = fs::read(&from).with_context(|| format!("failed to read {}", from.display()))?;
        paths::write_file(&target.join(from.file_name().unwrap_or_default()), content)?;
    }
    Ok(())
}

fn remove_unfinished(parent: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(parent).with_context(|| format!("failed to list {}", parent.display()))? {
        let entry = entry.with_context(|| format!("failed to list {}", parent.display()))?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("failed to remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_the_sources_and_the_pin() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module a").unwrap();
        let mut pin = versions::pin("helm").unwrap();
        let first = key(folder.path(), &pin).unwrap();
        assert_eq!(first, key(folder.path(), &pin).unwrap());
        pin.version = "0".into();
        let second = key(folder.path(), &pin).unwrap();
        fs::write(folder.path().join("go.mod"), "module b").unwrap();
        let third = key(folder.path(), &pin).unwrap();
        assert!(first != second && second != third);
    }

    #[test]
    fn an_unknown_binary_is_named() {
        assert!(path("no-such").unwrap_err().to_string().contains("no-such"));
    }
}
