//! Which objects the words of a command mean: `tpwi`, `tpwi web`, `workloadinstance/web tpwd/shop`, `tpwd,tpwi`, `all`.

mod files;

use anyhow::{bail, ensure};
use threeport_model::{
    Kind, KindDescriptor, find_kind,
    kinds::{self, WorkloadDefinition, WorkloadInstance},
};

pub use files::{Meant, objects_or_files};

/// One object by its name.
pub type Named = (&'static KindDescriptor, String);

/// One object, or all objects of a kind.
#[derive(Clone)]
pub struct Selected {
    /// The kind.
    pub kind: &'static KindDescriptor,
    /// The object; all where absent.
    pub name: Option<String>,
}

/// What `words` mean.
pub fn parse(words: &[String]) -> anyhow::Result<Vec<Selected>> {
    let Some((first, rest)) = words.split_first() else {
        bail!("name a kind: {}", known())
    };
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| object(word)).collect();
    }
    let mut selected = Vec::new();
    for kind in kinds_of(first)? {
        if rest.is_empty() {
            selected.push(Selected { kind, name: None });
        }
        for name in rest {
            selected.push(Selected {
                kind,
                name: Some(name.clone()),
            });
        }
    }
    Ok(selected)
}

/// What `words` mean, each a single object.
pub fn objects(words: &[String]) -> anyhow::Result<Vec<Named>> {
    let named = parse(words)?.into_iter().map(|selected| match selected.name {
        Some(name) => Ok((selected.kind, name)),
        None => bail!("name an object: {} NAME", selected.kind.singular),
    });
    named.collect()
}

/// What `words` mean: exactly one object.
pub fn single(words: &[String]) -> anyhow::Result<Named> {
    let mut objects = objects(words)?;
    match (objects.pop(), objects.is_empty()) {
        (Some(object), true) => Ok(object),
        _ => bail!("name exactly one object, as KIND NAME or KIND/NAME"),
    }
}

fn object(word: &str) -> anyhow::Result<Selected> {
    let Some((kind, name)) = word.split_once('/') else {
        bail!("{word:?} should be KIND/NAME, like the others")
    };
    ensure!(!name.is_empty(), "{word:?} names no object");
    let kind = kind.split('.').next().unwrap_or(kind);
    Ok(Selected {
        kind: find(kind)?,
        name: Some(name.to_owned()),
    })
}

fn kinds_of(word: &str) -> anyhow::Result<Vec<&'static KindDescriptor>> {
    match word.to_ascii_lowercase().as_str() {
        "all" | "threeport" => Ok(kinds::ALL.iter().collect()),
        "workload" | "workloads" => [WorkloadDefinition::KIND, WorkloadInstance::KIND]
            .into_iter()
            .map(find)
            .collect(),
        _ => word.split(',').map(find).collect(),
    }
}

/// The kind that a word means.
pub fn find(word: &str) -> anyhow::Result<&'static KindDescriptor> {
    // `workloadinstances.threeport.io` is what kubectl prints.
    let short = word.strip_suffix(".threeport.io").unwrap_or(word);
    match find_kind(short) {
        Some(kind) => Ok(kind),
        None => bail!("there is no kind {word:?}; there are {}", known()),
    }
}

fn known() -> String {
    let words = kinds::ALL
        .iter()
        .map(|kind| format!("{} ({})", kind.plural, kind.short_name));
    let words: Vec<_> = words.chain(["workloads".to_owned(), "all".to_owned()]).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn parsed(text: &str) -> String {
        let selected = parse(&words(text)).unwrap();
        let each = selected.iter().map(|it| match &it.name {
            Some(name) => format!("{}/{name}", it.kind.short_name),
            None => it.kind.short_name.to_owned(),
        });
        each.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_read_as_kubectl_reads_them() {
        for (text, meaning) in [
            ("workloadinstances", "tpwi"),
            ("WorkloadInstance web shop", "tpwi/web tpwi/shop"),
            ("tpwd,tpwi", "tpwd tpwi"),
            ("workloads", "tpwd tpwi"),
            ("tpwi/web tpwd/web", "tpwi/web tpwd/web"),
            ("workloadinstances.threeport.io/web", "tpwi/web"),
            ("workloadinstances.threeport.io", "tpwi"),
        ] {
            assert_eq!(parsed(text), meaning, "{text}");
        }
        assert_eq!(parse(&words("all")).unwrap().len(), kinds::ALL.len());
    }

    #[test]
    fn what_means_nothing_is_refused_with_what_would() {
        let error = parse(&words("pods")).err().unwrap().to_string();
        assert!(error.contains("workloadinstances (tpwi)"), "{error}");
        for bad in ["", "tpwi/web shop", "tpwi/"] {
            assert!(parse(&words(bad)).is_err(), "{bad}");
        }
        assert!(objects(&words("tpwi")).is_err());
        assert!(single(&words("tpwi a b")).is_err());
        assert_eq!(single(&words("tpwi a")).unwrap().1, "a");
    }
}
