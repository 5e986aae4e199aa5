//! `tptctl run`: manifests that know nothing of Threeport, delivered in one command.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use threeport_client::{ApplyBody, Client};
use threeport_model::{
    Code, Kind, Object, find_kind,
    kinds::{WorkloadDefinition, WorkloadInstance, workload_definition},
    manifest, name,
};

use super::{Session, delete, print_outcomes, wait_ready};
use crate::{
    arguments::duration,
    exit::{self, Exit},
    input,
    output::{self, Format},
    selection::{self, Named},
};

/// Run Kubernetes manifests: makes a WorkloadDefinition and a WorkloadInstance of them
#[derive(Args, Debug)]
pub struct Run {
    /// Name of both
    name: String,
    /// File, folder, kustomization or - (standard input); may be given several times
    #[arg(long = "filename", short = 'f', value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Folders with their folders
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Runtime to run in; the default one where absent
    #[arg(long)]
    runtime: Option<String>,
    /// Namespace for manifests that name none [default: NAME]
    #[arg(long, value_name = "NAMESPACE")]
    workload_namespace: Option<String>,
    /// Wait until it is Ready
    #[arg(long)]
    wait: bool,
    /// Delete both again, however the wait ends; refused where one of them is there already
    #[arg(long, requires = "wait")]
    remove: bool,
    /// The longest to wait; with --remove, also until they are gone
    #[arg(long, value_parser = duration, default_value = "5m")]
    timeout: Duration,
    /// Print the two objects and send nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// How to print what was applied
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

impl Run {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let objects = self.objects()?;
        if self.dry_run {
            let items: Vec<Value> = objects.iter().map(written).collect();
            match self.output {
                Some(format @ (Format::Json | Format::Yaml)) => {
                    output::structured(
                        &json!({"apiVersion": "v1", "kind": "List", "items": items}),
                        format,
                    )?;
                }
                Some(Format::Name) => self.print(&objects, Format::Name)?,
                None | Some(Format::Table | Format::Wide) => {
                    let names = objects
                        .iter()
                        .map(|object| format!("{} (dry run)\n", object.reference()));
                    output::print(&names.collect::<String>())?;
                }
            }
            return Ok(Exit::Ok);
        }
        let api = session.connect().await?;
        if !self.remove {
            return self.deliver(session, &api.client, &objects).await;
        }
        let both = self.absent(&api.client).await?;
        let delivered = self.deliver(session, &api.client, &objects).await;
        // A request whose answer was lost may have been carried out.
        let delivered = delivered.unwrap_or_else(|error| exit::report(&error));
        let removal = delete::How::removal(self.timeout);
        let removed = removal.delete_and_wait(session, &api.client, both).await?;
        Ok(delivered.worse(removed))
    }

    /// The instance and the definition, which are not there: what somebody else made is not ours to delete.
    async fn absent(&self, client: &Client) -> anyhow::Result<Vec<Named>> {
        let words = ["workloadinstance", "workloaddefinition"].map(|kind| format!("{kind}/{}", self.name));
        let both = selection::objects(&words)?;
        for (kind, name) in &both {
            match client.object_get(kind, name).await {
                Err(error) if error.code() == Some(Code::NotFound) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => bail!(
                    "{}/{name} is there already, and --remove would delete it",
                    kind.singular
                ),
            }
        }
        Ok(both)
    }

    async fn deliver(&self, session: &Session, client: &Client, objects: &[Object]) -> anyhow::Result<Exit> {
        let body = objects.iter().map(written).collect();
        let response = client.apply(ApplyBody::Objects(body), false).await?;
        let printed = match self.output {
            None => print_outcomes(&response),
            Some(format) => {
                let applied: Vec<_> = response
                    .results
                    .iter()
                    .map(|applied| applied.object.clone())
                    .collect();
                self.print(&applied, format)
            }
        };
        output::even_if_closed(printed)?;
        if !self.wait {
            if !session.quiet {
                let wait = format!("{} wait workloadinstance/{}", session.name, self.name);
                output::say(&format!("watch it with: {wait}"));
            }
            return Ok(Exit::Ok);
        }
        wait_ready(session, client, &response, self.timeout).await
    }

    fn objects(&self) -> anyhow::Result<[Object; 2]> {
        if let Some(problem) = name::problem(&self.name) {
            bail!("the name {:?} {problem}", self.name);
        }
        let sources = input::read(&self.files, self.recursive, true)?;
        let mut manifests = Vec::new();
        for source in &sources {
            let documents = input::documents(source)?;
            // One source at a time, so that an error names the file.
            let spec = workload_definition::Spec {
                manifests: None,
                yaml_document: Some(source.text.clone()),
            };
            if !documents.is_empty() {
                let found = manifest::of_spec(&spec).map_err(|errors| refused(&source.name, &errors))?;
                manifests.extend(found.into_iter().map(|manifest| manifest.object));
            }
        }
        let spec = workload_definition::Spec {
            manifests: Some(manifests),
            yaml_document: None,
        };
        manifest::of_spec(&spec).map_err(|errors| refused("the manifests", &errors))?;
        let definition = Object::new(WorkloadDefinition::KIND, &self.name, serde_json::to_value(spec)?);
        let mut placement = json!({"definition": self.name});
        for (field, value) in [
            ("runtime", &self.runtime),
            ("namespace", &self.workload_namespace),
        ] {
            if let Some(value) = value {
                placement[field] = json!(value);
            }
        }
        Ok([
            definition,
            Object::new(WorkloadInstance::KIND, &self.name, placement),
        ])
    }

    fn print(&self, objects: &[Object], format: Format) -> anyhow::Result<()> {
        let groups = objects
            .iter()
            .filter_map(|object| Some((find_kind(&object.kind)?, vec![object.clone()])));
        output::objects(&groups.collect::<Vec<_>>(), false, format)
    }
}

/// As a person would have written it.
fn written(object: &Object) -> Value {
    json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "metadata": {"name": object.metadata.name},
        "spec": object.spec,
    })
}

fn refused(source: &str, errors: &[threeport_model::FieldError]) -> anyhow::Error {
    let lines = errors.iter().map(|error| {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        let field = error
            .field
            .trim_start_matches("spec.yamlDocument")
            .trim_start_matches("spec")
            .trim_start_matches('.');
        let field = if field.is_empty() {
            String::new()
        } else {
            format!("{field}: ")
        };
        format!("{source}{line}: {field}{}", error.message)
    });
    anyhow::anyhow!(lines.collect::<Vec<_>>().join("\n"))
}
