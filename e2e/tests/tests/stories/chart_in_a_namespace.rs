//! The chart as who has only a namespace lives with it: the steps of docs/how-to/install-with-helm.md word for word, some
//! as an administrator, the others as that person, whom nobody granted more than Kubernetes' role `admin` there.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use threeport_e2e::{Output, kubectl, kubectl::run, wait_until};

use crate::{
    chart::pods,
    documentation::{blocks, root},
    installation::{PARTS, RELEASE, values_of_another},
    scene::Scene,
    steps::live,
};

/// As the how-to calls them.
const NAMESPACE: &str = "team";
const PERSON: &str = "team-admin";
/// What the how-to says of the images: here they are elsewhere.
const REGISTRY: &str = "--set image.registry=registry.example.com/threeport";

/// Types a step into a shell, as an administrator.
async fn administrator_types(step: &str) -> Result<Output> {
    let script = format!("set -euo pipefail\ncd '{}'\n{step}", root().display());
    run("bash", &["-c", &script], None).await
}

/// Who has only the namespace.
struct Person {
    /// With a kubeconfig that makes every request as this person.
    folder: TempDir,
}

impl Person {
    async fn with_namespace() -> Result<Self> {
        kubectl(&format!("create namespace {NAMESPACE}"), None)
            .await?
            .success()?;
        let grant = format!("create rolebinding {PERSON} --clusterrole=admin --user={PERSON}");
        kubectl(&format!("-n {NAMESPACE} {grant}"), None)
            .await?
            .success()?;
        let asks = format!("-n {NAMESPACE} auth can-i create rolebindings --as={PERSON}");
        wait_until("the role is bound", Duration::from_secs(10), || async {
            let answer = kubectl(&asks, None).await?;
            Ok(if answer.code == 0 {
                Ok(())
            } else {
                Err(answer.stdout)
            })
        })
        .await?;

        let mut config = kubectl("config view --raw -o json", None)
            .await?
            .success()?
            .json()?;
        let users = config["users"].as_array_mut();
        for user in users.context("the kubeconfig names no user")? {
            user["user"]["as"] = json!(PERSON);
        }
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("kubeconfig"), config.to_string())?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Types a step into a shell in which nothing tells of the first control plane.
    async fn types(&self, step: &str) -> Result<Output> {
        let config = self.path().join("kubeconfig");
        let own = format!(
            "export KUBECONFIG='{}'\nunset THREEPORT_SERVER THREEPORT_CA_FILE THREEPORT_TOKEN_FILE THREEPORT_NAMESPACE",
            config.display()
        );
        administrator_types(&format!("{own}\n{step}")).await
    }
}

/// The one block of the how-to with these words.
fn step(how_to: &str, words: &str) -> Result<String> {
    let all = blocks(how_to).into_iter().map(|(_, block)| block);
    let mut found = all.filter(|block| block.contains(words));
    let step = found
        .next()
        .with_context(|| format!("no block of the how-to says {words:?}"))?;
    ensure!(
        found.next().is_none(),
        "several blocks of the how-to say {words:?}"
    );
    Ok(step)
}

/// The roles and bindings of the release in the whole cluster, and the namespace's roles.
async fn roles() -> Result<Vec<String>> {
    let list = format!("-n {NAMESPACE} get clusterroles,clusterrolebindings,roles -o name");
    let listed = kubectl(&list, None).await?.success()?.stdout;
    let of_cluster = format!("/{NAMESPACE}.{RELEASE}-");
    let counts = |name: &&str| name.contains(&of_cluster) || name.starts_with("role.");
    Ok(listed.lines().filter(counts).map(str::to_owned).collect())
}

