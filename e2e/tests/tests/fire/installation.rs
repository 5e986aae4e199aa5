//! What happens once: keys, schema, the control plane's record of itself, definitions, and finalizers taken off at the
//! end. Each program is killed at each of its failpoints on the way; run again it goes on, and what was made is kept.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use threeport_e2e::{
    form,
    plane::{NAMESPACE, Part, Plane, RELEASE},
    programs, wait_until,
};
use threeport_model::find_kind;

use crate::{
    cast::{Act, Cast},
    check, controls,
    hits::{self, Hits},
    round::{self, Kill},
};

const SIGKILL: i32 = 9;

/// The writes that are tried here and nowhere else.
const WRITES: [&str; 13] = [
    "server.bundle",
    "server.authority",
    "store.schema_table",
    "store.schema_row",
    "store.schema_step",
    "store.schema_version",
    "store.identity",
    "store.system_ensure",
    "facade.served",
    "facade.shared-create",
    "facade.shared-replace",
    "facade.scale-down",
    "facade.unserved",
];
const FINALIZERS: &str = "facade.finalizer-release";

/// Whether a failpoint is tried here.
pub(crate) fn is_tried(failpoint: &str) -> bool {
    let write = failpoint.rsplit_once('.').map_or("", |(write, _)| write);
    WRITES.contains(&write) || write == FINALIZERS
}

#[tokio::test(flavor = "multi_thread")]
async fn fire_1_an_installation_killed_at_every_failpoint_goes_on() -> Result<()> {
    let mut random = StdRng::seed_from_u64(form::seed());
    let mut plane = Plane::prepare().await?;
    keys(&plane, &mut random)?;
    schema(&plane, &mut random)?;
    at_start(&mut plane, "store.system_ensure", &mut random, 1).await?;
    plane.start_part(Part::Api, &[])?;
    plane.wait_part(Part::Api)?;
    for kind in ["ControlPlaneInstance", "KubernetesRuntimeInstance"].map(find_kind) {
        let (found, _) = plane
            .api
            .object_list_all(kind.context("no such kind")?, None)
            .await?;
        ensure!(found.len() == 1, "the control plane recorded itself as {found:?}");
    }
    definitions(&mut plane, &mut random).await?;
    for part in [Part::Facade, Part::Controllers, Part::Agent] {
        plane.start_part(part, &[])?;
        plane.wait_part(part)?;
    }
    check::all_is_mirrored(&plane).await?;
    controls::what_is_planted_is_found(&plane).await?;
    let cast = Cast {
        prefix: "installed".to_owned(),
        instances: 4,
    };
    round::play(&mut plane, &cast, Act::Create, &[]).await?;
    finalizers(&mut plane).await?;
    round::play(&mut plane, &cast, Act::Delete, &[]).await?;
    Ok(())
}

/// A program that ends by itself.
struct Program<'a> {
    name: &'static str,
    arguments: Vec<String>,
    database: Option<String>,
    plane: &'a Plane,
}

impl Program<'_> {
    fn run(&self, variables: &[(&str, String)]) -> Result<ExitStatus> {
        let mut command = Command::new(programs::path(self.name)?);
        command.args(&self.arguments).env("RUST_LOG", "error");
        command.envs(self.database.iter().map(|url| ("THREEPORT_DATABASE_URL", url)));
        command.envs(variables.iter().map(|(name, value)| (*name, value)));
        command
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("failed to run {}", self.name))
    }

    fn succeeds(&self) -> Result<()> {
        let status = self.run(&[])?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    /// What it hits when it is let be.
    fn hits(&self) -> Result<Hits> {
        let log = self.plane.path(&format!("{}.hits", uuid::Uuid::new_v4()));
        let status = self.run(&[("THREEPORT_FAILPOINT_LOG", log.display().to_string())])?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        hits::read(&log)
    }

    fn dies(&self, kill: &Kill) -> Result<()> {
        let log = self.plane.path(&format!("{}.hits", uuid::Uuid::new_v4()));
        let status = self.run(&kill.variables(&log))?;
        let proved = kill.is_proved_by(&log)?;
        ensure!(
            status.signal() == Some(SIGKILL) && proved,
            "{} did not die at {kill:?}, it ended with {status}",
            self.name
        );
        Ok(())
    }
}

