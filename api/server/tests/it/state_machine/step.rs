//! What may happen next: drawn from what the model has, so that most steps meet an object that is there, and shrunk so
//! that what is left can still happen.

use proptest::{
    prelude::*,
    sample::{select, subsequence},
    strategy::Union,
};
use proptest_state_machine::ReferenceStateMachine;

use super::model::{Key, Model, Spec};

/// How many names each kind has.
const NAMES: u8 = 3;

/// An object as somebody sends it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing {
    pub(super) key: Key,
    pub(super) body: Body,
}

/// All that can differ between two bodies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) variant: bool,
    /// What it places, if it is an instance.
    pub(super) definition: u8,
    pub(super) label: Option<bool>,
}

/// The header of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfMatch {
    Absent,
    Any,
    /// The ETag that the object has now.
    Current,
    /// One that it had or never had.
    Stale,
}

/// One request, or the few of a controller's run.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(Thing),
    Put(Thing, IfMatch),
    /// Changes the variant and the label, by merging.
    Patch(Thing, IfMatch),
    Delete {
        key: Key,
        cascade: bool,
        on: IfMatch,
    },
    Apply {
        things: Vec<Thing>,
        /// Which of them has a field that nobody knows.
        broken: Option<usize>,
        dry_run: bool,
    },
    /// A controller takes what is due and says that it is ready or, where it `finalize`s what is being deleted, gone.
    Run {
        key: Key,
        finalize: bool,
    },
}

impl Body {
    pub(super) fn spec(self, key: Key) -> Spec {
        Spec {
            variant: self.variant,
            definition: matches!(key, Key::Instance(_)).then_some(self.definition),
        }
    }
}

/// Every object that there can be.
pub(super) fn keys() -> Vec<Key> {
    let definitions = (0..NAMES).map(Key::Definition);
    definitions.chain((0..NAMES).map(Key::Instance)).collect()
}

fn key(model: &Model) -> BoxedStrategy<Key> {
    let present: Vec<Key> = model.objects.keys().copied().collect();
    if present.is_empty() {
        return select(keys()).boxed();
    }
    prop_oneof![1 => select(keys()), 3 => select(present)].boxed()
}

fn body() -> impl Strategy<Value = Body> {
    (any::<bool>(), 0..NAMES, any::<Option<bool>>()).prop_map(|(variant, definition, label)| Body {
        variant,
        definition,
        label,
    })
}

fn thing(model: &Model) -> impl Strategy<Value = Thing> + use<> {
    (key(model), body()).prop_map(|(key, body)| Thing { key, body })
}

fn if_match() -> impl Strategy<Value = IfMatch> {
    prop_oneof![
        3 => Just(IfMatch::Absent),
        1 => Just(IfMatch::Any),
        2 => Just(IfMatch::Current),
        1 => Just(IfMatch::Stale),
    ]
}

/// Mostly different objects in any order; sometimes one twice.
fn things() -> impl Strategy<Value = Vec<Thing>> {
    let different = subsequence(keys(), 1..=4).prop_shuffle();
    let several = prop_oneof![9 => different, 1 => prop::collection::vec(select(keys()), 2..=3)];
    several.prop_flat_map(|keys| {
        let bodies = prop::collection::vec(body(), keys.len());
        bodies.prop_map(move |bodies| {
            let pairs = keys.iter().zip(bodies);
            pairs.map(|(key, body)| Thing { key: *key, body }).collect()
        })
    })
}

fn apply() -> impl Strategy<Value = Step> {
    let broken = prop_oneof![9 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    (things(), broken, prop::bool::weighted(0.25)).prop_map(|(things, broken, dry_run)| Step::Apply {
        broken: broken.map(|index| index.index(things.len())),
        things,
        dry_run,
    })
}

/// Makes [`Step`]s as long as the model goes.
pub(super) struct Steps;

impl ReferenceStateMachine for Steps {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        let delete = (key(model), any::<bool>(), if_match());
        let mut steps = vec![
            (3, thing(model).prop_map(Step::Create).boxed()),
            (
                3,
                (thing(model), if_match())
                    .prop_map(|(thing, on)| Step::Put(thing, on))
                    .boxed(),
            ),
            (
                2,
                (thing(model), if_match())
                    .prop_map(|(thing, on)| Step::Patch(thing, on))
                    .boxed(),
            ),
            (
                3,
                delete
                    .prop_map(|(key, cascade, on)| Step::Delete { key, cascade, on })
                    .boxed(),
            ),
            (3, apply().boxed()),
        ];
        if !model.due.is_empty() {
            let due = select(model.due.iter().copied().collect::<Vec<_>>());
            let run = (due, prop::bool::weighted(0.75));
            steps.push((
                4,
                run.prop_map(|(key, finalize)| Step::Run { key, finalize })
                    .boxed(),
            ));
        }
        Union::new_weighted(steps).boxed()
    }

    fn preconditions(model: &Model, step: &Step) -> bool {
        match step {
            Step::Run { key, .. } => model.due.contains(key),
            _ => true,
        }
    }

    fn apply(mut model: Model, step: &Step) -> Model {
        let _ = model.step(step);
        model
    }
}

/// The kinds of steps, for counting what was tried.
pub(super) fn tried(step: &Step) -> &'static str {
    match step {
        Step::Create(_) => "create",
        Step::Put(..) => "put",
        Step::Patch(..) => "patch",
        Step::Delete { .. } => "delete",
        Step::Apply { dry_run: true, .. } => "dry run",
        Step::Apply { .. } => "apply",
        Step::Run { .. } => "run",
    }
}
