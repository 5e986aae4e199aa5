//! `kubectl get -o yaml | tptctl apply -f -` changes nothing, whoever made what it shows: with kubectl's own metadata,
//! with Secrets in clear and as digests, with a document that only its digest stands for.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use threeport_client::ApplyBody;
use threeport_e2e::{Output, World, kubectl, kubectl::run, wait_until, workload};
use threeport_model::{
    document::{DIGEST_PREFIX, LIMIT},
    identity::{FINALIZER, LAST_APPLIED, SECRET_PLACEHOLDER},
};

use crate::{
    scene::Scene,
    steps::{READY, apply, custom_resource, rest_get, wait_ready},
};

const BY_KUBECTL: [&str; 2] = [
    "workloaddefinition/again-kubectl",
    "workloadinstance/again-kubectl",
];
const BY_REST: [&str; 2] = ["workloaddefinition/again-rest", "workloadinstance/again-rest"];
const LARGE: &str = "workloaddefinition/again-large";
/// A mirror follows within moments.
const MIRRORED: Duration = Duration::from_secs(30);

fn pair(name: &str) -> [Value; 2] {
    [
        workload::definition(name, &[workload::config(name), workload::secret(name)]),
        workload::instance(name, name, &json!({})),
    ]
}

/// A definition that is too large for its mirror, as its letter makes it.
fn large(letter: &str) -> Value {
    let mut map = workload::config("again-large");
    map["data"]["value"] = json!(letter.repeat(LIMIT + 1));
    workload::definition("again-large", &[map])
}

#[tokio::test(flavor = "multi_thread")]
async fn story_2_what_get_shows_is_applied_again_without_a_change_whoever_made_it() -> Result<()> {
    let (by_kubectl, by_rest) = (pair("again-kubectl"), pair("again-rest"));
    let through_the_api = [by_rest.to_vec(), vec![large("x")]].concat();
    Scene::of(&by_kubectl)
        .and(&through_the_api)
        .play(async |world| {
            apply(world, &by_kubectl).await?;
            put(world, &through_the_api).await?;
            for objects in [by_kubectl.as_slice(), &through_the_api] {
                wait_ready(world, objects).await?;
            }
            for [definition, _] in [BY_KUBECTL, BY_REST] {
                counts_its_instance(world, definition).await?;
            }

            let all = [BY_KUBECTL.as_slice(), &BY_REST, &[LARGE]].concat();
            let text = yaml(world, &all).await?;
            // Each of these is in what is applied again, or the rest shows nothing.
            for part in [
                FINALIZER,
                LAST_APPLIED,
                workload::SECRET_VALUE,
                SECRET_PLACEHOLDER,
                DIGEST_PREFIX,
            ] {
                ensure!(text.contains(part), "kubectl shows no {part}: {text}");
            }
            let before = whole(world, &all).await?;
            let again = apply_again(&text).await?.success()?;
            ensure!(
                again.stdout.matches(" unchanged").count() == all.len()
                    && again.stdout.lines().count() == all.len(),
                "get | apply changed something: {}",
                again.stdout
            );
            same(&before, &whole(world, &all).await?, &all)?;

            a_changed_secret_of_kubectl_s_is_refused(world, &before).await?;
            a_changed_mirror_is_applied(world, &before).await?;
            a_digest_that_is_out_of_date_is_refused(world).await
        })
        .await
}

/// Waits until a definition is shown as it stays: before it has an instance it is Ready, too.
async fn counts_its_instance(world: &World, definition: &str) -> Result<()> {
    wait_until(&format!("{definition} counts its instance"), READY, || async {
        let shown = custom_resource(world, definition).await?.unwrap_or_default();
        let instances = &shown["status"]["instances"];
        Ok(if instances["ready"] == 1 {
            Ok(())
        } else {
            Err(instances.to_string())
        })
    })
    .await
}

