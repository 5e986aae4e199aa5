//! `threeport-api bootstrap`: makes, once, what an installation must have before anything runs: a CA, serving
//! certificates for the API and NATS, the encryption key, the admin token, NATS' passwords.
//!
//! The encryption key is made first, and only where there is no authority yet: an installation that has lost its key must
//! not go on with another one, with which new values would be sealed while the old ones wait for the key that is restored.
//!
//! What is there is never overwritten, except that certificates which end within 30 days, or which lack a name they
//! are now asked for, are issued anew for the same key. So it can run at every install and upgrade, and daily. What
//! belongs together is one *bundle*; where it is kept is a [`Vault`]: a directory or the Secrets of a namespace.
//! Secrets never leave the vault: nothing is printed but names.

mod bundle;
mod certificate;
mod directory;
mod kubernetes;

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;

use bundle::Bundle;
use certificate::{Authority, FIXED_DAYS, RELOADED_DAYS, Serving};
use threeport_failpoint::around;

use crate::writes;

/// Where to keep it, and which names certificates must have.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Keep it in this directory (for host processes)
    #[arg(long, conflicts_with_all = ["namespace", "name", "kubeconfig"], required_unless_present = "namespace")]
    pub directory: Option<PathBuf>,
    /// Keep it in Secrets of this namespace
    #[arg(long, requires = "name", env = "THREEPORT_NAMESPACE")]
    pub namespace: Option<String>,
    /// What names of Secrets and Services start with
    #[arg(long, env = "THREEPORT_RELEASE")]
    pub name: Option<String>,
    /// The cluster; the one that this process runs in where absent
    #[arg(long, env = "THREEPORT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// A further DNS name or IP address of the serving certificates; may be given several times
    #[arg(long)]
    pub dns: Vec<String>,
}

type Data = BTreeMap<String, Vec<u8>>;

/// Where bundles are kept. Both calls are atomic per bundle as far as the place allows.
trait Vault {
    /// What is there of a bundle; empty where there is nothing.
    async fn read(&self, bundle: Bundle) -> anyhow::Result<Data>;
    /// Adds and replaces entries, unless somebody else changed the bundle since it was read: then false.
    async fn write(&self, bundle: Bundle, known: &Data, data: &Data) -> anyhow::Result<bool>;
    /// Publishes the CA's certificate for who needs nothing else.
    async fn publish_authority(&self, certificate: &[u8]) -> anyhow::Result<()>;
}

/// Makes what is missing.
pub async fn run(arguments: &Arguments, now: jiff::Timestamp) -> anyhow::Result<()> {
    match (&arguments.directory, &arguments.namespace, &arguments.name) {
        (Some(directory), ..) => {
            let names = with_local(arguments.dns.clone());
            make(&directory::Directory::open(directory)?, &names, &names, now).await
        }
        (None, Some(namespace), Some(prefix)) => {
            let client = threeport_cluster::client(arguments.kubeconfig.as_deref()).await?;
            let vault = kubernetes::Secrets::new(client, namespace, prefix);
            let mut api = service_names(&format!("{prefix}-api"), namespace);
            api.extend(arguments.dns.iter().cloned());
            let mut nats = service_names(&format!("{prefix}-nats"), namespace);
            nats.extend(arguments.dns.iter().cloned());
            make(&vault, &with_local(api), &with_local(nats), now).await
        }
        _ => bail!("give --directory, or --namespace and --name"),
    }
}

async fn make(
    vault: &impl Vault,
    api: &[String],
    nats: &[String],
    now: jiff::Timestamp,
) -> anyhow::Result<()> {
    ensure_encryption_key(vault).await?;
    let authority = ensure(vault, Bundle::Authority, |known| Authority::complete(known, now)).await?;
    let publish = vault.publish_authority(entry(&authority, "ca.crt")?);
    around(writes::AUTHORITY, publish)
        .await
        .context("failed to publish the CA's certificate")?;
    let issuer = Authority::from_data(&authority)?;
    for (bundle, names, days) in [
        (Bundle::Api, api, RELOADED_DAYS),
        (Bundle::Nats, nats, FIXED_DAYS),
    ] {
        let serving = Serving {
            names,
            issuer: &issuer,
            days,
        };
        ensure(vault, bundle, |known| serving.complete(known, now)).await?;
    }
    for bundle in [Bundle::AdminToken, Bundle::NatsUsers] {
        ensure(vault, bundle, |known| bundle.complete(known)).await?;
    }
    Ok(())
}

/// The authority is looked for first: who runs at the same time makes it after the key.
async fn ensure_encryption_key(vault: &impl Vault) -> anyhow::Result<()> {
    const BUNDLE: Bundle = Bundle::EncryptionKey;
    let is_new = vault.read(Bundle::Authority).await?.is_empty();
    ensure(vault, BUNDLE, |known| {
        let missing = BUNDLE.complete(known)?;
        if !is_new && !missing.is_empty() {
            bail!(
                "it is gone, and the rest of the installation is there. With another key the values of Secrets that the \
                 database has can't be read. Restore it from its backup. Where there is none, put 32 random bytes in \
                 base64 there as \"key\", and apply definitions with Secrets again"
            );
        }
        Ok(missing)
    })
    .await?;
    Ok(())
}

/// Asks `complete` what is missing of a bundle and writes it, until nothing is.
async fn ensure(
    vault: &impl Vault,
    bundle: Bundle,
    complete: impl Fn(&Data) -> anyhow::Result<Data>,
) -> anyhow::Result<Data> {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let mut known = vault
            .read(bundle)
            .await
            .with_context(|| format!("failed to read {bundle}"))?;
        let missing = complete(&known).with_context(|| format!("failed to make {bundle}"))?;
        if missing.is_empty() {
            tracing::info!("{bundle}: nothing to do");
            return Ok(known);
        }
        if around(writes::BUNDLE, vault.write(bundle, &known, &missing))
            .await
            .with_context(|| format!("failed to keep {bundle}"))?
        {
            tracing::info!(
                "{bundle}: wrote {}",
                missing.keys().cloned().collect::<Vec<_>>().join(", ")
            );
            known.extend(missing);
            return Ok(known);
        }
    }
    bail!("{bundle} was changed by somebody else {TRIES} times in a row");
}

fn entry<'a>(data: &'a Data, name: &str) -> anyhow::Result<&'a [u8]> {
    data.get(name)
        .map(Vec::as_slice)
        .with_context(|| format!("{name} is missing"))
}

fn service_names(service: &str, namespace: &str) -> Vec<String> {
    let within = [
        "",
        &format!(".{namespace}"),
        &format!(".{namespace}.svc"),
        &format!(".{namespace}.svc.cluster.local"),
    ];
    within.iter().map(|suffix| format!("{service}{suffix}")).collect()
}

/// People reach both by port-forward, too.
fn with_local(mut names: Vec<String>) -> Vec<String> {
    names.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    names.sort();
    names.dedup();
    names
}
