//! Base layers, made of this machine's files since nothing can be pulled.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::layer::Layer;

/// The user of the images, as in the distroless images: `nonroot`.
pub const NONROOT: u32 = 65532;

const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\n\
    nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
const NSSWITCH: &str = "hosts: files dns\n";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The layers of a base by name: `scratch` (none) and `cc`, what a dynamically linked Rust program needs (a
/// statically linked glibc crashes in name resolution).
pub(super) fn layers(name: &str) -> Result<Vec<Vec<u8>>> {
    match name {
        "scratch" => Ok(Vec::new()),
        "cc" => Ok(vec![cc()?]),
        other => bail!("unknown base {other:?}: the testbed has `scratch` and `cc` and can't pull others"),
    }
}

fn cc() -> Result<Vec<u8>> {
    let (loader, libraries) = match std::env::consts::ARCH {
        "x86_64" => ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu"),
        "aarch64" => ("/lib/ld-linux-aarch64.so.1", "/lib/aarch64-linux-gnu"),
        other => bail!("no base for the architecture {other}"),
    };
    let mut layer = Layer::default();
    layer.copy(Path::new(loader), Path::new(loader))?;
    for library in [
        "libc.so.6",
        "libm.so.6",
        "libgcc_s.so.1",
        "libresolv.so.2",
        "libpthread.so.0",
        "libdl.so.2",
        "librt.so.1",
    ] {
        let path = Path::new(libraries).join(library);
        layer.copy(&path, &path)?;
    }
    let certificates = std::fs::read(CERTIFICATES)
        .with_context(|| format!("failed to read {CERTIFICATES}: install ca-certificates"))?;
    ensure!(
        !certificates.is_empty(),
        "{CERTIFICATES} is empty: run update-ca-certificates"
    );
    layer.file(Path::new(CERTIFICATES), &certificates, 0o644)?;
    layer.file(Path::new("/etc/passwd"), PASSWD.as_bytes(), 0o644)?;
    layer.file(Path::new("/etc/group"), GROUP.as_bytes(), 0o644)?;
    layer.file(Path::new("/etc/nsswitch.conf"), NSSWITCH.as_bytes(), 0o644)?;
    layer.folder(Path::new("/home/nonroot"), 0o700, u64::from(NONROOT))?;
    layer.folder(Path::new("/tmp"), 0o1777, 0)?;
    layer.finish()
}
