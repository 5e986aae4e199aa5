//! A kind is one file of the same name in each layer that knows kinds one by one: the model, which declares it, and the
//! custom resources.

use std::{collections::BTreeSet, fs, path::Path};

use threeport_model::kinds;

/// The names, without their ending, of the files in a folder of the source tree.
fn files(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder);
    let entries = fs::read_dir(folder).expect("a folder of the source tree");
    let stems = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    });
    stems.collect()
}

/// `workload_instance` of `WorkloadInstance`.
fn snake(kind: &str) -> String {
    kind.chars()
        .enumerate()
        .fold(String::new(), |mut name, (index, letter)| {
            if letter.is_ascii_uppercase() && index > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
            name
        })
}

#[test]
fn a_kind_is_one_file_of_the_same_name_in_each_layer() {
    // The control plane's own records, which nobody applies.
    let records = ["event", "operation"].map(str::to_owned);
    let kinds = kinds::ALL.iter().map(|kind| snake(kind.kind));
    let declared: BTreeSet<_> = kinds.chain(records).collect();
    assert!(declared.contains("workload_instance"), "{declared:?}");
    assert_eq!(files("api/model/src/kinds"), declared);
    let mirrored = || kinds::ALL.iter().filter(|kind| kind.custom_resource);
    assert_eq!(
        files("crds/src/kinds"),
        mirrored().map(|kind| snake(kind.kind)).collect()
    );
    assert_eq!(
        files("crds/yaml"),
        mirrored().map(|kind| kind.plural.to_owned()).collect()
    );
}
