//! The chart's release: installed or upgraded by the real helm, also after an interrupted one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_testbed::paths::{create_folder, project, write_file};
use threeport_testbed::process::output;
use threeport_testbed::{progress, wait};

use crate::target::Target;
use crate::{Database, UpOptions, images, sample};

/// The namespace of the control plane.
pub(crate) const NAMESPACE: &str = "threeport-system";
/// The name of the release.
pub(crate) const RELEASE: &str = "threeport";
/// The port of the node on which the testbed's API is reached.
pub(crate) const API_NODE_PORT: u16 = 30443;
/// How long installing takes, and then until the control plane knows itself.
pub(crate) const INSTALL: Duration = Duration::from_secs(40);
pub(crate) const RECORDS: Duration = Duration::from_secs(10);
/// Marks a namespace that was made here, so that it may be removed here.
const OWNER: &str = "threeport.io/made-by";
/// The API's replicas on PostgreSQL where nobody says how many.
const REPLICAS: u32 = 2;

/// Installs or upgrades, and waits until all of it is ready.
pub(crate) fn install(target: &Target, options: &UpOptions, tag: &str) -> Result<()> {
    let installed = installed_values(target);
    keep_database(installed.as_ref(), options.database)?;
    create_namespace(target)?;
    forget_interrupted(target)?;
    let values = target.path("threeport/values.json");
    create_folder(&target.path("threeport"))?;
    write_file(
        &values,
        serde_json::to_vec_pretty(&chart_values(target, options, tag, installed.as_ref())?)?,
    )?;
    progress::step("Install the control plane", INSTALL, || {
        output(&mut upgrade(target, &values))
            .map(|_| ())
            .map_err(|error| error.context(explain(target)))
    })
}

/// helm with these values, beside which what somebody has set since stays: that workloads are no administrators, say.
fn upgrade(target: &Target, values: &Path) -> Command {
    let mut helm = target.helm();
    helm.args([
        "upgrade",
        "--install",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--reset-then-reuse-values",
        "--wait",
        "--timeout",
        "5m",
    ]);
    helm.arg("--values")
        .arg(values)
        .arg(project().join("helm/threeport"));
    helm
}

/// Waits until the control plane knows itself and the cluster that it runs in.
pub(crate) fn wait_for_own_records(target: &Target) -> Result<()> {
    let instance = format!("controlplaneinstance/{RELEASE}");
    let objects = ["kubernetesruntimeinstance/local", &instance];
    progress::step("Wait for the control plane's own records", RECORDS, || {
        // The mirrors may not be there yet, and kubectl wait fails at once for what is not.
        wait::until(
            "the control plane's own records",
            Duration::from_secs(120),
            || {
                let wait = [
                    "wait",
                    "--for=condition=Ready",
                    "--timeout=60s",
                    "--namespace",
                    NAMESPACE,
                ];
                target.run_kubectl(&[wait.as_slice(), objects.as_slice()].concat())
            },
        )
    })
    .map(|_| ())
}

/// Removes the sample, the release and, if it was made here, the namespace.
pub(crate) fn remove(target: &Target) -> Result<()> {
    progress::step("Remove the control plane", Duration::from_secs(60), || {
        sample::remove(target)?;
        uninstall(target)?;
        let selector = format!("{OWNER}=threeport-up");
        let arguments = [
            "delete",
            "namespace",
            "--ignore-not-found",
            "--selector",
            &selector,
        ];
        target.run_kubectl(
            &[
                arguments.as_slice(),
                &["--field-selector", "metadata.name=threeport-system"],
            ]
            .concat(),
        )
    })
    .map(|_| ())
}

/// Without the chart's Job that goes before, where the account is missing that it runs as: nothing came up that it could end,
/// and helm would wait for it in vain.
fn uninstall(target: &Target) -> Result<()> {
    let account = target.run_kubectl(&[
        "get",
        "serviceaccount",
        &format!("{RELEASE}-facade"),
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--output=name",
    ])?;
    let mut helm = target.helm();
    helm.args([
        "uninstall",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--wait",
    ]);
    if account.is_empty() {
        helm.arg("--no-hooks");
    }
    output(&mut helm).map(|_| ()).with_context(|| {
        format!(
            "failed to uninstall the release. If it never came up, \
             `helm uninstall {RELEASE} --namespace {NAMESPACE} --no-hooks` removes it, and then this the rest. If it did, \
             see docs/how-to/upgrade-and-uninstall.md first"
        )
    })
}

