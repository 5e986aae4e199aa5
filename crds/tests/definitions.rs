//! What every definition has to be, and that the checked in files are what the code says.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;
use threeport_model::{kinds, yaml};

#[test]
fn each_kind_of_the_model_has_a_definition_of_its_name() {
    let wanted: Vec<_> = kinds::ALL.iter().filter(|kind| kind.custom_resource).collect();
    let found = threeport_crds::all();
    assert_eq!(wanted.len(), found.len());
    for (kind, crd) in wanted.iter().zip(&found) {
        assert_eq!(crd.spec.names.kind, kind.kind);
        assert_eq!(
            crd.metadata.name.as_deref(),
            Some(format!("{}.threeport.io", kind.plural).as_str())
        );
        assert_eq!(
            crd.spec.versions[0]
                .additional_printer_columns
                .as_ref()
                .unwrap()
                .len(),
            kind.columns.len() + 1
        );
    }
}

#[test]
fn checked_in_files_are_what_crdgen_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut wanted = BTreeSet::new();
    for crd in threeport_crds::all() {
        let name = threeport_crds::file_name(&crd.spec.names.plural);
        let found = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            found == yaml::to_string(&crd).unwrap(),
            "{name} is out of date: run `cargo run -p threeport-crds --bin crdgen`"
        );
        wanted.insert(name);
    }
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(files.collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn every_field_is_described_and_none_has_a_default() {
    for crd in threeport_crds::all() {
        let schema =
            serde_json::to_value(&crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
        for part in ["spec", "status"] {
            check(
                &schema["properties"][part],
                &format!("{}.{part}", crd.spec.names.kind),
            );
        }
    }
}

fn check(schema: &Value, path: &str) {
    assert!(
        schema["description"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{path} has no description"
    );
    assert!(schema.get("default").is_none(), "{path} has a default");
    let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
    assert!(
        !path.contains(".spec") || schema["type"] != "object" || keeps,
        "{path} would be pruned"
    );
    let children = [
        &schema["properties"],
        &schema["items"]["properties"],
        &schema["additionalProperties"]["properties"],
    ];
    for (name, child) in children.iter().filter_map(|child| child.as_object()).flatten() {
        check(child, &format!("{path}.{name}"));
    }
}
