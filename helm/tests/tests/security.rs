//! What the chart's pods may do to the machine (the restricted Pod Security standard and more), and what their accounts
//! may do in the cluster.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use threeport_chart::{CASES, chart, containers, helm, name, objects, pods, render, template};

#[test]
fn every_pod_keeps_to_the_restricted_standard() {
    for case in CASES {
        let objects = render(case).unwrap();
        let pods = pods(&objects);
        assert!(pods.len() >= 9, "{case} has only {} pods", pods.len());
        for (owner, pod) in pods {
            let spec = &pod["spec"];
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{owner}");
            assert_eq!(spec["securityContext"]["runAsUser"], 65532, "{owner}");
            assert_eq!(
                spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
                "{owner}"
            );
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(spec[field].is_null(), "{owner}: {field}");
            }
            for volume in spec["volumes"].as_array().into_iter().flatten() {
                assert!(volume["hostPath"].is_null(), "{owner}: {volume}");
            }
            // Variables of Services would meet the programs' own: both begin with the release's name.
            assert_eq!(spec["enableServiceLinks"], false, "{owner}");
            assert!(
                spec["automountServiceAccountToken"].is_boolean(),
                "{owner} does not say whether it needs a token"
            );
        }
    }
}

#[test]
fn every_container_is_read_only_and_limited() {
    for case in CASES {
        let objects = render(case).unwrap();
        for (owner, pod) in pods(&objects) {
            for container in containers(pod) {
                let owner = format!("{owner}: {}", container["name"]);
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{owner}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{owner}");
                assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{owner}");
                for quantity in [
                    "/requests/cpu",
                    "/requests/memory",
                    "/limits/cpu",
                    "/limits/memory",
                ] {
                    assert!(
                        container["resources"].pointer(quantity).is_some(),
                        "{owner} has no {quantity}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_serves_has_all_three_probes() {
    let objects = render("default").unwrap();
    let serving = objects
        .iter()
        .filter(|object| ["Deployment", "StatefulSet"].contains(&object["kind"].as_str().unwrap()));
    let mut seen = 0;
    for object in serving {
        for container in object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
        {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert!(container[probe].is_object(), "{} has no {probe}", name(object));
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn no_credential_is_in_an_argument_or_a_variable() {
    for case in CASES {
        let objects = render(case).unwrap();
        assert!(
            objects.iter().all(|object| object["kind"] != "Secret"),
            "{case}: templates make no Secrets"
        );
        for (owner, pod) in pods(&objects) {
            for container in containers(pod) {
                let text = format!("{}{}", container["args"], container["env"]);
                assert!(
                    !text.contains("secretKeyRef") && !text.contains("://user:"),
                    "{owner}: {text}"
                );
            }
        }
    }
}

/// An administrator applies `rbac.yaml` of every component, and who has only the namespace installs the rest.
#[test]
fn who_has_only_a_namespace_installs_what_an_administrator_left() {
    let rendered = |arguments: &[&str]| {
        let granted = ["--set", "workloads.clusterAdmin=false"];
        let text = template("threeport", "team", &[arguments, &granted].concat()).unwrap();
        objects(&text).unwrap().iter().map(name).collect::<BTreeSet<_>>()
    };
    let rest = rendered(&["--set", "rbac.create=false"]);
    let of_roles: Vec<_> = rest.iter().filter(|name| name.contains("Role")).collect();
    assert_eq!(
        of_roles,
        [
            "Role/threeport-bootstrap",
            "Role/threeport-renewal",
            "Role/threeport-test",
            "RoleBinding/threeport-bootstrap",
            "RoleBinding/threeport-renewal",
            "RoleBinding/threeport-test",
        ],
        "these grant what Kubernetes' own role admin has"
    );
    let administrator = rendered(&["--show-only", "templates/*/rbac.yaml"]);
    assert!(administrator.contains("ClusterRole/team.threeport-agent"));
    let all = rendered(&[]);
    assert_eq!(&rest | &administrator, all);
    let left_out: BTreeSet<_> = all.difference(&rest).cloned().collect();
    assert!(left_out.is_subset(&administrator), "{left_out:?}");
}

/// Of Kubernetes' own roles none has a right on threeport.io, and who has only a namespace can't make one that has.
#[test]
fn who_has_only_a_namespace_is_told_what_kubectl_takes() {
    let notes = |setting: &str| {
        let chart = chart();
        let chart = chart.to_str().unwrap();
        helm(&[
            "install",
            "threeport",
            chart,
            "--dry-run=client",
            "--set",
            setting,
        ])
        .unwrap()
    };
    let said = "docs/how-to/install-with-helm.md has what an administrator grants for kubectl";
    assert!(notes("rbac.create=false").contains(said));
    let own = notes("rbac.create=true");
    assert!(!own.contains(said), "{own}");
    assert!(
        own.contains("tptctl --namespace"),
        "the control: these are no notes: {own}"
    );
}

/// Where the account of workloads may have been granted nothing, `helm test` keeps to the release's namespace.
#[test]
fn a_test_of_a_release_without_rights_brings_what_it_needs() {
    let rendered = |arguments: &[&str]| objects(&template("threeport", "team", arguments).unwrap()).unwrap();
    let arguments = |objects: &[Value]| {
        let job = objects.iter().find(|object| name(object) == "Job/threeport-test");
        strings(&job.unwrap()["spec"]["template"]["spec"]["containers"][0]["args"])
    };
    let own = "--workload-namespace=team";
    for setting in ["workloads.clusterAdmin=false", "rbac.create=false"] {
        let objects = rendered(&["--set", setting]);
        assert!(arguments(&objects).contains(own), "{setting}");
        let rules = rules_of(&objects, "threeport-workloads");
        let verbs = |resource: &str| {
            let of_it = rules
                .iter()
                .find(|rule| strings(&rule["resources"]).contains(resource));
            strings(&of_it.unwrap()["verbs"]).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(verbs("namespaces"), ["get"], "{setting}");
        assert_eq!(verbs("horizontalpodautoscalers"), ["list"], "{setting}");
        assert_eq!(
            verbs("deployments"),
            ["create", "delete", "get", "list", "patch"],
            "{setting}"
        );
        assert_eq!(rules.len(), 3, "{setting}: {rules:?}");
    }
    let trial = rendered(&[]);
    assert!(!arguments(&trial).contains(own));
    assert!(
        trial
            .iter()
            .all(|object| !name(object).ends_with("Role/threeport-test"))
    );
}

#[test]
fn the_controllers_have_no_right_on_custom_resources() {
    let objects = render("default").unwrap();
    let rules = rules_of(&objects, "threeport-controllers");
    assert!(!rules.is_empty());
    for rule in &rules {
        let groups = strings(&rule["apiGroups"]);
        assert!(
            !groups.contains("threeport.io") && !groups.contains("*"),
            "{rule}"
        );
    }
    let impersonated = rules
        .iter()
        .filter(|rule| strings(&rule["verbs"]).contains("impersonate"))
        .collect::<Vec<_>>();
    assert_eq!(impersonated.len(), 1);
    assert_eq!(impersonated[0]["resources"], json!(["serviceaccounts"]));
    assert_eq!(impersonated[0]["resourceNames"], json!(["threeport-workloads"]));
    // The positive control: the same look at the facade finds its rights.
    let facade = rules_of(&objects, "threeport-facade");
    assert!(
        facade
            .iter()
            .any(|rule| strings(&rule["apiGroups"]).contains("threeport.io"))
    );
}

#[test]
fn the_agent_only_lists_and_watches() {
    let objects = render("default").unwrap();
    let rules = rules_of(&objects, "threeport-agent");
    assert!(!rules.is_empty());
    for rule in rules {
        let verbs = strings(&rule["verbs"]);
        assert!(
            verbs
                .iter()
                .all(|verb| ["list", "watch"].contains(&verb.as_str())),
            // On any resource, `get` is the way into every pod and node: pods/exec, nodes/proxy.
            "{rule}"
        );
    }
}

#[test]
fn only_the_agent_reads_any_secret_and_only_a_trial_may_do_anything() {
    let read = |case: &str| {
        let objects = render(case).unwrap();
        let bindings = objects
            .iter()
            .filter(|object| object["roleRef"]["name"] == "cluster-admin")
            .map(name);
        let bindings = bindings.collect::<Vec<_>>();
        for account in ["api", "facade", "controllers", "bootstrap", "renewal", "nats"] {
            for rule in rules_of(&objects, &format!("threeport-{account}")) {
                let reads = strings(&rule["verbs"]).iter().any(|verb| verb != "create");
                let is_any =
                    strings(&rule["resources"]).contains("secrets") && rule["resourceNames"].is_null();
                assert!(!(reads && is_any), "{account}: {rule}");
            }
        }
        bindings
    };
    assert_eq!(
        read("default"),
        ["ClusterRoleBinding/threeport-system.threeport-workloads"]
    );
    assert!(read("external-two-replicas").is_empty());
}

#[test]
fn the_facade_may_write_exactly_the_definitions_of_the_models_kinds() {
    let objects = render("default").unwrap();
    let rules = rules_of(&objects, "threeport-facade");
    let named = rules
        .iter()
        .filter(|rule| strings(&rule["resources"]).contains("customresourcedefinitions"))
        .flat_map(|rule| strings(&rule["resourceNames"]))
        .collect::<BTreeSet<_>>();
    let kinds = threeport_model::kinds::ALL
        .iter()
        .map(|kind| format!("{}.threeport.io", kind.plural));
    assert_eq!(named, kinds.collect::<BTreeSet<_>>());
}

/// Who may write a definition may have the custom resources of every control plane converted.
#[test]
fn a_facade_that_may_not_write_what_control_planes_share_only_reads_it() {
    let shared = |setting: &str| {
        let text = template("threeport", "team", &["--set", setting]).unwrap();
        let rules = rules_of(&objects(&text).unwrap(), "threeport-facade");
        let is_shared = |rule: &Value| {
            let groups = strings(&rule["apiGroups"]);
            groups.contains("apiextensions.k8s.io") || groups.contains("admissionregistration.k8s.io")
        };
        rules.into_iter().filter(is_shared).collect::<Vec<_>>()
    };
    let read = shared("facade.writesDefinitions=false");
    let verbs = read.iter().map(|rule| &rule["verbs"]).collect::<Vec<_>>();
    assert_eq!(verbs, [&json!(["get", "list", "watch"]), &json!(["get"])]);
    assert!(
        read.iter().all(|rule| rule["resourceNames"].is_array()),
        "{read:?}"
    );
    let written = shared("facade.writesDefinitions=true");
    assert_eq!(written.len(), 4, "the positive control: {written:?}");
}

#[test]
fn budgets_are_only_where_there_are_two_replicas() {
    let budgets = |case: &str| {
        let objects = render(case).unwrap();
        objects
            .iter()
            .filter(|object| object["kind"] == "PodDisruptionBudget")
            .map(name)
            .collect::<Vec<_>>()
    };
    assert!(budgets("default").is_empty());
    assert_eq!(
        budgets("external-two-replicas"),
        [
            "PodDisruptionBudget/threeport-api",
            "PodDisruptionBudget/threeport-controllers"
        ]
    );
}

/// What `helm test` delivers is pulled from the same registry, and Secrets are of one namespace.
#[test]
fn what_the_test_delivers_may_pull_its_image() {
    let delivered = |arguments: &[&str]| {
        let objects = objects(&template("threeport", "threeport-system", arguments).unwrap()).unwrap();
        let is = |wanted: &str| objects.iter().find(|object| name(object) == wanted).unwrap();
        let workload = is("ConfigMap/threeport-test")["data"]["workload.yaml"]
            .as_str()
            .unwrap();
        let workload: Value = serde_saphyr::from_str(workload).unwrap();
        let job = is("Job/threeport-test")["spec"]["template"]["spec"].clone();
        let arguments = strings(&job["containers"][0]["args"]);
        assert!(arguments.contains("--filename=/etc/threeport/test/workload.yaml"));
        let beside = arguments.contains("--workload-namespace=threeport-system");
        (
            workload["spec"]["template"]["spec"]["imagePullSecrets"].clone(),
            beside,
        )
    };
    assert_eq!(delivered(&[]), (Value::Null, false));
    assert_eq!(
        delivered(&["--set", "image.pullSecrets={registry}"]),
        (json!([{"name": "registry"}]), true)
    );
}

/// While the database is away no API is ready, and the disruption budget would be used up.
#[test]
fn what_is_not_ready_holds_up_no_drain() {
    let objects = render("external-two-replicas").unwrap();
    let budgets = objects
        .iter()
        .filter(|object| object["kind"] == "PodDisruptionBudget")
        .map(|budget| &budget["spec"]["unhealthyPodEvictionPolicy"]);
    assert_eq!(budgets.collect::<Vec<_>>(), ["AlwaysAllow", "AlwaysAllow"]);
}

/// The rules of all roles that are bound to the ServiceAccount.
fn rules_of(objects: &[Value], account: &str) -> Vec<Value> {
    let bound = objects.iter().filter(|object| {
        let subjects = object["subjects"].as_array();
        subjects.is_some_and(|subjects| subjects.iter().any(|subject| subject["name"] == account))
    });
    let roles = bound.map(|binding| &binding["roleRef"]).collect::<Vec<_>>();
    objects
        .iter()
        .filter(|object| {
            roles
                .iter()
                .any(|role| role["kind"] == object["kind"] && role["name"] == object["metadata"]["name"])
        })
        .flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default())
        .collect()
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
