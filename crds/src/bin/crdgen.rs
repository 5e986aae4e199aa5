//! Writes the definitions of the custom resources as YAML: `crdgen [FOLDER]`, by default `crds/yaml`.

use std::path::PathBuf;

use anyhow::Context;
use threeport_model::yaml;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("crds/yaml"), PathBuf::from);
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    for crd in threeport_crds::all() {
        let path = folder.join(threeport_crds::file_name(&crd.spec.names.plural));
        let text = yaml::to_string(&crd).context("failed to write a definition as YAML")?;
        std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
