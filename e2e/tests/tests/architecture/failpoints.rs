//! Every write that a crate declares is made at one place, and each crate that declares some is in the program's list.

use std::{collections::BTreeMap, path::Path};

use super::sources::{read, root, sources};

/// The folders that declare writes, and the program's `main` that lists them.
const DECLARED: [(&str, &str); 6] = [
    ("api/store", "api/server"),
    ("api/server", "api/server"),
    ("operator/engine", "operator"),
    ("operator/controllers", "operator"),
    ("operator/facade", "operator"),
    ("operator/agent", "operator/agent"),
];

/// The constants of a `writes.rs`.
fn constants(text: &str) -> Vec<&str> {
    let lines = text.lines().filter_map(|line| line.trim().split_once(" = \""));
    lines.map(|(constant, _)| constant).collect()
}

#[test]
fn every_declared_write_is_made_at_one_place() {
    for (folder, _) in DECLARED {
        let source = root().join(folder).join("src");
        let declaration = source.join("writes.rs");
        let text = read(&declaration);
        let mut uses: BTreeMap<&str, usize> = constants(&text).into_iter().map(|name| (name, 0)).collect();
        assert!(uses.len() >= 3, "{folder} declares {uses:?}");
        let tests = source.join("tests");
        let counted = |path: &Path| path != declaration && !path.starts_with(&tests);
        for path in sources(&source).iter().filter(|path| counted(path)) {
            let text = read(path);
            for (constant, count) in &mut uses {
                let name = format!("writes::{constant}");
                let after = |index: usize| text[index + name.len()..].chars().next();
                let whole = text.match_indices(&name).filter(|(index, _)| {
                    after(*index).is_none_or(|next| !next.is_ascii_alphanumeric() && next != '_')
                });
                *count += whole.count();
            }
        }
        let others: Vec<_> = uses.iter().filter(|(_, count)| **count != 1).collect();
        assert!(others.is_empty(), "{folder}: used not once: {others:?}");
    }
}

#[test]
fn every_declaration_is_in_a_program_s_list() {
    for (folder, program) in DECLARED {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let name = manifest
            .lines()
            .find_map(|line| line.strip_prefix("name = \"threeport-"));
        let name = name.expect("a name").trim_end_matches('"');
        let main = read(&root().join(program).join("src/main.rs"));
        let own = folder == program && main.contains("writes::ALL");
        let others = format!("threeport_{name}::writes::ALL");
        assert!(
            own || main.contains(&others),
            "{program} does not list the failpoints of {folder}"
        );
    }
}