/// The control for what Kubernetes owns: another value of its Secret is a change, and so is not taken.
async fn a_changed_secret_of_kubectl_s_is_refused(world: &World, before: &Whole) -> Result<()> {
    let text = yaml(world, &BY_KUBECTL).await?;
    let refused = apply_again(&text.replace(workload::SECRET_VALUE, "another-key")).await?;
    let said = "WorkloadDefinition/again-kubectl belongs to kubernetes";
    ensure!(
        refused.code != 0 && refused.stderr.contains(said),
        "not refused with {said:?}: {refused:?}"
    );
    same(before, &whole(world, &BY_KUBECTL).await?, &BY_KUBECTL)
}

/// The control for what the API owns: an edit arrives and is found by the same comparison. Once it is shown, whatever
/// was to come of what was applied before has come: nothing else was written.
async fn a_changed_mirror_is_applied(world: &World, before: &Whole) -> Result<()> {
    let [definition, _] = BY_REST;
    let text = yaml(world, &[definition]).await?;
    let edited = text.replace("value-of-again-rest", "another-value");
    apply_again(&edited).await?.success()?;
    wait_until("the edit is mirrored", MIRRORED, || async {
        let shown = custom_resource(world, definition).await?.unwrap_or_default();
        Ok(if shown.to_string().contains("another-value") {
            Ok(())
        } else {
            Err(shown["spec"].to_string())
        })
    })
    .await?;
    let after = whole(world, &[definition]).await?;
    ensure!(
        same(before, &after, &[definition]).is_err(),
        "positive control: the edit is not found in {after:?}"
    );
    let others = [BY_KUBECTL.as_slice(), &[LARGE]].concat();
    same(before, &whole(world, &others).await?, &others)
}

/// The control for a digest: once another document is stored, the one that was shown before does not undo that.
async fn a_digest_that_is_out_of_date_is_refused(world: &World) -> Result<()> {
    let text = yaml(world, &[LARGE]).await?;
    let of_before = whole(world, &[LARGE]).await?;
    put(world, &[large("y")]).await?;
    let [stored, _] = one(world, LARGE).await?;
    ensure!(
        of_before.get(LARGE).is_some_and(|[before, _]| *before != stored),
        "positive control: another document is not found"
    );
    let refused = apply_again(&text).await?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("is the digest of another document"),
        "not refused: {refused:?}"
    );
    let [after, _] = one(world, LARGE).await?;
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    ensure!(
        version(&after) == version(&stored) && after["spec"] == stored["spec"],
        "what was refused was done"
    );
    Ok(())
}

async fn put(world: &World, objects: &[Value]) -> Result<()> {
    let body = ApplyBody::Objects(objects.to_vec());
    Ok(world.api.apply(body, false).await.map(drop)?)
}

async fn yaml(world: &World, what: &[&str]) -> Result<String> {
    let get = format!("-n {} get {} -o yaml", world.namespace, what.join(" "));
    Ok(kubectl(&get, None).await?.success()?.stdout)
}

async fn apply_again(text: &str) -> Result<Output> {
    run("tptctl", &["apply", "-f", "-"], Some(text)).await
}

/// Objects as the API and as the cluster have them, with all versions and times: what is equal nobody wrote.
type Whole = BTreeMap<String, [Value; 2]>;

async fn whole(world: &World, what: &[&str]) -> Result<Whole> {
    let mut whole = Whole::new();
    for what in what {
        whole.insert((*what).to_owned(), one(world, what).await?);
    }
    Ok(whole)
}

async fn one(world: &World, what: &str) -> Result<[Value; 2]> {
    let (kind, name) = what.split_once('/').context("it has no name")?;
    let stored = serde_json::to_value(rest_get(world, kind, name).await?)?;
    let shown = custom_resource(world, what).await?;
    Ok([stored, shown.with_context(|| format!("there is no {what}"))?])
}

fn same(before: &Whole, after: &Whole, what: &[&str]) -> Result<()> {
    for what in what {
        let (before, after) = (before.get(*what), after.get(*what));
        ensure!(
            before.is_some() && before == after,
            "{what} was {before:#?} and is {after:#?}"
        );
    }
    Ok(())
}
