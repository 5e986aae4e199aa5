//! What people see of definitions and instances through REST, said again in the simplest way: a map, and no database.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Body, IfMatch, Step, Thing};

/// An object's kind, and which of its few names it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Definition(u8),
    Instance(u8),
}

/// All that can differ between two specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) variant: bool,
    /// What an instance places.
    pub(super) definition: Option<u8>,
}

/// An object that has no tombstone yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Each object that ever was has another: it stands for the id.
    pub(super) life: u32,
    pub(super) spec: Spec,
    pub(super) label: Option<bool>,
    pub(super) generation: i64,
    pub(super) version: i64,
    pub(super) deleting: bool,
    /// The generations that its controller called ready: its definition's, where it is an instance, and its own.
    ready: Option<(Option<i64>, i64)>,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) objects: BTreeMap<Key, Entry>,
    /// What controllers must be given when they ask. More may be.
    pub(super) due: BTreeSet<Key>,
    lives: u32,
}

/// A refusal: status and code.
pub(super) type Refusal = (u16, &'static str);

pub(super) const NOT_FOUND: Refusal = (404, "NotFound");
const ALREADY_EXISTS: Refusal = (409, "AlreadyExists");
const CONFLICT: Refusal = (409, "Conflict");
const REFERENCED: Refusal = (409, "Referenced");
const REFERENCE_DELETING: Refusal = (409, "ReferenceDeleting");
const PRECONDITION_FAILED: Refusal = (412, "PreconditionFailed");
const INVALID: Refusal = (422, "Invalid");
const REFERENCE_NOT_FOUND: Refusal = (422, "ReferenceNotFound");

/// An answer with objects in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Success {
    pub(super) status: u16,
    /// Each as it is shown, and what an apply says that became of it.
    pub(super) shown: Vec<(Key, Entry, &'static str)>,
}

/// What must be answered: this, or one of these refusals.
pub(super) type Answer = Result<Success, Vec<Refusal>>;

type Batch = Vec<(Key, Entry)>;

fn refuse<T>(refusal: Refusal) -> Result<T, Vec<Refusal>> {
    Err(vec![refusal])
}

impl Entry {
    fn target(&self) -> Option<Key> {
        self.spec.definition.map(Key::Definition)
    }
}

impl Model {
    /// Does a step, unless it is refused: then nothing is changed.
    pub(super) fn step(&mut self, step: &Step) -> Answer {
        match step {
            Step::Create(thing) => self.create(*thing),
            Step::Put(thing, on) => self.update(*thing, *on, |_| thing.body.spec(thing.key)),
            Step::Patch(thing, on) => self.update(*thing, *on, |old| Spec {
                variant: thing.body.variant,
                ..old.spec
            }),
            Step::Delete { key, cascade, on } => self.delete(*key, *cascade, *on),
            Step::Apply {
                things,
                broken,
                dry_run,
            } => {
                let distinct: BTreeSet<Key> = things.iter().map(|thing| thing.key).collect();
                if broken.is_some() || distinct.len() < things.len() {
                    return refuse(INVALID);
                }
                self.apply(things, *dry_run)
            }
            Step::Run { key, finalize } => {
                self.run(*key, *finalize);
                Ok(Success {
                    status: 200,
                    shown: Vec::new(),
                })
            }
        }
    }

    /// Whether the object is served as ready: its controller spoke about exactly what is wanted.
    pub(super) fn is_ready(&self, entry: &Entry) -> bool {
        entry.ready == Some((self.wanted_definition(entry), entry.generation))
    }

    fn wanted_definition(&self, entry: &Entry) -> Option<i64> {
        let definition = self.objects.get(&entry.target()?)?;
        Some(definition.generation)
    }

    fn new_entry(&mut self, key: Key, body: Body) -> Entry {
        self.lives += 1;
        Entry {
            life: self.lives,
            spec: body.spec(key),
            label: body.label,
            generation: 1,
            version: 1,
            deleting: false,
            ready: None,
        }
    }

    fn create(&mut self, thing: Thing) -> Answer {
        let entry = self.new_entry(thing.key, thing.body);
        // Nobody looks whether there is one: references are checked as those of a new object, then the index speaks.
        if let Some(refusal) = entry.target().and_then(|to| self.refused_reference(to, None)) {
            return refuse(refusal);
        }
        if self.objects.contains_key(&thing.key) {
            return refuse(ALREADY_EXISTS);
        }
        self.write(201, vec![(thing.key, entry)])
    }

    fn update(&mut self, thing: Thing, on: IfMatch, spec: impl Fn(&Entry) -> Spec) -> Answer {
        let old = self.matching(thing.key, on)?;
        let entry = Entry {
            spec: spec(old),
            label: thing.body.label,
            ..old.clone()
        };
        self.write(200, vec![(thing.key, entry)])
    }

    fn matching(&self, key: Key, on: IfMatch) -> Result<&Entry, Vec<Refusal>> {
        match self.objects.get(&key) {
            None => refuse(NOT_FOUND),
            Some(_) if on == IfMatch::Stale => refuse(PRECONDITION_FAILED),
            Some(entry) => Ok(entry),
        }
    }

    fn apply(&mut self, things: &[Thing], dry_run: bool) -> Answer {
        let before = self.clone();
        let mut batch = Batch::new();
        for thing in things {
            let entry = match self.objects.get(&thing.key) {
                None => self.new_entry(thing.key, thing.body),
                Some(old) if old.deleting => return refuse(CONFLICT),
                Some(old) => Entry {
                    spec: thing.body.spec(thing.key),
                    label: thing.body.label.or(old.label),
                    ..old.clone()
                },
            };
            batch.push((thing.key, entry));
        }
        let answer = self.write(200, batch);
        if dry_run {
            *self = before;
        }
        answer
    }

    fn delete(&mut self, key: Key, cascade: bool, on: IfMatch) -> Answer {
        self.matching(key, on)?;
        let mut reached = self.referrers(key);
        if !cascade && reached.iter().any(|referrer| !self.objects[referrer].deleting) {
            return refuse(REFERENCED);
        }
        reached.push(key);
        for key in reached {
            if let Some(entry) = self.objects.get_mut(&key).filter(|entry| !entry.deleting) {
                entry.deleting = true;
                entry.generation += 1;
                entry.version += 1;
                self.due.insert(key);
            }
        }
        let shown = vec![(key, self.objects[&key].clone(), "")];
        self.settle();
        Ok(Success { status: 202, shown })
    }

    /// A controller looked at what it was given: all is as it should be or, of what is being deleted, all is gone.
    fn run(&mut self, key: Key, finalize: bool) {
        self.due.remove(&key);
        let Some(entry) = self.objects.get(&key) else {
            return;
        };
        if finalize && self.is_finalized(key) {
            self.objects.remove(&key);
            self.settle();
            return;
        }
        let ready = Some((self.wanted_definition(entry), entry.generation));
        self.objects.entry(key).and_modify(|entry| entry.ready = ready);
    }

    /// Whether a run may end the object: instances wait for their controller, definitions only for their instances.
    pub(super) fn is_finalized(&self, key: Key) -> bool {
        matches!(key, Key::Instance(_)) && self.objects.get(&key).is_some_and(|entry| entry.deleting)
    }

    /// Definitions that are being deleted go with their last instance.
    fn settle(&mut self) {
        let waits = |key: &Key| matches!(key, Key::Instance(_)) || !self.referrers(*key).is_empty();
        let left = self.objects.iter();
        let gone: Vec<Key> = left
            .filter(|(key, entry)| entry.deleting && !waits(key))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.objects.remove(&key);
            self.due.remove(&key);
        }
    }

    fn referrers(&self, to: Key) -> Vec<Key> {
        let all = self.objects.iter();
        all.filter(|(_, entry)| entry.target() == Some(to))
            .map(|(key, _)| *key)
            .collect()
    }

    fn refused_reference(&self, to: Key, before: Option<Key>) -> Option<Refusal> {
        match self.objects.get(&to) {
            None => Some(REFERENCE_NOT_FOUND),
            // What was referred to before may go on being so.
            Some(found) if found.deleting && before != Some(to) => Some(REFERENCE_DELETING),
            Some(_) => None,
        }
    }

    fn is_respecified(&self, key: Key, entry: &Entry) -> bool {
        self.objects.get(&key).is_none_or(|old| old.spec != entry.spec)
    }

    fn check_references(&self, batch: &Batch) -> Result<(), Vec<Refusal>> {
        let mut refusals = Vec::new();
        for (key, entry) in batch {
            let to = entry.target().filter(|to| batch.iter().all(|(key, _)| key != to));
            if let Some(to) = to.filter(|_| self.is_respecified(*key, entry)) {
                let before = self.objects.get(key).and_then(Entry::target);
                refusals.extend(self.refused_reference(to, before));
            }
        }
        if refusals.is_empty() {
            Ok(())
        } else {
            Err(refusals)
        }
    }

    fn write(&mut self, status: u16, batch: Batch) -> Answer {
        self.check_references(&batch)?;
        let mut shown = Vec::new();
        for (key, mut entry) in batch {
            let old = self.objects.get(&key);
            let is_respecified = self.is_respecified(key, &entry);
            let outcome = match old {
                None => "created",
                Some(old) if *old == entry => "unchanged",
                Some(_) => {
                    entry.generation += i64::from(is_respecified);
                    entry.version += 1;
                    "configured"
                }
            };
            if is_respecified {
                self.due.insert(key);
                self.due.extend(self.referrers(key));
            }
            shown.push((key, entry.clone(), outcome));
            self.objects.insert(key, entry);
        }
        self.settle();
        Ok(Success { status, shown })
    }
}
