//! The secret values of what is written: sealed where they are new, marked as used where they come back as placeholders,
//! forgotten where only specifications of long ago had them.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{change::Change, write::Context};
use crate::{
    database::transaction::Transaction,
    error::{Error, Result},
    secret::{seal::Sealed, table},
};

/// For how many generations a secret value that is no longer used is kept, so that a former specification can be applied
/// again as it is shown.
const GENERATIONS: i64 = 10;

/// Seals the new values of changes. Answers object, generation and value, to be stored.
pub(crate) async fn seal(
    transaction: &Transaction,
    context: &Context<'_>,
    changes: &[&Change<'_>],
) -> Result<Vec<(Uuid, i64, Sealed)>> {
    let ids: Vec<Uuid> = changes
        .iter()
        .filter(|change| change.old.is_some() && has_secrets(change))
        .map(|change| change.id())
        .collect();
    let mut stored = table::generations(transaction, &ids).await?;
    let (mut sealed, mut used, mut outdated) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let (id, generation) = (change.id(), change.generation());
        let mut known = BTreeSet::new();
        for (digest, last_used) in stored.remove(&id).unwrap_or_default() {
            if last_used < generation - GENERATIONS {
                outdated.push((id, digest));
            } else {
                known.insert(digest);
            }
        }
        check(change, &known)?;
        let kept = change.draft.redacted.kept.keys();
        let kept = kept.filter(|digest| known.contains(*digest));
        used.extend(kept.map(|digest| (id, digest.clone(), generation)));
        seal_new(context, change, &mut sealed)?;
    }
    let statements = [table::forget(&outdated), table::mark(&used)];
    transaction
        .write(statements.into_iter().flatten().collect())
        .await?;
    Ok(sealed)
}

fn has_secrets(change: &Change<'_>) -> bool {
    let redacted = &change.draft.redacted;
    !(redacted.kept.is_empty() && redacted.values.is_empty())
}

/// Fails where a placeholder is of a value that is neither among the known ones nor among the change's own.
fn check(change: &Change<'_>, known: &BTreeSet<String>) -> Result<()> {
    let redacted = &change.draft.redacted;
    let unknown =
        |(digest, _): &(&String, _)| !known.contains(*digest) && !redacted.values.contains_key(*digest);
    let errors: Vec<_> = redacted
        .kept
        .iter()
        .filter(unknown)
        .map(|(_, error)| error.clone())
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid {
        what: change.draft.reference(),
        errors,
    })
}

/// Seals the values of a change that no former specification can have had.
pub(crate) fn seal_new(
    context: &Context<'_>,
    change: &Change<'_>,
    sealed: &mut Vec<(Uuid, i64, Sealed)>,
) -> Result<()> {
    for value in change.draft.redacted.values.values() {
        let key = context
            .key
            .ok_or_else(|| Error::Secret("there is no encryption key".to_owned()))?;
        let one = key.seal(change.id(), value, context.random.bytes())?;
        sealed.push((change.id(), change.generation(), one));
    }
    Ok(())
}