/// What stays in the cluster after [`remove`], for a person: what control planes share, and what is worth keeping.
pub(crate) fn what_stays(target: &Target) -> Result<String> {
    let definitions = target.run_kubectl(&["get", "customresourcedefinitions", "--output=name"])?;
    let names = definitions
        .lines()
        .filter_map(|line| line.rsplit('/').next())
        .filter(|name| name.ends_with(".threeport.io"))
        .collect::<Vec<_>>();
    let namespace = [
        "get",
        "namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--output=name",
    ];
    let has_namespace = !target.run_kubectl(&namespace)?.is_empty();
    Ok(stays_text(&names, has_namespace))
}

fn stays_text(definitions: &[&str], has_namespace: bool) -> String {
    let mut text =
        "Gone. What stays in the cluster: the workloads of instances that you made and did not delete"
            .to_owned();
    if has_namespace {
        text += &format!(
            "; the namespace {NAMESPACE}, which was there before, with the database's volume and the Secrets that a new \
             install takes over"
        );
    }
    if definitions.is_empty() {
        return text + ".";
    }
    text + &format!(
        "; and what all control planes of a cluster share: the CustomResourceDefinitions and the admission policy of \
         threeport.io. If this was the last one:\n\n  \
         kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy custom-resources.threeport.io\n  \
         kubectl delete customresourcedefinition {}",
        definitions.join(" ")
    )
}

/// The values of the release that is there.
fn installed_values(target: &Target) -> Option<Value> {
    let mut helm = target.helm();
    helm.args([
        "get",
        "values",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--output",
        "json",
    ]);
    output(&mut helm)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
}

/// Another database would be an empty one: a control plane that knows nothing of the workloads that run, and whose
/// objects are another's to it.
fn keep_database(installed: Option<&Value>, wanted: Database) -> Result<()> {
    let Some(installed) = installed else { return Ok(()) };
    let has_external = installed.pointer("/database/mode").and_then(Value::as_str) == Some("external");
    ensure!(
        has_external == (wanted == Database::Postgresql),
        "the control plane that runs here keeps its data in {}; with another database it would know none of its \
         workloads. Run `make down` first, or the same `make up` as before",
        if has_external {
            "PostgreSQL (DATABASE=postgresql)"
        } else {
            "SQLite (without DATABASE)"
        }
    );
    Ok(())
}

fn create_namespace(target: &Target) -> Result<()> {
    if target
        .run_kubectl(&["get", "namespace", NAMESPACE, "--output=name"])
        .is_ok()
    {
        return Ok(());
    }
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {
            OWNER: "threeport-up",
            "pod-security.kubernetes.io/enforce": "restricted",
        }},
    });
    target.apply(&namespace.to_string())
}

/// helm refuses to work on a release whose last operation was killed or whose removal failed: the record of that operation goes, what it
/// made stays and is taken over.
fn forget_interrupted(target: &Target) -> Result<()> {
    let selector = format!(
        "owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback,uninstalling)"
    );
    target
        .run_kubectl(&[
            "delete",
            "secret",
            "--namespace",
            NAMESPACE,
            "--selector",
            &selector,
        ])
        .map(|_| ())
}

fn chart_values(target: &Target, options: &UpOptions, tag: &str, installed: Option<&Value>) -> Result<Value> {
    let registry = options.registry.as_deref().unwrap_or(images::LOCAL);
    let mut values = json!({
        "image": {"registry": registry, "tag": tag},
        "nats": {"image": {"reference": format!("{registry}/threeport-nats:{tag}")}},
    });
    if let Some(cluster) = target.cluster() {
        values["api"] = json!({
            "service": {"type": "NodePort", "nodePort": API_NODE_PORT},
            "tls": {"additionalNames": [cluster.node_address(), "localhost"]},
        });
    }
    if options.database == Database::Postgresql {
        crate::database::provide(target)?;
        values["database"] = json!({"mode": "external", "external": {"secretName": crate::database::SECRET}});
        values["api"]["replicas"] = replicas(options.api_replicas, installed);
    }
    Ok(values)
}

/// Those that are asked for, else those that were set, else what it begins with.
fn replicas(wanted: Option<u32>, installed: Option<&Value>) -> Value {
    let set = installed.and_then(|values| values.pointer("/api/replicas"));
    match (wanted, set) {
        (Some(wanted), _) => json!(wanted),
        (None, Some(set)) => set.clone(),
        (None, None) => json!(REPLICAS),
    }
}

