//! By which proxy a cluster is reached. kube takes the environment's HTTPS_PROXY for every cluster, one of this machine
//! among them, and none where NO_PROXY has the proxy's own name, a kubeconfig's proxy too; kubectl looks for the cluster's
//! name there, and takes what a kubeconfig says as it is. So what kube chose is not asked.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::{Config, config::Kubeconfig};

/// Takes the proxy that the kubeconfig names for this cluster; else the environment's, and none where the cluster is on this
/// machine or `exceptions` (NO_PROXY) have it.
pub(crate) fn heed(config: &mut Config, named: Option<String>, inherited: Option<String>, exceptions: &str) {
    let proxy = named.or_else(|| inherited.filter(|_| !is_direct(config, exceptions)));
    config.proxy_url = proxy.and_then(|proxy| url(&proxy));
}

/// What can't be read was refused by kube.
fn url(proxy: &str) -> Option<Uri> {
    let read: Uri = proxy.parse().ok()?;
    match read.scheme() {
        Some(_) => Some(read),
        // As in HTTPS_PROXY=proxy:3128.
        None => format!("http://{proxy}").parse().ok(),
    }
}

/// The proxy that a kubeconfig names for the cluster of a context, or of its current one.
pub(crate) fn named(file: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let context = context.or(file.current_context.as_deref())?;
    let mut contexts = file.contexts.iter().filter(|named| named.name == context);
    let meant = contexts.find_map(|named| named.context.as_ref())?;
    let clusters = file.clusters.iter().filter(|named| named.name == meant.cluster);
    let mut proxies = clusters.filter_map(|named| named.cluster.as_ref()?.proxy_url.clone());
    proxies.find(|proxy| !proxy.is_empty())
}

/// HTTPS_PROXY, as its variable is written.
pub(crate) fn inherited() -> Option<String> {
    variable("HTTPS_PROXY", "https_proxy")
}

/// NO_PROXY likewise.
pub(crate) fn exceptions() -> String {
    variable("NO_PROXY", "no_proxy").unwrap_or_default()
}

fn variable(name: &str, other: &str) -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set(name).or_else(|| set(other))
}

fn is_direct(config: &Config, exceptions: &str) -> bool {
    let host = config.cluster_url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = address.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    // Any proxy: it is asked only whether there is to be one.
    let proxies = Matcher::builder().all("http://proxy").no(exceptions).build();
    is_here || proxies.intercept(&config.cluster_url).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By which proxy a cluster is reached where a kubeconfig or HTTPS_PROXY names one.
    fn proxy(cluster: &str, named: Option<&str>, exceptions: &str, variable: &str) -> Option<String> {
        let mut config = Config::new(cluster.parse().unwrap());
        let named = named.map(str::to_owned);
        heed(&mut config, named, Some(variable.to_owned()), exceptions);
        config.proxy_url.map(|proxy| proxy.to_string())
    }

    #[test]
    fn a_cluster_of_this_machine_or_that_no_proxy_names_is_reached_without_one() {
        const PROXY: &str = "http://proxy.example.com:3128/";
        const TUNNEL: &str = "socks5://localhost:1080/";
        let far = "https://cluster.example.com:6443";
        for (cluster, exceptions, direct) in [
            (far, "", false),
            (far, "proxy.example.com,10.0.0.0/8", false),
            (far, "localhost, cluster.example.com", true),
            (far, ".example.com", true),
            (far, "*", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://11.1.2.3:6443", "10.0.0.0/8", false),
            ("https://127.0.0.1:6443", "", true),
            ("https://[::1]:6443", "", true),
            ("https://localhost:6443", "", true),
        ] {
            let expected = (!direct).then(|| PROXY.to_owned());
            assert_eq!(
                proxy(cluster, None, exceptions, PROXY),
                expected,
                "{cluster}, NO_PROXY={exceptions}"
            );
            // A tunnel that somebody names for a cluster is for that one, wherever it is.
            let named = proxy(cluster, Some(TUNNEL), exceptions, PROXY);
            assert_eq!(named.as_deref(), Some(TUNNEL), "{cluster}");
        }
        let bare = proxy(far, None, "", "proxy:3128");
        assert_eq!(bare.as_deref(), Some("http://proxy:3128/"));
    }

    #[test]
    fn a_kubeconfig_names_a_proxy_for_the_cluster_of_a_context() {
        let file = Kubeconfig::from_yaml(
            "
clusters:
- {name: far, cluster: {server: 'https://far', proxy-url: 'socks5://bastion:1080'}}
- {name: near, cluster: {server: 'https://near'}}
contexts:
- {name: through, context: {cluster: far}}
- {name: straight, context: {cluster: near}}
current-context: through
",
        )
        .unwrap();
        for (context, named) in [
            (None, Some("socks5://bastion:1080")),
            (Some("through"), Some("socks5://bastion:1080")),
            (Some("straight"), None),
            (Some("nowhere"), None),
        ] {
            assert_eq!(super::named(&file, context).as_deref(), named, "{context:?}");
        }
    }
}
