//! The definitions in a real API server: it takes them, keeps what the API shall answer to, and refuses what it can
//! refuse itself, naming the field.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::{path::Path, time::Duration};

use serde_json::Value;
use threeport_testbed::{ControlPlane, ControlPlaneOptions, kubectl::Kubectl, wait};

fn refused(kubectl: &Kubectl, document: &str) -> String {
    let answer = kubectl.apply(document);
    assert!(answer.is_err(), "was not refused:\n{document}");
    answer.map_or_else(|error| format!("{error:#}"), |()| String::new())
}

fn json(kubectl: &Kubectl, arguments: &[&str]) -> Value {
    serde_json::from_str(&kubectl.run(arguments).unwrap()).unwrap()
}

#[test]
fn a_real_api_server_takes_the_definitions() {
    let control_plane = ControlPlane::start(&ControlPlaneOptions::default()).unwrap();
    let kubectl = control_plane.kubectl().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    kubectl
        .run(&["apply", "--server-side", "-f", folder.to_str().unwrap()])
        .unwrap();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "--all",
        ])
        .unwrap();
    for crd in json(&kubectl, &["get", "crd", "-o", "json"])["items"]
        .as_array()
        .unwrap()
    {
        let conditions = crd["status"]["conditions"].as_array().unwrap();
        assert!(
            !conditions
                .iter()
                .any(|condition| condition["type"] == "NonStructuralSchema"),
            "{conditions:?}"
        );
    }
    // Discovery follows the definitions by a moment.
    wait::until("list the category", Duration::from_secs(30), || {
        kubectl
            .run(&["get", "threeport", "-n", "default", "-o", "name"])
            .map(|_| ())
    })
    .unwrap();

    let instance = "apiVersion: threeport.io/v1alpha1\nkind: WorkloadInstance\nmetadata: {name: web, namespace: default}\n";
    kubectl
        .apply(&format!(
            "{instance}spec: {{definition: web, runtyme: x, dependsOn: [{{kind: X, name: other, nam: z}}]}}\n"
        ))
        .unwrap();
    let kept = json(&kubectl, &["get", "tpwi", "web", "-n", "default", "-o", "json"]);
    assert_eq!(kept["spec"]["runtyme"], "x");
    assert_eq!(kept["spec"]["dependsOn"][0]["nam"], "z");
    assert_eq!(
        kept["spec"].get("suspend"),
        None,
        "the API fills in defaults, not the API server"
    );

    let refusal = refused(&kubectl, &format!("{instance}spec: {{definition: [web]}}\n"));
    assert!(refusal.contains("spec.definition"), "{refusal}");
    let dotted = instance.replace("name: web", "name: web.example");
    let refusal = refused(&kubectl, &format!("{dotted}spec: {{definition: web}}\n"));
    assert!(refusal.contains("RFC 1123 label"), "{refusal}");
    let definition = instance.replace("WorkloadInstance", "WorkloadDefinition");
    for spec in ["{}", "{manifests: [], yamlDocument: \"\"}"] {
        let refusal = refused(&kubectl, &format!("{definition}spec: {spec}\n"));
        assert!(
            refusal.contains("exactly one of manifests and yamlDocument"),
            "{refusal}"
        );
    }
    kubectl
        .apply(&format!(
            "{definition}spec: {{manifests: [{{kind: ConfigMap, data: {{a: b}}}}]}}\n"
        ))
        .unwrap();
    let runtime = instance.replace("WorkloadInstance", "KubernetesRuntimeInstance");
    let refusal = refused(
        &kubectl,
        &format!("{runtime}spec: {{definition: x, connection: {{}}}}\n"),
    );
    assert!(
        refusal.contains("exactly one of inCluster, kubeconfig and eks"),
        "{refusal}"
    );
    kubectl
        .apply(&format!(
            "{runtime}spec: {{definition: x, connection: {{inCluster: {{}}}}}}\n"
        ))
        .unwrap();
}
