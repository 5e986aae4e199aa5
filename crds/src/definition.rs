//! From kube-derive's CustomResourceDefinition to the one that is installed: names, columns and texts from the
//! kind's declaration, and the annotations by which operators of different versions agree on one definition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use serde_json::Value;
use threeport_model::{Column, Kind, digest};

use crate::schema;

/// Annotation: the version of Threeport whose definition this is. The newest wins.
pub const VERSION_ANNOTATION: &str = "threeport.io/definition-version";
/// Annotation: digest of the definition's `spec`, so that two different ones of one version are told apart.
pub const HASH_ANNOTATION: &str = "threeport.io/definition-hash";
/// What `kubectl get threeport` lists.
pub const CATEGORY: &str = "threeport";

/// Fills in what the declaration of `K` says. `rules` are CEL rules of the specification; each has to be cheap, and
/// right for every desired state that the API takes.
pub fn complete<K: Kind>(
    mut crd: CustomResourceDefinition,
    rules: &[schema::Rule],
) -> CustomResourceDefinition {
    let names = &mut crd.spec.names;
    names.plural = K::PLURAL.to_owned();
    names.singular = Some(K::SINGULAR.to_owned());
    names.list_kind = Some(format!("{}List", K::KIND));
    names.short_names = Some(vec![K::SHORT_NAME.to_owned()]);
    names.categories = Some(vec![CATEGORY.to_owned()]);
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(K::COLUMNS.iter().map(column).chain([age()]).collect());
        if let Some(validation) = &mut version.schema {
            let derived = validation.open_api_v3_schema.take();
            validation.open_api_v3_schema = derived.map(|derived| schema::structural::<K>(derived, rules));
        }
    }
    annotate(&mut crd);
    crd
}

fn column(column: &Column) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: column.name.to_owned(),
        type_: column.kind.to_owned(),
        json_path: column.path.to_owned(),
        priority: (column.priority != 0).then_some(column.priority),
        ..CustomResourceColumnDefinition::default()
    }
}

fn age() -> CustomResourceColumnDefinition {
    column(&Column {
        name: "AGE",
        kind: "date",
        path: ".metadata.creationTimestamp",
        priority: 0,
    })
}

fn annotate(crd: &mut CustomResourceDefinition) {
    let spec = serde_json::to_value(&crd.spec).unwrap_or(Value::Null);
    let annotations = crd.metadata.annotations.get_or_insert_default();
    annotations.insert(
        VERSION_ANNOTATION.to_owned(),
        env!("CARGO_PKG_VERSION").to_owned(),
    );
    annotations.insert(HASH_ANNOTATION.to_owned(), digest::of_json(&spec));
}
