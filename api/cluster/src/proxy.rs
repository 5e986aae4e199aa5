//! By which proxy a cluster is reached. kube takes the environment's HTTPS_PROXY for every cluster, one of this machine
//! among them, and looks for the proxy's own name in NO_PROXY; kubectl looks for the cluster's.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use kube::{Config, config::Kubeconfig};

/// Leaves of the environment's proxy what is for this cluster: all of it where the kubeconfig names a proxy for it, else
/// nothing where the cluster is on this machine or `exceptions` (NO_PROXY) have it.
pub(crate) fn heed(config: &mut Config, named: bool, exceptions: &str) {
    if !named && is_direct(config, exceptions) {
        config.proxy_url = None;
    }
    // As in HTTPS_PROXY=proxy:3128.
    if let Some(proxy) = config.proxy_url.take() {
        config.proxy_url = match proxy.scheme() {
            Some(_) => Some(proxy),
            None => format!("http://{proxy}").parse().ok(),
        };
    }
}

/// Whether a kubeconfig names a proxy for the cluster of a context, or of its current one.
pub(crate) fn is_named(file: &Kubeconfig, context: Option<&str>) -> bool {
    let Some(context) = context.or(file.current_context.as_deref()) else {
        return false;
    };
    let contexts = file.contexts.iter().filter(|named| named.name == context);
    let mut meant = contexts.filter_map(|named| named.context.as_ref());
    let Some(meant) = meant.next() else {
        return false;
    };
    let clusters = file.clusters.iter().filter(|named| named.name == meant.cluster);
    let mut proxies = clusters.filter_map(|named| named.cluster.as_ref()?.proxy_url.as_ref());
    proxies.any(|proxy| !proxy.is_empty())
}

/// NO_PROXY, as its variable is written.
pub(crate) fn exceptions() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set("NO_PROXY").or_else(|| set("no_proxy")).unwrap_or_default()
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

    /// By which proxy a cluster is reached where HTTPS_PROXY names one.
    fn proxy(cluster: &str, named: bool, exceptions: &str, variable: &str) -> Option<String> {
        let mut config = Config::new(cluster.parse().unwrap());
        config.proxy_url = Some(variable.parse().unwrap());
        heed(&mut config, named, exceptions);
        config.proxy_url.map(|proxy| proxy.to_string())
    }

    #[test]
    fn a_cluster_of_this_machine_or_that_no_proxy_names_is_reached_without_one() {
        const PROXY: &str = "http://proxy.example.com:3128/";
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
                proxy(cluster, false, exceptions, PROXY),
                expected,
                "{cluster}, NO_PROXY={exceptions}"
            );
            // A tunnel that somebody names for a cluster is for that one, wherever it is.
            let named = proxy(cluster, true, exceptions, PROXY);
            assert_eq!(named.as_deref(), Some(PROXY), "{cluster}");
        }
        let bare = proxy(far, false, "", "proxy:3128");
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
            (None, true),
            (Some("through"), true),
            (Some("straight"), false),
            (Some("nowhere"), false),
        ] {
            assert_eq!(is_named(&file, context), named, "{context:?}");
        }
    }
}
