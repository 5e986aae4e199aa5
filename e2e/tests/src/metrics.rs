//! The metrics of a part, as a scraper sees them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::kubectl;

/// The samples of every pod of a Deployment of the control plane, summed: `name{labels}` -> value.
pub async fn of_deployment(namespace: &str, component: &str) -> Result<BTreeMap<String, f64>> {
    let selector = format!("app.kubernetes.io/component={component}");
    let pods = kubectl(&format!("-n {namespace} get pods -l {selector} -o json"), None)
        .await?
        .success()?
        .json()?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let mut sums = BTreeMap::new();
    // One that is ending answers no more, and counts for nobody.
    for pod in pods
        .iter()
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
    {
        let pod = pod["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/metrics");
        for line in kubectl(&format!("get --raw {path}"), None)
            .await?
            .success()?
            .stdout
            .lines()
        {
            if line.starts_with('#') {
                continue;
            }
            let (name, value) = line
                .rsplit_once(' ')
                .with_context(|| format!("{line:?} is no sample"))?;
            *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap_or_default();
        }
    }
    Ok(sums)
}

/// The samples of several Deployments of the control plane, likewise.
pub async fn of_deployments(namespace: &str, components: &[&str]) -> Result<BTreeMap<String, f64>> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for component in components {
        for (name, value) in of_deployment(namespace, component).await? {
            *sums.entry(name).or_default() += value;
        }
    }
    Ok(sums)
}

/// The sum of the samples of `metric` whose labels contain all of `labels` (`key="value"`).
pub fn sum(samples: &BTreeMap<String, f64>, metric: &str, labels: &[&str]) -> f64 {
    matching(samples, metric, labels).sum()
}

/// How many runs for instances the controllers counted whose work came that way: `signal`, `retry`, `sweep`.
pub fn runs(samples: &BTreeMap<String, f64>, trigger: &str) -> f64 {
    let trigger = format!("trigger=\"{trigger}\"");
    let labels = [trigger.as_str(), "kind=\"WorkloadInstance\""];
    sum(samples, "threeport_reconcile_total", &labels)
}

/// Whether there is such a sample, whatever it counts; `key=` alone is any value of that label.
pub fn is_there(samples: &BTreeMap<String, f64>, metric: &str, labels: &[&str]) -> bool {
    matching(samples, metric, labels).next().is_some()
}

fn matching<'a>(
    samples: &'a BTreeMap<String, f64>,
    metric: &'a str,
    labels: &'a [&'a str],
) -> impl Iterator<Item = f64> + 'a {
    let matching = samples.iter().filter(move |(name, _)| {
        let own = name
            .strip_prefix(metric)
            .is_some_and(|rest| rest.starts_with('{') || rest.is_empty());
        own && labels.iter().all(|label| name.contains(label))
    });
    matching.map(|(_, value)| *value)
}
