//! A vault of Secrets, and the CA's certificate as a ConfigMap. Created by POST (a race ends in 409, and what the
//! winner made is used), changed only with the resourceVersion that was read.

use std::{collections::BTreeMap, sync::Mutex};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::{Bundle, Data, Vault};

pub(super) struct Secrets {
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    prefix: String,
    /// What each Secret was when it was read.
    read: Mutex<BTreeMap<&'static str, Secret>>,
}

impl Secrets {
    pub(super) fn new(client: Client, namespace: &str, prefix: &str) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            maps: Api::namespaced(client, namespace),
            prefix: prefix.to_owned(),
            read: Mutex::default(),
        }
    }

    fn metadata(&self, suffix: &str) -> ObjectMeta {
        let labels = [
            ("app.kubernetes.io/name", "threeport"),
            ("app.kubernetes.io/instance", self.prefix.as_str()),
            ("app.kubernetes.io/managed-by", "threeport-bootstrap"),
        ];
        ObjectMeta {
            name: Some(format!("{}-{suffix}", self.prefix)),
            labels: Some(
                labels
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
            ),
            ..ObjectMeta::default()
        }
    }
}

fn is_lost_race(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

impl Vault for Secrets {
    async fn read(&self, bundle: Bundle) -> anyhow::Result<Data> {
        let found = self.secrets.get_opt(&format!("{}-{bundle}", self.prefix)).await?;
        let mut read = self
            .read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(secret) = found else {
            read.remove(bundle.suffix());
            return Ok(Data::new());
        };
        let data = secret.data.clone().unwrap_or_default();
        read.insert(bundle.suffix(), secret);
        Ok(data.into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    async fn write(&self, bundle: Bundle, _known: &Data, data: &Data) -> anyhow::Result<bool> {
        let known = self
            .read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(bundle.suffix())
            .cloned();
        let added = data
            .iter()
            .map(|(key, value)| (key.clone(), ByteString(value.clone())));
        let parameters = PostParams::default();
        let written = if let Some(mut secret) = known {
            secret.data.get_or_insert_default().extend(added);
            let name = secret.metadata.name.clone().unwrap_or_default();
            self.secrets.replace(&name, &parameters, &secret).await
        } else {
            let secret = Secret {
                metadata: self.metadata(bundle.suffix()),
                data: Some(added.collect()),
                type_: Some("Opaque".to_owned()),
                ..Secret::default()
            };
            self.secrets.create(&parameters, &secret).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(error) if is_lost_race(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn publish_authority(&self, certificate: &[u8]) -> anyhow::Result<()> {
        let text = String::from_utf8_lossy(certificate).into_owned();
        let name = format!("{}-ca", self.prefix);
        let data = Some(BTreeMap::from([("ca.crt".to_owned(), text)]));
        let parameters = PostParams::default();
        let written = match self.maps.get_opt(&name).await? {
            Some(map) if map.data == data => return Ok(()),
            Some(map) => {
                self.maps
                    .replace(&name, &parameters, &ConfigMap { data, ..map })
                    .await
            }
            None => {
                let metadata = self.metadata(Bundle::Authority.suffix());
                self.maps
                    .create(
                        &parameters,
                        &ConfigMap {
                            metadata,
                            data,
                            ..ConfigMap::default()
                        },
                    )
                    .await
            }
        };
        match written {
            // Whoever was faster published the same certificate.
            Err(error) if !is_lost_race(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
