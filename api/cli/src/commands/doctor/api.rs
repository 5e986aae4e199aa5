//! Checks of the API: can it be reached, does it know us, what does it say of itself, its runtimes and its objects.

use threeport_client::{Client, Error};
use threeport_model::{
    Code, ConditionStatus, Kind, KindDescriptor, Object, Problem,
    condition::{self, READY},
    find_kind,
    kinds::{KubernetesRuntimeInstance, WorkloadInstance},
    protocol::{
        readiness::{CERTIFICATE_ENDS, Degradation, NATS_UNAVAILABLE},
        whoami::Role,
    },
};

use super::{Check, place::Place};
use crate::{arguments::Connection, connect, exit::explain};

/// The most objects that are named in one line.
const MOST_NAMED: usize = 5;
/// What the API needs, as a line is called.
const PARTS: &str = "database and NATS";

pub(super) async fn checks(connection: &Connection) -> Vec<Check> {
    let namespace = connect::namespace(connection);
    let api = match connect::connect(connection).await {
        Ok(api) => api,
        Err(error) => {
            let remedy = format!(
                "name the API with --server URL --ca FILE --token-file FILE, or the control plane's namespace with \
                 --namespace (now {namespace}); where it is installed: helm list -A"
            );
            return vec![Check::failed("way to the API", explain(&error), remedy)];
        }
    };
    let mut checks = vec![Check::ok("way to the API", &api.way)];
    let place = Place {
        connection,
        namespace,
        installation: api.installation.as_ref(),
    };
    match ready(&api.client, &place).await {
        Ok(ready) => {
            checks.push(Check::ok("API", "answers over TLS"));
            checks.extend(ready);
        }
        Err(unreachable) => {
            checks.push(unreachable);
            return checks;
        }
    }
    let (token, known) = token(&api.client, &place).await;
    checks.push(token);
    if known {
        checks.push(skew(&api.client).await);
        checks.push(objects(&api.client, KubernetesRuntimeInstance::KIND, "runtimes").await);
        checks.push(objects(&api.client, WorkloadInstance::KIND, "workloads").await);
    }
    checks
}

/// What to do about a connection that fails, by what the layers below say.
fn remedy(text: &str, namespace: &str, release: &str) -> String {
    let text = text.to_ascii_lowercase();
    if text.contains("certificate expired") || text.contains("certificate: expired") {
        return renewal(namespace, release);
    }
    if text.contains("not valid for name") || text.contains("notvalidforname") {
        return "the server's certificate does not have the name in --server (THREEPORT_SERVER); use one that it has, or let \
                the chart's api.tls.additionalNames have this one, too"
            .to_owned();
    }
    if text.contains("certificate") || text.contains("unknownissuer") {
        return format!(
            "the server's certificate is not of the CA that is trusted here; take the control plane's own: kubectl get \
             configmap -n {namespace} {release}-ca -o 'jsonpath={{.data.ca\\.crt}}' > ca.crt, then --ca ca.crt"
        );
    }
    if text.contains("dns") || text.contains("lookup") {
        return "the name in --server (THREEPORT_SERVER) is not known here; use an address that this machine resolves, \
                or no --server for a port-forward"
            .to_owned();
    }
    if text.contains("refused") || text.contains("timed out") || text.contains("unreachable") {
        return format!(
            "nothing answers there; see whether the API runs: kubectl get pods -n {namespace}; where it does and is not ready, \
             its log says why (its database is away, say): kubectl logs -n {namespace} deployment/{release}-api"
        );
    }
    format!(
        "see whether the API runs: kubectl get pods -n {namespace}; its log: kubectl logs -n {namespace} \
         deployment/{release}-api"
    )
}

/// What to do about a certificate that ends.
fn renewal(namespace: &str, release: &str) -> String {
    format!(
        "renew it now: kubectl create job -n {namespace} --from=cronjob/{release}-renewal {release}-renewal-$(date +%s); why \
         its renewal did not work: kubectl get cronjobs,jobs,events -n {namespace}"
    )
}

/// What does not work of an API that serves all the same, with what to do about it.
async fn degraded(degradation: &Degradation, place: &Place<'_>) -> Check {
    let Degradation { reason, message } = degradation;
    let namespace = place.namespace;
    match reason.as_str() {
        NATS_UNAVAILABLE => {
            let remedy = format!(
                "nothing is lost: work is found by the sweep, later; see kubectl get pods -n {namespace} -l \
                 app.kubernetes.io/component=nats"
            );
            Check::warning(PARTS, message, remedy)
        }
        CERTIFICATE_ENDS => {
            let remedy = renewal(namespace, &place.release().await);
            Check::warning("certificate", message, remedy)
        }
        // Of an API that is newer.
        unknown => {
            let detail = format!("{unknown}: {message}");
            Check::warning(
                "degraded",
                detail,
                "docs/failures.md of the API's version says more",
            )
        }
    }
}

