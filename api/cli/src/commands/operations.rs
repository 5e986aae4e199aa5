//! `tptctl operations`.

use clap::Args;
use threeport_model::kinds::operation::ChangedObject;

use super::Session;
use crate::{
    exit::Exit,
    output::{self, Format, age, table},
};

/// The most changes of an operation that are shown where not all are asked for: an apply may have a thousand.
const MOST_CHANGES: usize = 3;

/// Show who changed what, newest first
#[derive(Args, Debug)]
pub struct Operations {
    /// How many
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// How to show them
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Operations {
    pub(super) async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let api = session.connect().await?;
        let operations = api.client.operations(Some(self.limit)).await?;
        match self.output {
            Format::Json | Format::Yaml => output::structured(&operations, self.output)?,
            Format::Name => {
                output::print(
                    &operations
                        .iter()
                        .map(|it| format!("operation/{}\n", it.id))
                        .collect::<String>(),
                )?;
            }
            Format::Table | Format::Wide => {
                let now = jiff::Timestamp::now();
                let header = ["OPERATION", "AGE", "ACTOR", "ROUTE", "CHANGES"]
                    .map(str::to_owned)
                    .to_vec();
                let rows = operations.iter().map(|it| {
                    let actor = match &it.on_behalf_of {
                        Some(person) => format!("{} for {person}", it.actor),
                        None => it.actor.clone(),
                    };
                    let most = if self.output == Format::Wide {
                        usize::MAX
                    } else {
                        MOST_CHANGES
                    };
                    vec![
                        it.id.to_string(),
                        age(it.at, now),
                        actor,
                        it.route.clone(),
                        changes(&it.objects, most),
                    ]
                });
                output::print(&table(header, rows))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// What an operation changed, and how many more than `most`.
fn changes(objects: &[ChangedObject], most: usize) -> String {
    let mut changes: Vec<_> = objects
        .iter()
        .take(most)
        .map(|object| {
            format!(
                "{}/{} {}",
                object.kind.to_ascii_lowercase(),
                object.name,
                object.change.as_str()
            )
        })
        .collect();
    let more = objects.len().saturating_sub(most);
    if more > 0 {
        changes.push(format!("and {more} more"));
    }
    changes.join(", ")
}

#[cfg(test)]
mod tests {
    use threeport_model::kinds::operation::ChangeKind;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn of_many_changes_the_first_are_shown_and_the_others_counted() {
        let object = |number: i64| ChangedObject {
            id: Uuid::nil(),
            kind: "WorkloadInstance".to_owned(),
            name: format!("web-{number}"),
            change: ChangeKind::Created,
            generation: number,
        };
        let objects: Vec<_> = (0..1000).map(object).collect();
        let shown = "workloadinstance/web-0 created, workloadinstance/web-1 created";
        assert_eq!(changes(&objects[..2], 2), shown);
        assert_eq!(changes(&objects, 2), format!("{shown}, and 998 more"));
        assert!(changes(&objects, usize::MAX).ends_with(", workloadinstance/web-999 created"));
    }
}