/// Each bundle of keys is whole or not there, and what is there is kept.
fn keys(plane: &Plane, random: &mut StdRng) -> Result<()> {
    let kubectl = plane.kubectl()?;
    let program = |namespace: &str| Program {
        name: "threeport-api",
        arguments: vec![
            "bootstrap".to_owned(),
            format!("--namespace={namespace}"),
            format!("--name={RELEASE}"),
            format!("--kubeconfig={}", plane.kubernetes.kubeconfig().display()),
        ],
        database: None,
        plane,
    };
    let secrets = |namespace: &str| -> Result<BTreeMap<String, Value>> {
        let text = kubectl.run(&["get", "secrets", "--namespace", namespace, "--output=json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let entry = |secret: Value| {
            Some((
                secret["metadata"]["name"].as_str()?.to_owned(),
                secret["data"].clone(),
            ))
        };
        Ok(items.into_iter().filter_map(entry).collect())
    };
    kubectl.run(&["create", "namespace", "keys"])?;
    let usual = program("keys").hits()?;
    let whole = secrets("keys")?;
    for (index, kill) in kills(&["server.bundle", "server.authority"], &usual, random)?
        .iter()
        .enumerate()
    {
        let namespace = format!("keys-{index}");
        kubectl.run(&["create", "namespace", &namespace])?;
        program(&namespace).dies(kill)?;
        let half = secrets(&namespace)?;
        program(&namespace).succeeds()?;
        let all = secrets(&namespace)?;
        ensure!(
            all.keys().eq(whole.keys()) && half.iter().all(|(name, data)| all.get(name) == Some(data)),
            "{kill:?}: before {:?}, after {:?}",
            half.keys(),
            all.keys()
        );
        println!(
            "bootstrap, killed at {}, hit {}: {} of {} kept",
            kill.failpoint,
            kill.nth,
            half.len(),
            all.len()
        );
    }
    Ok(())
}

/// The migration goes on where it was.
fn schema(plane: &Plane, random: &mut StdRng) -> Result<()> {
    let program = |database: &str| -> Result<Program<'_>> {
        Ok(Program {
            name: "threeport-api",
            arguments: vec!["migrate".to_owned()],
            database: Some(plane.postgres.create_database(database, None)?),
            plane,
        })
    };
    let tables = |database: &str| {
        let query = "SELECT table_name, column_name, data_type FROM information_schema.columns \
                     WHERE table_schema = 'public' ORDER BY 1, 2";
        plane.postgres.execute(database, query)
    };
    let usual = program("schema")?.hits()?;
    let whole = tables("schema")?;
    let writes = WRITES
        .iter()
        .copied()
        .filter(|write| write.starts_with("store.schema") || *write == "store.identity");
    for (index, kill) in kills(&writes.collect::<Vec<_>>(), &usual, random)?
        .iter()
        .enumerate()
    {
        let database = format!("schema_{index}");
        let program = program(&database)?;
        program.dies(kill)?;
        program.succeeds()?;
        ensure!(tables(&database)? == whole, "{kill:?} left another schema");
        let identities = plane
            .postgres
            .execute(&database, "SELECT COUNT(*) FROM control_plane")?;
        ensure!(identities.trim() == "1", "{kill:?} left {identities} identities");
        println!("migrate, killed at {}, hit {}", kill.failpoint, kill.nth);
    }
    Ok(())
}