async fn skew(client: &Client) -> Check {
    match client.version().await {
        Ok(version) => compare(&version.version, &version.database, version.schema_version),
        Err(error) => Check::skipped("versions", explain(&error.into())),
    }
}

fn compare(server: &str, database: &str, schema: i64) -> Check {
    let own = env!("CARGO_PKG_VERSION");
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    let detail = format!("tptctl {own}, API {server}, {database} with schema {schema}");
    if minor(server) == minor(own) {
        return Check::ok("versions", detail);
    }
    let remedy = format!("use a tptctl of version {server}; others may not know all that the API says");
    Check::warning("versions", detail, remedy)
}

/// What the API says of itself; or, as the error, that it can't be reached.
async fn ready(client: &Client, place: &Place<'_>) -> Result<Vec<Check>, Check> {
    let namespace = place.namespace;
    match client.ready().await {
        Ok(ready) => {
            let mut checks = Vec::new();
            for degradation in &ready.degraded {
                checks.push(degraded(degradation, place).await);
            }
            if checks.iter().all(|check| check.name != PARTS) {
                checks.insert(0, Check::ok(PARTS, "ready"));
            }
            Ok(checks)
        }
        Err(Error::Refused(problem)) => Ok(vec![refused(problem, place).await]),
        Err(error) => {
            let text = explain(&error.into());
            let remedy = remedy(&text, namespace, &place.release().await);
            Err(Check::failed("API", text, remedy))
        }
    }
}

/// What to do about an API that does not say how it is.
async fn refused(problem: Box<Problem>, place: &Place<'_>) -> Check {
    let is_former = problem.code == Code::NotFound;
    let text = explain(&Error::Refused(problem).into());
    if is_former {
        let remedy =
            "it is older than this tptctl: upgrade the control plane, or use a tptctl of its version";
        return Check::warning(PARTS, text, remedy);
    }
    let remedy = format!(
        "the API does not reach its database; see kubectl logs -n {} deployment/{}-api, and whether the database runs \
         and takes its credentials",
        place.namespace,
        place.release().await
    );
    Check::failed(PARTS, text, remedy)
}

async fn token(client: &Client, place: &Place<'_>) -> (Check, bool) {
    match client.whoami().await {
        Ok(me) if me.role == Role::None => {
            let remedy = "use a token that the control plane knows, such as the admin token of its install (--token-file)";
            (
                Check::failed("token", format!("{} may do nothing", me.actor), remedy),
                false,
            )
        }
        Ok(me) => {
            let role = format!("{:?}", me.role).to_ascii_lowercase();
            let detail = format!("{} as {role} of control plane {}", me.actor, me.control_plane);
            (Check::ok("token", detail), true)
        }
        Err(error) => {
            let remedy = match error.code() {
                Some(Code::Unauthenticated) => format!(
                    "give a valid token with --token-file (THREEPORT_TOKEN_FILE); the install's own is in Secret \
                     {}-admin-token of the control plane's namespace",
                    place.release().await
                ),
                _ => "the error names the reason; its operation id finds it in the API's log".to_owned(),
            };
            (Check::failed("token", explain(&error.into()), remedy), false)
        }
    }
}

async fn objects(client: &Client, kind: &str, name: &'static str) -> Check {
    let Some(kind) = find_kind(kind) else {
        return Check::skipped(name, "not a kind of this version");
    };
    match client.object_list_all(kind, None).await {
        Ok((objects, _)) => summary(kind, &objects, name),
        Err(error) => Check::failed(
            name,
            explain(&error.into()),
            "see the operation id in the API's log",
        ),
    }
}

fn summary(kind: &KindDescriptor, objects: &[Object], name: &'static str) -> Check {
    let unready: Vec<String> = objects
        .iter()
        .filter_map(|object| unready(kind, object))
        .collect();
    if unready.is_empty() {
        let count = objects.len();
        return Check::ok(name, format!("{count} of {count} are Ready"));
    }
    let more = unready.len().saturating_sub(MOST_NAMED);
    let mut detail = format!("{} of {} are not Ready", unready.len(), objects.len());
    unready
        .iter()
        .take(MOST_NAMED)
        .for_each(|line| detail.push_str(&format!("\n{line}")));
    if more > 0 {
        detail.push_str(&format!("\nand {more} more"));
    }
    Check::warning(
        name,
        detail,
        format!(
            "{} describe {} NAME shows conditions, resources and events",
            crate::name(),
            kind.singular
        ),
    )
}