/// An install with the chart's own values is refused with what to do, and leaves nothing.
async fn whole_install_is_refused(person: &Person, values: &str) -> Result<()> {
    let install = format!("helm install {RELEASE} helm/threeport --namespace {NAMESPACE} {values}");
    let refused = person.types(&install).await?;
    ensure!(
        refused.code != 0,
        "positive control: the person may make ClusterRoles"
    );
    for said in [
        "cannot get resource \"clusterroles\"",
        "rbac.create=false",
        "docs/how-to/install-with-helm.md",
    ] {
        ensure!(refused.stderr.contains(said), "{said} is not said: {refused:?}");
    }
    let list = format!("-n {NAMESPACE} get secrets,serviceaccounts,jobs,rolebindings -o name");
    let left = kubectl(&list, None).await?.success()?.stdout;
    ensure!(
        left.contains(PERSON),
        "positive control: what is there is not listed: {left}"
    );
    ensure!(!left.contains(RELEASE), "the refused install left {left}");
    Ok(())
}

/// What the person's role lacks is granted by the how-to's step, and no sooner: custom resources by `kubectl`.
async fn custom_resources_are_granted(person: &Person, how_to: &str) -> Result<()> {
    let looks = format!("kubectl get threeport -n {NAMESPACE}");
    let refused = person.types(&looks).await?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("threeport.io is forbidden"),
        "positive control: the person sees custom resources already: {refused:?}"
    );
    administrator_types(&step(how_to, "kubectl apply --namespace")?)
        .await?
        .success()?;
    let record = format!("controlplaneinstance.threeport.io/{RELEASE} ");
    let what = "the person sees the control plane's record of itself";
    wait_until(what, Duration::from_secs(30), || async {
        let seen = person.types(&looks).await?;
        Ok(if seen.code == 0 && seen.stdout.contains(&record) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_is_installed_upgraded_and_uninstalled_by_who_has_only_a_namespace() -> Result<()> {
    let scene = Scene::default().and_control_plane(NAMESPACE);
    scene
        .play(async |world| {
            let how_to = fs::read_to_string(root().join("docs/how-to/install-with-helm.md"))?;
            let person = Person::with_namespace().await?;
            let values = person.path().join("values.json");
            fs::write(&values, values_of_another(world).await?.to_string())?;
            let values = format!("--values '{}'", values.display());
            whole_install_is_refused(&person, &values).await?;

            administrator_types(&step(&how_to, "| kubectl apply")?)
                .await?
                .success()?;
            let granted = roles().await?;
            ensure!(granted.len() >= 10, "only these are granted: {granted:?}");
            ensure!(
                !granted.iter().any(|name| name.ends_with("-workloads")),
                "whoever makes a workload may do anything: {granted:?}"
            );

            let install = step(&how_to, "--set rbac.create=false")?;
            ensure!(install.contains(REGISTRY), "the images are named anew: {install}");
            person.types(&install.replace(REGISTRY, &values)).await?.success()?;
            custom_resources_are_granted(&person, &how_to).await?;
            // Before anything is bound to the account of workloads: the test brings what it needs.
            let test = format!("helm test {RELEASE} --namespace {NAMESPACE} --timeout 170s");
            person.types(&test).await?.success()?;
            person
                .types(&step(&how_to, "kubectl create rolebinding")?)
                .await?
                .success()?;

            let before = pods(NAMESPACE).await?;
            ensure!(before.len() > PARTS.len(), "only these pods run: {before:?}");
            let upgrade = format!(
                "helm upgrade {RELEASE} helm/threeport --namespace {NAMESPACE} --reset-then-reuse-values --wait \
                 --timeout 170s"
            );
            let said = person.types(&upgrade).await?.success()?.stdout;
            ensure!(said.contains("REVISION: 2"), "nothing was upgraded: {said}");
            let after = pods(NAMESPACE).await?;
            ensure!(before == after, "pods were {before:?} and are {after:?}");

            let uninstall = format!("helm uninstall {RELEASE} --namespace {NAMESPACE} --wait --timeout 120s");
            person.types(&uninstall).await?.success()?;
            ensure!(
                live(NAMESPACE, "deployment/threeport-api").await?.is_none(),
                "the API is there still"
            );
            ensure!(
                live(NAMESPACE, "deployment/hello").await?.is_some(),
                "the workload is gone"
            );
            administrator_types(&step(&how_to, "| kubectl delete")?)
                .await?
                .success()?;
            let left = roles().await?;
            ensure!(left.is_empty(), "of what was granted there is left {left:?}");
            Ok(())
        })
        .await
}
