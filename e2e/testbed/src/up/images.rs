//! The images of a control plane: packed from the built programs, brought to where the cluster finds them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use threeport_testbed::paths::{create_folder, project, write_file};
use threeport_testbed::process::output;
use threeport_testbed::{Cluster, binaries, images, progress};

use crate::programs::Programs;
use crate::search_path::SearchPath;
use crate::target::{Sort, Target};

/// The registry in the references of images that come from none.
pub(crate) const LOCAL: &str = "localhost";
/// How long it takes to bring all images to the cluster.
pub(crate) const LOADING: Duration = Duration::from_secs(20);

/// Images by name, with the program that each holds.
const IMAGES: [(&str, &str); 6] = [
    ("threeport-api", "threeport-api"),
    ("threeport-operator", "threeport-operator"),
    ("threeport-agent", "threeport-agent"),
    ("threeport-cli", "tptctl"),
    ("threeport-nats", "nats-server"),
    ("threeport-sample", "threeport-sample"),
];

/// The sample's manifests name these tags: two versions of one program, for trying what a changed image does.
const SAMPLE: (&str, [&str; 2]) = ("threeport-sample", ["1", "2"]);

/// How images come to where a cluster finds them.
pub(crate) enum Way<'a> {
    /// Pushed to a registry, from which the cluster pulls.
    Registry(&'a str),
    /// Imported into the testbed's node.
    Testbed(&'a Cluster),
    /// Loaded into the nodes of the kind cluster of this name, by the program `kind`.
    Kind { program: PathBuf, name: String },
    /// Imported into this machine's k3s, by its program.
    K3s(PathBuf),
}

impl<'a> Way<'a> {
    /// The way to this cluster; says what the ways are if there is none.
    pub(crate) fn find(target: &'a Target, registry: Option<&'a str>, path: &SearchPath) -> Result<Self> {
        if let Some(registry) = registry {
            return Ok(Self::Registry(registry));
        }
        match target.sort(path)? {
            Sort::Testbed(cluster) => Ok(Self::Testbed(cluster)),
            Sort::Kind { program, name } => Ok(Self::Kind { program, name }),
            Sort::K3s(program) => Ok(Self::K3s(program)),
            Sort::Other(context) => bail!(
                "the cluster of context {context:?} needs to get the images from somewhere. The ways are: \
                 REGISTRY=host/path (one that you may push to and the cluster pulls from); a kind cluster, with `kind` \
                 in PATH; k3s on this machine"
            ),
        }
    }

    /// The first part of the images' references.
    fn registry(&self) -> &str {
        match self {
            Self::Registry(registry) => registry,
            Self::Testbed(_) | Self::Kind { .. } | Self::K3s(_) => LOCAL,
        }
    }

    /// Brings one archive there.
    fn bring(&self, archive: &Path, reference: &str) -> Result<()> {
        match self {
            Self::Registry(registry) => push(archive, reference, is_plain(registry)),
            Self::Testbed(cluster) => cluster.load_image(archive),
            Self::Kind { program, name } => output(
                Command::new(program)
                    .args(["load", "image-archive", "--name", name])
                    .arg(archive),
            )
            .map(|_| ()),
            Self::K3s(program) => output(
                Command::new(program)
                    .args(["ctr", "images", "import"])
                    .arg(archive),
            )
            .map(|_| ()),
        }
    }
}

/// Makes sure that the cluster has images of these programs; gives their tag, which is a digest of what they hold, so
/// that an unchanged program restarts no pod.
pub(crate) fn provide(target: &Target, programs: &Programs, way: &Way<'_>) -> Result<String> {
    load(target, &sources(programs, |_| true)?, way)
}

/// Makes sure that the cluster has the sample's image: what `make dev` needs beside the programs themselves.
pub(crate) fn provide_sample(target: &Target, programs: &Programs) -> Result<()> {
    let way = Way::Testbed(target.cluster().context("no testbed")?);
    load(target, &sources(programs, |name| name == SAMPLE.0)?, &way).map(|_| ())
}

fn load(target: &Target, sources: &[Source], way: &Way<'_>) -> Result<String> {
    let tag = tag(sources)?;
    let folder = target.path("images");
    let done = folder.join(format!("{}-images", sources.len()));
    // A cluster made anew under the same name has none of them.
    let wanted = format!("{} {tag} {}", way.registry(), target.identity()?);
    if fs::read_to_string(&done).is_ok_and(|content| content == wanted) {
        return Ok(tag);
    }
    create_folder(&folder)?;
    progress::step("Pack and load the images", LOADING, || {
        for source in sources {
            let archive = folder.join(format!("{}.tar", source.name));
            let is_sample = source.name == SAMPLE.0;
            for tag in if is_sample {
                SAMPLE.1.to_vec()
            } else {
                vec![tag.as_str()]
            } {
                let reference = format!("{}/{}:{tag}", way.registry(), source.name);
                pack(source, &folder, tag)?.write(&archive, &reference)?;
                way.bring(&archive, &reference)?;
            }
            fs::remove_file(&archive).with_context(|| format!("failed to remove {}", archive.display()))?;
        }
        Ok(())
    })?;
    write_file(&done, wanted)?;
    Ok(tag)
}

/// Builds the image of a stripped copy of the program: symbols are of no use where nothing can read them.
fn pack(source: &Source, folder: &Path, version: &str) -> Result<images::Image> {
    let context = tempfile::tempdir_in(folder).context("failed to create a temporary folder")?;
    let name = source.program.file_name().context("a program without a name")?;
    let mut strip = Command::new("strip");
    strip
        .arg("-o")
        .arg(context.path().join(name))
        .arg(&source.program);
    output(&mut strip)?;
    let arguments =
        [("BASE", "cc"), ("VERSION", version)].map(|(name, value)| (name.to_owned(), value.to_owned()));
    images::build(&source.dockerfile, context.path(), &arguments)
}

struct Source {
    name: &'static str,
    dockerfile: PathBuf,
    program: PathBuf,
}

fn sources(programs: &Programs, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<Source>> {
    IMAGES
        .into_iter()
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, program)| {
            let dockerfile = match name {
                _ if name == SAMPLE.0 => project().join("e2e/sample/Dockerfile"),
                _ => project().join("helm/images").join(format!("{name}.Dockerfile")),
            };
            let program = match program {
                "nats-server" => binaries::path(program)?,
                _ => programs.path(program)?.to_owned(),
            };
            Ok(Source {
                name,
                dockerfile,
                program,
            })
        })
        .collect()
}

