//! The kubectl facade: with it `kubectl` is enough.
//!
//! Two halves, and for each object one of them writes:
//! - [`mirror`]: objects that the API owns are shown as custom resources, made by us, labelled
//!   `threeport.io/managed-by`. Nobody else may edit them; the admission policy ([`policy`]) sees to that.
//! - [`intake`]: custom resources that people or GitOps tools wrote are brought to the API, which owns them as
//!   `kubernetes`; status comes back.
//!
//! [`reconcile`] is the one code path: for a key (kind and name) it reads the custom resource (cached), then the
//! object (from the API, always), decides by pure functions and writes with the resource's own resourceVersion.
//! Since the object is read after the resource and the write fails where the resource moved, nothing is ever written
//! backwards, by one replica or several. What wakes a key (watches of both sides, a full list every five minutes, a
//! retry) only says *which*. A run has a [`deadline`]: nobody waits behind a call that is never answered.
//!
//! What not to do: don't take an absent custom resource for a wish to delete (etcd may have been restored, the
//! namespace removed): only a deletionTimestamp that was seen, in a namespace and with a CRD that stay, is one.
//! Don't put the database's generation into a condition of a custom resource ([`generation`]).

mod context;
mod crd_install;
mod deadline;
mod echo;
mod feed;
mod generation;
mod intake;
mod kept;
mod lag;
mod metrics;
mod mirror;
mod namespace;
mod news;
mod options;
mod policy;
mod queue;
mod reconcile;
mod remembered;
mod resource;
mod shared;
mod strip;
mod text;
mod waiters;
pub mod writes;

use std::sync::Arc;

use anyhow::Context as _;
use futures::future::join_all;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use metrics::Metrics;
pub use options::FacadeOptions;
pub use policy::POLICY;
pub use strip::strip_finalizers;

/// Runs until `shutdown`. Fails where the cluster lacks what the facade needs and it may not install it itself; the
/// error says what to run. However it ends, it lets go of what is in a namespace that is on its way out.
pub async fn run(options: FacadeOptions, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (kube, namespace) = (options.kube.clone(), options.namespace.clone());
    let served = serve(options, shutdown).await;
    let let_go = strip::on_shutdown(&kube, &namespace).await;
    served.and(let_go)
}

async fn serve(options: FacadeOptions, shutdown: CancellationToken) -> anyhow::Result<()> {
    let kube = options.kube.clone();
    let user = namespace::ensure_served(&kube, &options.namespace).await?;
    crd_install::install(&kube)
        .await
        .context("failed to install the custom resource definitions")?;
    policy::install(&kube)
        .await
        .context("failed to install the admission policy")?;
    let closing = namespace::watch(kube.clone(), options.namespace.clone(), user, shutdown.clone());
    let (queue, requests) = queue::channel();
    let (concurrency, interval) = (options.concurrency, options.list_interval);
    let (context, writers) = context::Context::new(options, queue, closing);
    let context = Arc::new(context);
    let tasks = TaskTracker::new();
    for (kind, writer) in writers {
        tasks.spawn(feed::resources(context.clone(), kind, writer, shutdown.clone()));
    }
    let ready = join_all(context.kinds().map(|kind| kind.store.wait_until_ready()));
    tokio::select! {
        _ = ready => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    context
        .options
        .ready
        .store(true, std::sync::atomic::Ordering::Relaxed);
    tasks.spawn(feed::objects(context.clone(), shutdown.clone()));
    tasks.spawn(feed::closing(context.clone(), shutdown.clone()));
    tasks.spawn(policy::keep(kube, interval, shutdown.clone()));
    tasks.close();
    let work = context.clone();
    let purpose = |key: &queue::Key| context.purpose(key);
    queue::run(
        requests,
        &context.queue,
        concurrency,
        shutdown,
        purpose,
        move |key| {
            let metrics = work.options.metrics.clone();
            deadline::bounded(metrics, key.clone(), reconcile::reconcile(work.clone(), key))
        },
    )
    .await;
    tasks.wait().await;
    Ok(())
}
