//! What the agent no longer sees is not called Ready; back, it catches up with what happened meanwhile.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_e2e::{World, kubectl, wait_until, workload};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    task::JoinHandle,
};

use crate::{
    installation::scale,
    scene::Scene,
    steps::{apply, condition_of, custom_resource, live, wait_ready},
};

const AGENT: &str = "deployment threeport-agent";
const UNKNOWN: Duration = Duration::from_secs(30);

/// `kubectl get --watch` of an instance's Ready: every state that it had, also one that nobody would see who asks now
/// and then.
struct Watch {
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Watch {
    fn start(world: &World, name: &str) -> Result<Self> {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}{"\n"}"#;
        let resource = format!("workloadinstance/{name}");
        let mut child = Command::new("kubectl")
            .args(["-n", &world.namespace, "get", &resource, "--watch", "-o", path])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start kubectl get --watch")?;
        let output = child.stdout.take().context("kubectl has no output")?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let states = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                states.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
            // Owned until here: with the task it is killed.
            drop(child);
        });
        Ok(Self { seen, task })
    }

    fn seen(&self) -> Result<Vec<String>> {
        ensure!(!self.task.is_finished(), "kubectl get --watch ended");
        Ok(self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Waits until the newest state is the wanted one.
    async fn is_now(&self, state: &str, limit: Duration) -> Result<()> {
        wait_until(&format!("Ready is {state}"), limit, || async {
            let seen = self.seen()?;
            Ok(if seen.last().is_some_and(|last| last == state) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            })
        })
        .await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until a live object is there.
async fn there(namespace: &str, what: &str) -> Result<()> {
    wait_until(
        &format!("{what} of {namespace} is there"),
        Duration::from_secs(60),
        || async {
            Ok(live(namespace, what)
                .await?
                .map(drop)
                .ok_or_else(|| "absent".to_owned()))
        },
    )
    .await
}

/// Waits until the cluster's own record says so of its agent; what it says then.
async fn agent_is_connected(world: &World, connected: bool) -> Result<Value> {
    let what = format!("the record says that connected is {connected}");
    wait_until(&what, UNKNOWN, || async {
        let runtime = custom_resource(world, "kubernetesruntimeinstance/local").await?;
        let runtime = runtime.context("absent")?;
        Ok(if runtime["status"]["agent"]["connected"] == connected {
            Ok(runtime)
        } else {
            Err(runtime["status"].to_string())
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn story_6_without_its_agent_an_instance_is_unknown_within_30_s_never_true_and_recovers() -> Result<()>
{
    let before = workload::service("unseen", workload::IMAGE);
    let mut after = before.clone();
    after.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "meanwhile"}, "data": {"a": "b"}}));
    let objects = [
        workload::definition("unseen", &before),
        workload::instance("unseen", "unseen", &json!({})),
    ];
    Scene::of(&objects)
        .and_changes_of_the_installation()
        .play(async |world| {
            let namespace = &world.namespace;
            apply(world, &objects).await?;
            wait_ready(world, &objects).await?;
            let watch = Watch::start(world, "unseen")?;
            watch.is_now("True", Duration::from_secs(30)).await?;
            agent_is_connected(world, true).await?;

            let begin = Instant::now();
            scale(namespace, AGENT, 0).await?;
            watch
                .is_now("Unknown", UNKNOWN.saturating_sub(begin.elapsed()))
                .await?;
            println!("Unknown after {:.1} s", begin.elapsed().as_secs_f32());
            let instance = custom_resource(world, "workloadinstance/unseen").await?;
            let instance = instance.context("the instance is gone")?;
            let ready = condition_of(&instance, "Ready").cloned().unwrap_or_default();
            ensure!(ready["reason"] == "AgentSilent", "{ready}");
            let runtime = agent_is_connected(world, false).await?;
            let ready = condition_of(&runtime, "Ready").cloned().unwrap_or_default();
            ensure!(
                ready["status"] == "False"
                    && ready["reason"] == "AgentSilent"
                    && runtime["status"]["reachable"]["status"] == "True",
                "{}",
                runtime["status"]
            );

            // What happens meanwhile: something is deleted that nobody sees, and an edit is applied that nobody sees.
            kubectl("-n unseen delete configmap unseen", None)
                .await?
                .success()?;
            apply(world, &[workload::definition("unseen", &after)]).await?;
            there("unseen", "configmap/meanwhile").await?;
            wait_until(
                "the status speaks of the edit",
                Duration::from_secs(20),
                || async {
                    let instance = custom_resource(world, "workloadinstance/unseen").await?;
                    let status = instance.context("absent")?["status"].clone();
                    Ok(if status["revision"]["definition"] == 2 {
                        Ok(())
                    } else {
                        Err(status.to_string())
                    })
                },
            )
            .await?;
            let seen = watch.seen()?;
            let since = seen.iter().skip_while(|state| *state != "Unknown");
            ensure!(
                !since.clone().any(|state| state == "True") && since.count() >= 1,
                "Ready was True while nobody looked: {seen:?}"
            );

            ensure!(
                live("unseen", "configmap/unseen").await?.is_none(),
                "somebody healed what nobody saw"
            );
            scale(namespace, AGENT, 1).await?;
            there("unseen", "configmap/unseen").await?;
            watch.is_now("True", Duration::from_secs(60)).await?;
            println!("Ready was {:?}", watch.seen()?);
            agent_is_connected(world, true).await?;
            wait_ready(world, &objects[1..]).await.map(drop)
        })
        .await
}