/// What a person needs to see when an installation failed: the pods that are not ready, and the last events.
fn explain(target: &Target) -> String {
    let look = |arguments: &[&str]| {
        target
            .run_kubectl(arguments)
            .unwrap_or_else(|error| format!("({error:#})"))
    };
    let namespace = ["--namespace", NAMESPACE];
    let pods = look(&[&["get", "pods", "--output=wide"], namespace.as_slice()].concat());
    let logs = look(
        &[
            &[
                "logs",
                "--selector=app.kubernetes.io/name=threeport",
                "--all-containers",
                "--prefix",
                "--tail=5",
                "--ignore-errors",
            ],
            namespace.as_slice(),
        ]
        .concat(),
    );
    let events = look(
        &[
            &["get", "events", "--sort-by=.lastTimestamp"],
            namespace.as_slice(),
        ]
        .concat(),
    );
    let events = events
        .lines()
        .rev()
        .take(12)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .collect::<Vec<_>>()
        .join("\n");
    format!("failed to install the chart\npods:\n{pods}\nlogs:\n{logs}\nlast events:\n{events}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Machine;

    #[test]
    fn what_stays_is_said() {
        let all = stays_text(&["workloadinstances.threeport.io"], true);
        for wanted in [
            NAMESPACE,
            "custom-resources.threeport.io",
            "workloadinstances.threeport.io",
        ] {
            assert!(all.contains(wanted), "{all}");
        }
        assert!(!stays_text(&[], false).contains("threeport.io"));
    }

    /// A machine whose cluster has this account of the facade, and whose helm notes what it is called with.
    fn machine_with(account: &str) -> Machine {
        let machine = Machine::new("default", "v1.35.0", &["helm"]);
        let kubectl = format!(
            "case \"$*\" in
                'config current-context') echo default ;;
                *' get customresourcedefinition '*) exit 1 ;;
                *' get serviceaccount threeport-facade '*) printf '%s' '{account}' ;;
            esac"
        );
        machine.has("kubectl", &kubectl);
        machine
    }

    #[test]
    fn what_never_came_up_is_removed_without_the_step_that_could_not_run() {
        for (account, is_left_out) in [("", true), ("serviceaccount/threeport-facade", false)] {
            let machine = machine_with(account);
            remove(&Target::current(&machine.path()).unwrap()).unwrap();
            let called = machine.arguments("helm").unwrap();
            assert!(
                called.iter().any(|argument| argument == "uninstall"),
                "{called:?}"
            );
            let no_hooks = called.iter().any(|argument| argument == "--no-hooks");
            assert_eq!(no_hooks, is_left_out, "{called:?}");
        }
    }

    #[test]
    fn a_release_that_does_not_go_is_told_with_what_to_do() {
        let machine = machine_with("serviceaccount/threeport-facade");
        machine.has("helm", "exit 1");
        let told = remove(&Target::current(&machine.path()).unwrap()).unwrap_err();
        let command = "helm uninstall threeport --namespace threeport-system --no-hooks";
        assert!(told.to_string().contains(command), "{told:#}");
    }

    #[test]
    fn what_somebody_has_set_stays_set() {
        let machine = Machine::new("default", "v1.35.0", &[]);
        let target = Target::current(&machine.path()).unwrap();
        let helm = upgrade(&target, Path::new("values.json"));
        assert!(
            helm.get_args()
                .any(|argument| argument == "--reset-then-reuse-values"),
            "{helm:?}"
        );

        let installed = json!({"api": {"replicas": 3}});
        assert_eq!(replicas(None, Some(&installed)), json!(3));
        assert_eq!(replicas(Some(1), Some(&installed)), json!(1));
        assert_eq!(replicas(None, Some(&json!({}))), json!(REPLICAS));
        assert_eq!(replicas(None, None), json!(REPLICAS));
    }

    #[test]
    fn a_control_plane_keeps_its_database() {
        let external = json!({"database": {"mode": "external"}});
        let embedded = json!({});
        for wanted in [Database::Sqlite, Database::Postgresql] {
            assert!(keep_database(None, wanted).is_ok());
        }
        assert!(keep_database(Some(&embedded), Database::Sqlite).is_ok());
        assert!(keep_database(Some(&external), Database::Postgresql).is_ok());
        for (installed, wanted) in [(embedded, Database::Postgresql), (external, Database::Sqlite)] {
            let refusal = keep_database(Some(&installed), wanted).unwrap_err().to_string();
            assert!(refusal.contains("make down"), "{refusal}");
        }
    }
}
