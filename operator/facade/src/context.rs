//! What every run needs: clients, caches, who waits.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::{
    Api,
    core::DynamicObject,
    runtime::{
        events::{Recorder, Reporter},
        reflector::{ObjectRef, Store, store::Writer},
    },
};
use threeport_crds::CustomResource;
use threeport_model::{KindDescriptor, Object, kinds};
use threeport_telemetry::stages::Stage;
use tokio::sync::watch;

use crate::{
    FacadeOptions,
    echo::Echoes,
    kept::Kept,
    lag::{self, Shown},
    mirror::story::Told,
    news::News,
    queue::{Key, Purpose, Queue},
    resource,
    waiters::Waiters,
};

/// A mirrored kind and the custom resources of it that the API server has.
pub(crate) struct MirroredKind {
    pub(crate) descriptor: &'static KindDescriptor,
    pub(crate) store: Store<Kept>,
}

impl MirroredKind {
    /// One as the cache has it.
    fn kept(&self, name: &str) -> Option<Arc<Kept>> {
        self.store.get(&ObjectRef::new(name))
    }
}

/// See the module.
pub(crate) struct Context {
    pub(crate) options: FacadeOptions,
    pub(crate) queue: Queue,
    pub(crate) waiters: Waiters,
    pub(crate) shown: Shown,
    pub(crate) echoes: Echoes,
    pub(crate) told: Told,
    pub(crate) news: News,
    pub(crate) recorder: Recorder,
    pub(crate) closing: watch::Receiver<bool>,
    kinds: BTreeMap<&'static str, MirroredKind>,
}

impl Context {
    /// A context, and for each kind the side that fills its cache.
    pub(crate) fn new(
        options: FacadeOptions,
        queue: Queue,
        closing: watch::Receiver<bool>,
    ) -> (Self, Vec<(&'static KindDescriptor, Writer<Kept>)>) {
        let mut writers = Vec::new();
        let mut kinds = BTreeMap::new();
        for descriptor in kinds::ALL.iter().filter(|kind| kind.custom_resource) {
            let writer = Writer::new(());
            kinds.insert(
                descriptor.kind,
                MirroredKind {
                    descriptor,
                    store: writer.as_reader(),
                },
            );
            writers.push((descriptor, writer));
        }
        let reporter = Reporter {
            controller: "threeport.io/facade".to_owned(),
            instance: None,
        };
        let recorder = Recorder::new(options.kube.clone(), reporter);
        (
            Self {
                options,
                queue,
                waiters: Waiters::default(),
                shown: Shown::default(),
                echoes: Echoes::default(),
                told: Told::default(),
                news: News::default(),
                recorder,
                closing,
                kinds,
            },
            writers,
        )
    }

    /// The kinds that are mirrored.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &MirroredKind> {
        self.kinds.values()
    }

    pub(crate) fn kind(&self, kind: &str) -> Option<&MirroredKind> {
        self.kinds.get(kind)
    }

    /// A custom resource as the cache has it.
    pub(crate) fn found(&self, kind: &'static KindDescriptor, name: &str) -> Option<DynamicObject> {
        self.kind(kind.kind)?.kept(name)?.resource(kind)
    }

    /// What a key is run for, as far as the cache knows.
    pub(crate) fn purpose(&self, key: &Key) -> Purpose {
        match self.kind(key.kind).map(|kind| kind.kept(&key.name)) {
            Some(Some(kept)) => kept.purpose(),
            found => Purpose {
                new: found.is_some(),
                brings: false,
            },
        }
    }

    /// The custom resources of a kind, on the API server.
    pub(crate) fn api(&self, kind: &KindDescriptor) -> Api<CustomResource> {
        resource::api(&self.options.kube, &self.options.namespace, kind)
    }

    /// Whether the namespace is on its way out.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }

    /// The custom resource shows what the database has of the object: since now, where it was `written` for that.
    pub(crate) fn shows(&self, kind: &'static KindDescriptor, object: &Object, written: bool) {
        let Some(changed) = lag::changed(&object.metadata) else {
            return;
        };
        let is_news = self.shown.note(Key::new(kind, &object.metadata.name), changed);
        if is_news && written {
            let lag = jiff::Timestamp::now().duration_since(changed);
            // The database's clock may be ahead of ours.
            let lag = Duration::try_from(lag).unwrap_or_default();
            let metrics = &self.options.metrics;
            metrics.mirror_lag.observe(lag.as_secs_f64());
            metrics.stages.observe(kind.kind, Stage::Mirrored, lag);
        }
    }

    /// Wakes whoever waits for an object.
    pub(crate) async fn wake_waiters(&self, changed: &Key) {
        for key in self.waiters.take(&changed.to_string()) {
            self.queue.wake(key).await;
        }
    }
}