fn unready(kind: &KindDescriptor, object: &Object) -> Option<String> {
    let conditions = condition::of_status(&object.status);
    let name = format!("{}/{}", kind.singular, object.metadata.name);
    match condition::find(&conditions, READY) {
        Some(ready) if ready.status == ConditionStatus::True => None,
        Some(ready) => Some(format!("{name}: {} {}", ready.reason, ready.message)),
        None => Some(format!("{name}: nothing is known of it yet")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{commands::doctor::Finding, connect::Installation};

    #[test]
    fn remedies_fit_what_went_wrong() {
        for (text, part) in [
            ("invalid peer certificate: UnknownIssuer", "--ca ca.crt"),
            ("invalid peer certificate", "configmap -n here trial-ca "),
            (
                "invalid peer certificate: certificate expired: verification time 1767225600 (UNIX)",
                "-n here --from=cronjob/trial-renewal trial-renewal-$(date +%s);",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"10.0.0.1\"",
                "api.tls.additionalNames",
            ),
            ("dns error: failed to lookup address", "--server"),
            ("tcp connect error: Connection refused", "get pods -n here"),
            ("something else", "logs -n here deployment/trial-api"),
        ] {
            assert!(remedy(text, "here", "trial").contains(part), "{text}");
        }
    }

    fn installation() -> Installation {
        Installation {
            namespace: "here".to_owned(),
            service: "trial-api".to_owned(),
        }
    }

    #[tokio::test]
    async fn an_api_that_does_not_say_how_it_is_lacks_its_database_or_is_older() {
        let place = Place {
            connection: &Connection::default(),
            namespace: "here",
            installation: Some(&installation()),
        };
        for (code, result, remedy) in [
            (Code::Unavailable, Finding::Failed, "deployment/trial-api"),
            (Code::NotFound, Finding::Warning, "upgrade the control plane"),
        ] {
            let problem = json!({"type": "", "title": "", "status": 0, "detail": "no", "code": code});
            let problem = Box::new(serde_json::from_value(problem).unwrap());
            let check = refused(problem, &place).await;
            assert_eq!((check.name, check.result), (PARTS, result));
            assert!(check.remedy.contains(remedy), "{check:?}");
        }
    }

    #[tokio::test]
    async fn each_part_of_what_the_api_lacks_has_the_remedy_of_its_reason() {
        let place = Place {
            connection: &Connection::default(),
            namespace: "here",
            installation: Some(&installation()),
        };
        // Whatever is said in words.
        let message = "the serving certificate ends on a day without NATS";
        for (reason, name, detail, remedy) in [
            ("NatsUnavailable", PARTS, message, "the sweep"),
            (
                "CertificateEnds",
                "certificate",
                message,
                "cronjob/trial-renewal ",
            ),
            (
                "Another",
                "degraded",
                "Another: the serving certificate ends on a day without NATS",
                "docs/failures.md",
            ),
        ] {
            let check = degraded(&Degradation::new(reason, message), &place).await;
            assert_eq!((check.name, check.detail.as_str()), (name, detail));
            assert_eq!(check.result, Finding::Warning);
            assert!(check.remedy.contains(remedy), "{check:?}");
        }
    }

    #[test]
    fn versions_may_differ_in_the_last_number_only() {
        assert_eq!(
            compare(env!("CARGO_PKG_VERSION"), "sqlite", 1).result,
            Finding::Ok
        );
        assert_eq!(compare("99.1.0", "sqlite", 1).result, Finding::Warning);
    }

    #[test]
    fn what_is_not_ready_is_named_with_its_reason() {
        let kind = find_kind("tpwi").unwrap();
        let mut bad = Object::new(kind.kind, "web", json!({}));
        bad.status = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "no image"}]});
        let mut good = bad.clone();
        good.status["conditions"][0]["status"] = json!("True");
        let check = summary(kind, &[bad, good.clone()], "workloads");
        assert_eq!(check.result, Finding::Warning);
        assert!(
            check.detail.contains("1 of 2") && check.detail.contains("Failed no image"),
            "{check:?}"
        );
        let check = summary(kind, &[good], "workloads");
        assert_eq!(check, Check::ok("workloads", "1 of 1 are Ready"));
    }
}