fn tag(sources: &[Source]) -> Result<String> {
    // The tool is far quicker than an unoptimised build of a library.
    let mut sums = Command::new("sha256sum");
    sums.arg("--").args(
        sources
            .iter()
            .flat_map(|source| [&source.dockerfile, &source.program]),
    );
    let sums = output(&mut sums)?;
    let digests = sums
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect::<Vec<_>>();
    let mut tag = hex::encode(Sha256::digest(digests.concat()));
    tag.truncate(12);
    Ok(tag)
}

/// Pushes by skopeo, which knows the ways to log in to registries (`skopeo login`, Docker's configuration).
fn push(archive: &Path, reference: &str, plain: bool) -> Result<()> {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet"]);
    if plain {
        command.arg("--dest-tls-verify=false");
    }
    command
        .arg(format!("oci-archive:{}", archive.display()))
        .arg(format!("docker://{reference}"));
    output(&mut command)
        .map(|_| ())
        .with_context(|| format!("failed to push {reference}: is skopeo installed, and are you logged in?"))
}

/// Registries of this machine speak plain HTTP, as container engines assume too.
fn is_plain(registry: &str) -> bool {
    let host = registry.split(['/', ':']).next().unwrap_or_default();
    host == "localhost" || host.starts_with("127.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Machine;

    /// What each of its programs is called with to bring an archive; why there is no way for it.
    fn bring(machine: &Machine) -> Result<Vec<(String, Vec<String>)>> {
        let path = machine.path();
        let target = Target::current(&path)?;
        let way = Way::find(&target, None, &path)?;
        assert_eq!(way.registry(), "localhost");
        way.bring(Path::new("/x/api.tar"), "localhost/threeport-api:1")?;
        let called = ["kind", "k3s"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), machine.arguments(name)?)));
        Ok(called.collect())
    }

    #[test]
    fn kind_and_k3s_are_known_and_given_the_archives() {
        let kind = ["load", "image-archive", "--name", "shop-1", "/x/api.tar"];
        let k3s = ["ctr", "images", "import", "/x/api.tar"];
        let both = ["kind", "k3s"];
        for (context, version, programs, called, arguments) in [
            ("kind-shop-1", "v1.35.0", &both[..], "kind", &kind[..]),
            ("default", "v1.35.0+k3s1", &both[..], "k3s", &k3s[..]),
            // A context may be called anything.
            ("kind-shop-1", "v1.35.0+k3s1", &both[1..], "k3s", &k3s[..]),
        ] {
            let brought = bring(&Machine::new(context, version, programs)).unwrap();
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            assert_eq!(brought, [(called.to_owned(), arguments)], "{context} {version}");
        }
    }

    #[test]
    fn who_is_neither_is_told_the_ways() {
        for (context, version, programs) in [
            ("default", "v1.35.0", &["kind", "k3s"][..]),
            ("kind-shop", "v1.35.0", &["k3s"][..]),
            ("default", "v1.35.0+k3s1", &["kind"][..]),
        ] {
            let told = bring(&Machine::new(context, version, programs)).unwrap_err();
            let told = told.to_string();
            assert!(told.contains(&format!("context \"{context}\"")), "{told}");
            for way in ["REGISTRY=host/path", "`kind` in PATH", "k3s on this machine"] {
                assert!(told.contains(way), "{context} {version}: {told}");
            }
        }
    }

    #[test]
    fn a_registry_goes_before_what_the_cluster_is() {
        let machine = Machine::new("kind-shop", "v1.35.0", &["kind"]);
        let path = machine.path();
        let target = Target::current(&path).unwrap();
        let way = Way::find(&target, Some("registry.example.com/x"), &path).unwrap();
        assert_eq!(way.registry(), "registry.example.com/x");
    }

    #[test]
    fn only_registries_of_this_machine_are_plain() {
        assert!(is_plain("localhost:5000") && is_plain("127.0.0.1:5000/x"));
        assert!(!is_plain("registry.example.com") && !is_plain("localhost.example.com/x"));
    }

    #[test]
    fn every_image_has_its_dockerfile() {
        for (name, _) in IMAGES.into_iter().filter(|(name, _)| *name != SAMPLE.0) {
            let path = project().join("helm/images").join(format!("{name}.Dockerfile"));
            assert!(path.exists(), "{}", path.display());
        }
    }
}