/// A kill on either side of each write, at a random one of its usual hits.
fn kills(writes: &[&str], usual: &Hits, random: &mut StdRng) -> Result<Vec<Kill>> {
    let mut kills = Vec::new();
    for failpoint in writes.iter().flat_map(|write| sides(write)) {
        let hits = usual
            .get(&failpoint)
            .with_context(|| format!("{failpoint} is never hit"))?;
        let nth = random.random_range(1..=*hits);
        kills.push(Kill { failpoint, nth });
    }
    Ok(kills)
}

fn sides(write: &str) -> [String; 2] {
    ["before", "after"].map(|side| format!("{write}.{side}"))
}

/// A part that is killed on either side of a write while it starts.
async fn at_start(plane: &mut Plane, write: &str, random: &mut StdRng, most: u64) -> Result<()> {
    for failpoint in sides(write) {
        let nth = random.random_range(1..=most);
        let kill = Kill { failpoint, nth };
        round::dies_at_start(plane, &kill).await?;
        println!("killed at {}, hit {nth}, while it starts", kill.failpoint);
    }
    Ok(())
}

/// Six definitions, a policy and its binding, on which the facade is killed one after the other.
async fn definitions(plane: &mut Plane, random: &mut StdRng) -> Result<()> {
    at_start(plane, "facade.served", random, 1).await?;
    at_start(plane, "facade.shared-create", random, 4).await?;
    plane.stop_part(Part::Facade)?;
    plane.start_part(Part::Facade, &[])?;
    plane.wait_part(Part::Facade)?;
    plane.stop_part(Part::Facade)?;
    let kubectl = plane.kubectl()?;
    let names = kubectl.run(&["get", "crds", "--output=name"])?;
    ensure!(names.lines().count() == 6, "{names}");
    // As an older operator would have left them.
    let mut annotate = vec!["annotate", "--overwrite"];
    annotate.extend(names.lines());
    annotate.push("threeport.io/definition-version=0.0.1");
    kubectl.run(&annotate)?;
    at_start(plane, "facade.shared-replace", random, 3).await
}

/// Finalizers are taken off by a program that is killed on the way; the facade puts them on again.
async fn finalizers(plane: &mut Plane) -> Result<()> {
    plane.stop_part(Part::Facade)?;
    let kubectl = plane.kubectl()?;
    let held = || -> Result<usize> {
        let path = "jsonpath={range .items[*]}{.metadata.finalizers}{\"\\n\"}{end}";
        let mut held = 0;
        for kind in ["workloaddefinitions", "workloadinstances"] {
            let text = kubectl.run(&["get", kind, "--namespace", NAMESPACE, "--output", path])?;
            held += text.lines().filter(|line| line.contains("threeport.io")).count();
        }
        Ok(held)
    };
    let usual = held()?;
    ensure!(usual == 3, "{usual} resources are held");
    let strip = |plane: &Plane, kill: Option<&Kill>| -> Result<()> {
        let program = Program {
            name: "threeport-operator",
            arguments: vec![
                "strip-finalizers".to_owned(),
                format!("--namespace={NAMESPACE}"),
                format!("--deployment={RELEASE}-facade"),
                format!("--kubeconfig={}", plane.path("facade.kubeconfig").display()),
            ],
            database: None,
            plane,
        };
        kill.map_or_else(|| program.succeeds(), |kill| program.dies(kill))
    };
    for failpoint in ["facade.scale-down", FINALIZERS, "facade.unserved"]
        .iter()
        .flat_map(|write| sides(write))
    {
        strip(plane, Some(&Kill { failpoint, nth: 1 }))?;
    }
    strip(plane, None)?;
    ensure!(held()? == 0, "finalizers are left on");
    plane.start_part(Part::Facade, &[])?;
    plane.wait_part(Part::Facade)?;
    wait_until("the facade holds them again", Duration::from_secs(20), || async {
        let now = held()?;
        Ok(if now == usual {
            Ok(())
        } else {
            Err(format!("{now} are held"))
        })
    })
    .await
}
