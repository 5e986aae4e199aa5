//! The pins of `versions.toml`: what is built, from which Go module, how.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

const PINS: &str = include_str!("../versions.toml");

/// One component of `versions.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The release, without a leading `v`.
    pub version: String,
    /// The Go module whose release this is.
    pub module: String,
    /// The Go package of the command, as `go build` takes it.
    #[serde(default)]
    pub package: String,
    /// Names that the binary is also called by (a multi-call binary).
    #[serde(default)]
    pub links: Vec<String>,
    /// Extra linker flags: the version that the binary reports.
    #[serde(default)]
    pub ldflags: String,
    /// Files of the module that the component needs at run time, laid beside its binary.
    #[serde(default)]
    pub files: Vec<String>,
    /// How long a cold build takes on two cores, for the announcement.
    #[serde(default)]
    pub build_seconds: u64,
    /// Only some tests need it: built when it is first used.
    #[serde(default)]
    pub on_demand: bool,
    /// The component whose binary contains this one.
    pub within: Option<String>,
}

/// All pins by component name.
pub fn pins() -> Result<BTreeMap<String, Pin>> {
    toml::from_str(PINS).context("failed to parse versions.toml")
}

/// The pin of one component.
pub fn pin(component: &str) -> Result<Pin> {
    pins()?
        .remove(component)
        .with_context(|| format!("versions.toml has no component {component:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    /// `make up` builds the others, while somebody waits.
    #[test]
    fn what_only_some_tests_need_is_built_on_demand() {
        let pins = pins().unwrap();
        let on_demand = pins.iter().filter(|(_, pin)| pin.on_demand);
        let names: Vec<_> = on_demand.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["kwok", "registry"]);
    }

    #[test]
    fn pins_equal_what_the_go_modules_require() {
        for (name, pin) in pins().unwrap() {
            let folder = pin.within.as_ref().unwrap_or(&name);
            let file = paths::components().join(folder).join("go.mod");
            let text = std::fs::read_to_string(&file).unwrap();
            let wanted = format!("{} v{}", pin.module, pin.version);
            assert!(
                text.lines()
                    .any(|line| line.trim().trim_end_matches(" // indirect") == wanted
                        || line.trim() == format!("require {wanted}")
                        || line.trim().strip_suffix(" // indirect") == Some(&format!("require {wanted}"))),
                "{} does not require {wanted}",
                file.display()
            );
        }
    }
}
