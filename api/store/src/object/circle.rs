//! Circles of instances that depend on each other: each would wait for the next one for ever, and none could be deleted
//! before the others. A change that makes one is refused. It is looked for in the transaction that writes: of two changes
//! that together make one, at least one runs again and sees the other.
//!
//! Only instances depend on something that may depend on them in turn, so nothing else is walked.

use std::collections::{BTreeMap, BTreeSet};

use threeport_model::{FieldError, Kind, Reference, kinds::WorkloadInstance};
use uuid::Uuid;

use super::change::Change;
use crate::{
    database::{sql::Sql, transaction::Transaction},
    error::{Error, Result},
};

/// What may be part of a circle.
const KIND: &str = WorkloadInstance::KIND;
/// The most dependencies that are walked for one request.
const MOST: usize = 100_000;
/// The most names of a circle that an error shows at each of its ends.
const SHOWN: usize = 5;

/// Who depends on whom.
type Graph = BTreeMap<Uuid, BTreeSet<Uuid>>;

/// Fails where a reference that is new leads into a circle. `before` are the ids that the objects referred to already:
/// what is in a circle since long may be changed otherwise.
pub(super) async fn check(
    transaction: &Transaction,
    changes: &[&Change<'_>],
    before: &Graph,
    references: &[(Uuid, Reference, Uuid)],
) -> Result<()> {
    let dependencies: Vec<&(Uuid, Reference, Uuid)> = references
        .iter()
        .filter(|(_, reference, _)| reference.kind == KIND)
        .collect();
    let fresh: Vec<&(Uuid, Reference, Uuid)> = dependencies
        .iter()
        .filter(|(from, _, to)| !before.get(from).is_some_and(|known| known.contains(to)))
        .copied()
        .collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let rewritten: BTreeSet<Uuid> = changes.iter().map(|change| change.id()).collect();
    let stored: BTreeSet<Uuid> = dependencies
        .iter()
        .map(|(_, _, to)| *to)
        .filter(|to| !rewritten.contains(to))
        .collect();
    let (mut graph, is_too_large) = reached(transaction, &stored.into_iter().collect::<Vec<_>>()).await?;
    // What is stored of those that are written is about to go.
    graph.retain(|from, _| !rewritten.contains(from));
    for (from, _, to) in dependencies {
        graph.entry(*from).or_default().insert(*to);
    }
    let mut ended = BTreeSet::new();
    for (from, reference, to) in fresh {
        let message = if is_too_large {
            format!("depends on more than {MOST} others over all steps")
        } else if let Some(circle) = circle(&graph, *from, *to, &mut ended) {
            format!(
                "would wait for ever: {}",
                shown(transaction, changes, &circle).await?
            )
        } else {
            continue;
        };
        let change = changes.iter().find(|change| change.id() == *from);
        return Err(Error::Invalid {
            what: change.map_or_else(String::new, |change| change.draft.reference()),
            errors: vec![FieldError::new(&reference.field, message)],
        });
    }
    Ok(())
}

/// Whether a stored object is reached again from what it depends on.
pub(super) async fn is_in_one(transaction: &Transaction, id: Uuid) -> Result<bool> {
    let (graph, _) = reached(transaction, &[id]).await?;
    Ok(graph
        .iter()
        .any(|(from, targets)| *from != id && targets.contains(&id)))
}

/// What is stored of the dependencies of `ids`, and of theirs, over any number of steps, and whether there are more than
/// are read.
async fn reached(transaction: &Transaction, ids: &[Uuid]) -> Result<(Graph, bool)> {
    let mut graph = Graph::new();
    if ids.is_empty() {
        return Ok((graph, false));
    }
    let rows = transaction.all(statement(ids)).await?;
    for row in &rows {
        graph
            .entry(row.get("from_id")?)
            .or_default()
            .insert(row.get("to_id")?);
    }
    Ok((graph, rows.len() > MOST))
}

/// The statement of them. UNION leaves out what was reached before, so that it ends where there is a circle, too. SQLite
/// takes the tables of a CROSS JOIN in their order.
pub(crate) fn statement(ids: &[Uuid]) -> Sql {
    let mut query = Sql::new(
        "WITH RECURSIVE x (from_id, to_id) AS (SELECT from_id, to_id FROM reference WHERE from_id IN ",
    );
    query.list(ids).push(" AND to_kind = ").bind(KIND).push(
        " UNION SELECT r.from_id, r.to_id FROM x CROSS JOIN reference r WHERE r.from_id = x.to_id AND r.to_kind = ",
    );
    query
        .bind(KIND)
        .push(") SELECT from_id, to_id FROM x LIMIT ")
        .bind(i64::try_from(MOST + 1).unwrap_or(i64::MAX));
    query
}

/// The way from `start` by way of `next` to something that was passed already. `ended` are those from which every way
/// was found to end: each is walked once, however many ask.
fn circle(graph: &Graph, start: Uuid, next: Uuid, ended: &mut BTreeSet<Uuid>) -> Option<Vec<Uuid>> {
    if next == start {
        return Some(vec![start, start]);
    }
    if ended.contains(&next) {
        return None;
    }
    let targets = |id: &Uuid| graph.get(id).into_iter().flatten().copied();
    let mut passed = BTreeSet::from([start, next]);
    let mut way = vec![start, next];
    let mut open = vec![targets(&next)];
    while let Some(ahead) = open.last_mut() {
        match ahead.next() {
            Some(id) if ended.contains(&id) => {}
            Some(id) => {
                way.push(id);
                if !passed.insert(id) {
                    return Some(way);
                }
                open.push(targets(&id));
            }
            None => {
                open.pop();
                if let Some(id) = way.pop() {
                    passed.remove(&id);
                    ended.insert(id);
                }
            }
        }
    }
    None
}

/// `a waits for b waits for a`; of a long one its ends.
async fn shown(transaction: &Transaction, changes: &[&Change<'_>], circle: &[Uuid]) -> Result<String> {
    let mut names: BTreeMap<Uuid, String> = changes
        .iter()
        .map(|change| (change.id(), change.draft.name.clone()))
        .collect();
    let (first, last) = match circle.len() > 2 * SHOWN {
        true => (&circle[..SHOWN], &circle[circle.len() - SHOWN..]),
        false => (circle, &circle[..0]),
    };
    let ids: Vec<Uuid> = first.iter().chain(last).copied().collect();
    let mut query = Sql::new("SELECT id, name FROM object WHERE id IN ");
    query.list(&ids);
    for row in transaction.all(query).await? {
        names.insert(row.get("id")?, row.get("name")?);
    }
    let name = |id: &Uuid| names.get(id).map_or("", String::as_str);
    let mut words: Vec<&str> = first.iter().map(name).collect();
    if !last.is_empty() {
        words.push("...");
        words.extend(last.iter().map(name));
    }
    Ok(words.join(" waits for "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn graph(edges: &[(u128, u128)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(id(*from)).or_default().insert(id(*to));
        }
        graph
    }

    fn found(edges: &[(u128, u128)]) -> Option<Vec<u128>> {
        let way = circle(&graph(edges), id(1), id(2), &mut BTreeSet::new())?;
        Some(way.iter().map(Uuid::as_u128).collect())
    }

    #[test]
    fn a_way_that_comes_back_is_a_circle_and_one_that_ends_is_none() {
        assert_eq!(found(&[(1, 2)]), None);
        assert_eq!(
            found(&[(1, 2), (2, 3), (2, 4), (3, 5), (4, 5)]),
            None,
            "two ways to 5"
        );
        assert_eq!(found(&[(1, 2), (2, 1)]), Some(vec![1, 2, 1]));
        assert_eq!(
            found(&[(1, 2), (2, 3), (2, 4), (3, 5), (4, 1)]),
            Some(vec![1, 2, 4, 1])
        );
        assert_eq!(
            found(&[(1, 2), (2, 3), (3, 2)]),
            Some(vec![1, 2, 3, 2]),
            "one that it only leads into"
        );
        assert_eq!(
            circle(&graph(&[]), id(1), id(1), &mut BTreeSet::new()),
            Some(vec![id(1), id(1)])
        );
    }

    #[test]
    fn what_was_found_to_end_is_not_walked_again() {
        let graph = graph(&[(1, 2), (2, 3), (3, 4)]);
        let mut ended = BTreeSet::new();
        assert_eq!(circle(&graph, id(1), id(2), &mut ended), None);
        assert_eq!(ended, BTreeSet::from([id(2), id(3), id(4)]));
    }
}
