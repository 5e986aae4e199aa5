use std::{collections::BTreeSet, sync::Mutex};

use async_trait::async_trait;
use threeport_model::{
    Problem,
    kinds::workload_instance::Health,
    protocol::agent::{
        HeartbeatRequest, HeartbeatResponse, Observation, ObservationsRequest, RegisterRequest,
        RegisterResponse, WatchedKind, Watches,
    },
};
use tokio::sync::Notify;

use super::*;
use crate::project::Seen;

/// An API that takes everything but observations of what is called `bad`, which it refuses with `code`.
struct Picky {
    code: Code,
    taken: Mutex<BTreeSet<String>>,
    closed: Mutex<bool>,
    requests: Mutex<usize>,
    changed: Notify,
}

#[async_trait]
impl ControlPlane for Picky {
    async fn register(&self, _: &RegisterRequest) -> Result<RegisterResponse, Error> {
        Err(self.refused())
    }

    async fn heartbeat(&self, _: Uuid, _: &HeartbeatRequest) -> Result<HeartbeatResponse, Error> {
        Err(self.refused())
    }

    async fn watches(&self, _: Uuid) -> Result<Watches, Error> {
        Err(self.refused())
    }

    async fn observe(&self, _: Uuid, request: &ObservationsRequest) -> Result<ObservationsResponse, Error> {
        *self.requests.lock().unwrap() += 1;
        if request.observations.iter().any(|seen| seen.name == "bad") {
            return Err(self.refused());
        }
        let names = request.observations.iter().map(|seen| seen.name.clone());
        self.taken.lock().unwrap().extend(names);
        *self.closed.lock().unwrap() |= !request.closed.is_empty();
        self.changed.notify_one();
        Ok(ObservationsResponse::default())
    }
}

impl Picky {
    fn refused(&self) -> Error {
        Error::Refused(Box::new(Problem {
            kind: String::new(),
            title: String::new(),
            status: 400,
            detail: "holds a NUL character".to_owned(),
            code: self.code,
            errors: Vec::new(),
            next: String::new(),
            operation_id: String::new(),
            referrers: Vec::new(),
        }))
    }
}

fn seen(name: &str) -> Event {
    let kind = WatchedKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
    };
    let observation = Observation {
        group: kind.group.clone(),
        version: kind.version.clone(),
        kind: kind.kind.clone(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: String::new(),
        instance_id: Uuid::nil(),
        resource_version: "1".to_owned(),
        ownership_digest: None,
        other_managers: Vec::new(),
        health: Health::Current,
        message: String::new(),
        images: Vec::new(),
        completed: None,
    };
    Event::Object(Box::new(Seen {
        kind: Arc::new(kind),
        observation,
        observed: true,
    }))
}

#[tokio::test]
async fn one_observation_that_the_api_never_takes_holds_up_no_other() {
    for code in [Code::Malformed, Code::Invalid, Code::TooLarge] {
        let api = Arc::new(Picky {
            code,
            taken: Mutex::default(),
            closed: Mutex::default(),
            requests: Mutex::default(),
            changed: Notify::new(),
        });
        let metrics = Metrics::default();
        let reporter = Reporter {
            api: Arc::clone(&api) as _,
            runtime: Uuid::nil(),
            epoch: 1,
            heard: Arc::default(),
            metrics: metrics.clone(),
        };
        let (events, received) = mpsc::channel(2000);
        let mut expected = BTreeSet::new();
        for number in 0..700 {
            let name = if number == 333 {
                "bad".to_owned()
            } else {
                format!("m{number}")
            };
            events.send(seen(&name)).await.unwrap();
            expected.insert(name);
        }
        expected.remove("bad");
        let Event::Object(last) = seen("m0") else {
            unreachable!()
        };
        events.send(Event::Listed(last.kind)).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(reporter.run(received, shutdown.clone()));
        let all = async {
            while *api.taken.lock().unwrap() != expected || !*api.closed.lock().unwrap() {
                api.changed.notified().await;
            }
        };
        timeout(Duration::from_secs(20), all)
            .await
            .expect("all others arrive");
        shutdown.cancel();
        assert_eq!(running.await.unwrap(), End::Shutdown);
        assert_eq!(metrics.dropped.get(), 1);
        assert!(*api.requests.lock().unwrap() < 60, "by halves, not one by one");
    }
}
