//! Who may change what: each object has one owner, and an operation that reaches another owner's object is refused as a
//! whole, naming all of them.

use threeport_model::ManagedBy;
use uuid::Uuid;

use super::{change::Change, row::ObjectRow};
use crate::error::{Error, Result};

/// Fails where `writer` doesn't own all of the objects.
pub(crate) fn check<'a>(writer: ManagedBy, objects: impl Iterator<Item = &'a ObjectRow>) -> Result<()> {
    let foreign: Vec<&ObjectRow> = objects.filter(|object| object.managed_by != writer).collect();
    match foreign.first() {
        None => Ok(()),
        Some(first) => Err(Error::OwnedBy {
            owner: first.managed_by,
            objects: foreign.iter().map(|object| object.reference()).collect(),
        }),
    }
}

/// Fails where a change is not what its kind or its owner allows. What changes nothing is allowed to everybody.
pub(crate) fn check_changes(writer: ManagedBy, changes: &[Change<'_>]) -> Result<()> {
    check(
        writer,
        changes
            .iter()
            .filter(|change| change.is_effective())
            .filter_map(|change| change.old.as_ref()),
    )?;
    for change in changes.iter().filter(|change| change.is_effective()) {
        let Some(old) = &change.old else { continue };
        // A specification that can't be read can only be mended by another one.
        let Ok(spec) = old.spec() else { continue };
        let errors = (change.draft.kind.validate_change)(&spec, &change.draft.spec);
        if !errors.is_empty() {
            return Err(Error::Invalid {
                what: old.reference(),
                errors,
            });
        }
    }
    Ok(())
}

/// Fails where another object has the name by now. Its resource version may be the same: each begins with 1.
pub(crate) fn check_same(object: &ObjectRow, read: Option<Uuid>) -> Result<()> {
    match read {
        Some(id) if id != object.id => Err(Error::PreconditionFailed(format!(
            "{} is another object than the one that was read, which is gone",
            object.reference()
        ))),
        _ => Ok(()),
    }
}

/// Fails where the object is not as the caller read it.
pub(crate) fn check_match(object: &ObjectRow, if_match: Option<i64>) -> Result<()> {
    match if_match {
        Some(wanted) if wanted != object.resource_version => Err(Error::PreconditionFailed(format!(
            "{} has resource version {}, not {wanted}",
            object.reference(),
            object.resource_version
        ))),
        _ => Ok(()),
    }
}
