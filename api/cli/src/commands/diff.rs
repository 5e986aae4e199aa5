//! `tptctl diff`.

use clap::Args;
use serde_json::{Value, json};
use similar::TextDiff;
use threeport_client::ApplyBody;
use threeport_model::{Code, Object, protocol::apply::Outcome};

use super::Session;
use crate::{arguments::Files, exit::Exit, input, output, selection};

/// Show what apply would change; exit code 2 if it would change something
#[derive(Args, Debug)]
pub struct Diff {
    #[command(flatten)]
    files: Files,
}

impl Diff {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let input = input::joined(&input::read(&self.files.files, self.files.recursive, false)?)?;
        let api = session.connect().await?;
        let answer = api.client.apply(ApplyBody::Yaml(input.text.clone()), true).await;
        let response = answer.map_err(|error| input.explain(error))?;
        let changed = response
            .results
            .iter()
            .filter(|applied| applied.outcome != Outcome::Unchanged);
        let mut text = String::new();
        for applied in changed {
            let after = &applied.object;
            let kind = selection::find(&after.kind)?;
            let before = match api.client.object_get(kind, &after.metadata.name).await {
                Ok(before) => Some(before),
                Err(error) if error.code() == Some(Code::NotFound) => None,
                Err(error) => return Err(error.into()),
            };
            text.push_str(&difference(before.as_ref(), after)?);
        }
        output::print(&text)?;
        Ok(if text.is_empty() {
            Exit::Ok
        } else {
            Exit::Differences
        })
    }
}

/// A unified diff of what a person may write.
fn difference(before: Option<&Object>, after: &Object) -> anyhow::Result<String> {
    let written = |object: &Object| -> anyhow::Result<String> {
        let metadata = json!({
            "name": object.metadata.name,
            "labels": object.metadata.labels,
            "annotations": object.metadata.annotations,
        });
        let value: Value = json!({"kind": object.kind, "metadata": metadata, "spec": object.spec});
        Ok(threeport_model::yaml::to_string(&value)?)
    };
    let old = before.map(written).transpose()?.unwrap_or_default();
    let new = written(after)?;
    let name = after.reference();
    let from = if before.is_some() {
        format!("{name} (now)")
    } else {
        "/dev/null".to_owned()
    };
    let diff = TextDiff::from_lines(&old, &new);
    Ok(diff
        .unified_diff()
        .context_radius(3)
        .header(&from, &format!("{name} (applied)"))
        .to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_shown_with_what_is_around_it() {
        let before = Object::new(
            "WorkloadInstance",
            "web",
            json!({"definition": "web", "suspend": false}),
        );
        let mut after = before.clone();
        after.spec["suspend"] = json!(true);
        let text = difference(Some(&before), &after).unwrap();
        assert!(
            text.contains("-  suspend: false") && text.contains("+  suspend: true"),
            "{text}"
        );
        assert!(
            difference(None, &after)
                .unwrap()
                .contains("+kind: WorkloadInstance")
        );
    }
}
