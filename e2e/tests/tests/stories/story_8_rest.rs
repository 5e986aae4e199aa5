//! Bad input by REST, asked of the API as it is installed: over TLS, with a token, in both versions of HTTP. The same cases
//! are asked of the router in `api/server/tests`.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use reqwest::{Certificate, Client, ClientBuilder, Method, Version, header};
use serde_json::{Value, json};
use threeport_bad_input::{Case, cases};
use threeport_e2e::{workload, world::variable};

use crate::{
    left_nothing::{Stored, an_error_would_be_found, no_error_is_logged, what_is_stored_would_be_seen},
    scene::Scene,
};

const LIMIT: Duration = Duration::from_secs(20);
const GOOD: &str = "good-by-rest";

/// A client of one version of HTTP.
struct Rest {
    version: Version,
    http: Client,
    server: String,
    token: String,
}

impl Rest {
    fn new(version: Version, speaking: fn(ClientBuilder) -> ClientBuilder) -> Result<Self> {
        let authority = fs::read(variable("THREEPORT_CA_FILE")?)?;
        let trusting = Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(&authority)?)
            .timeout(LIMIT);
        let token = fs::read_to_string(variable("THREEPORT_TOKEN_FILE")?)?;
        Ok(Self {
            version,
            http: speaking(trusting).build()?,
            server: variable("THREEPORT_SERVER")?,
            token: token.trim().to_owned(),
        })
    }

    /// What is wrong with the answer, if anything is.
    async fn ask(&self, case: &Case) -> Result<Option<String>> {
        let (method, url) = (
            Method::from_bytes(case.method.as_bytes())?,
            format!("{}{}", self.server, case.path),
        );
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if !case.content_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, case.content_type);
        }
        if !case.body.is_empty() {
            request = request.body(case.body.clone());
        }
        let answer = request.send().await?;
        ensure!(
            answer.version() == self.version,
            "it came by {:?}",
            answer.version()
        );
        let status = answer.status().as_u16();
        Ok(case.check(status, &answer.text().await?).err())
    }
}

/// What is there only where something of it is stored all the same.
fn never_stored() -> Vec<Value> {
    let object = |kind: &str, name: &str| json!({"kind": kind, "metadata": {"name": name}});
    vec![
        object("KubernetesRuntimeDefinition", "a"),
        object("KubernetesRuntimeDefinition", "b"),
        object("KubernetesRuntimeInstance", "a"),
        object("WorkloadDefinition", "a"),
        object("WorkloadDefinition", "web"),
        object("WorkloadInstance", "a"),
        object("ControlPlaneInstance", "child"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn story_8_every_bad_input_by_rest_is_refused_by_the_installed_api() -> Result<()> {
    let good = [workload::definition(
        GOOD,
        &workload::service(GOOD, workload::IMAGE),
    )];
    Scene::of(&never_stored())
        .and(&good)
        .alone()
        .play(async |world| {
            what_is_stored_would_be_seen(world, &good).await?;
            an_error_would_be_found(&world.namespace).await?;
            let (begin, before) = (Timestamp::now(), Stored::read(world).await?);
            let cases = cases();
            let mut wrong = Vec::new();
            for rest in [
                Rest::new(Version::HTTP_11, ClientBuilder::http1_only)?,
                Rest::new(Version::HTTP_2, |builder| builder)?,
            ] {
                for case in &cases {
                    let asked = rest.ask(case).await;
                    let asked = asked.with_context(|| format!("{:?}: {}", rest.version, case.name))?;
                    wrong.extend(asked.map(|why| format!("{:?}: {why}", rest.version)));
                }
            }
            ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
            let after = Stored::read(world).await?;
            ensure!(
                after == before,
                "what was refused was done: {before:?} became {after:?}"
            );
            no_error_is_logged(&world.namespace, begin).await
        })
        .await
}
