//! A source in memory that behaves like the store, and a controller that takes as long as its object says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use serde_json::json;
use threeport_engine::{
    Class, Engine, Found, Intake, Options, Outcome, Reconciler, Report, Run, RunError, Source, SourceError,
    metrics::{Metrics, Stages},
};
use threeport_model::{
    Object,
    protocol::claim::{
        Claim, ClaimRequest, ClaimResponse, CompleteRequest, CompleteResponse, Next, RenewRequest,
        RenewResponse,
    },
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A pending row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    budget: String,
    token: u32,
    due: Instant,
    attempts: i64,
    epoch: i64,
    claimed_until: Option<Instant>,
    pub(crate) pending: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) rows: BTreeMap<Uuid, Row>,
    pub(crate) running: BTreeSet<Uuid>,
    pub(crate) runs: Vec<(Uuid, Found, Instant)>,
    pub(crate) completed: Vec<Uuid>,
    pub(crate) claims: usize,
    pub(crate) renewals: usize,
    pub(crate) down: bool,
    /// Who asks for claims panics.
    pub(crate) broken: bool,
    /// How many claims fit into an answer, if that is bounded.
    pub(crate) room: Option<usize>,
    /// The next claims are taken away from whoever renews them.
    pub(crate) steal: bool,
    /// How many claims were given back unused.
    pub(crate) released: usize,
    /// What was said of the object whose run ended last.
    pub(crate) status: Option<serde_json::Value>,
}

#[derive(Clone, Default)]
pub(crate) struct World(pub(crate) Arc<Mutex<State>>);

impl World {
    pub(crate) fn make_pending(&self, id: Uuid, budget: &str) {
        let mut state = self.0.lock().unwrap();
        let row = state.rows.entry(id).or_insert_with(|| Row {
            budget: budget.to_owned(),
            token: 0,
            due: Instant::now(),
            attempts: 0,
            epoch: 0,
            claimed_until: None,
            pending: true,
        });
        row.token += 1;
        row.due = Instant::now();
        row.pending = true;
    }

    pub(crate) fn runs_of(&self, id: Uuid) -> Vec<Found> {
        let state = self.0.lock().unwrap();
        state
            .runs
            .iter()
            .filter(|(other, ..)| *other == id)
            .map(|(_, found, _)| *found)
            .collect()
    }

    pub(crate) fn is_pending(&self, id: Uuid) -> bool {
        self.0.lock().unwrap().rows[&id].pending
    }
}

fn claim_of(id: Uuid, row: &Row) -> Claim {
    let mut spec = json!({"budget": row.budget});
    if row.budget == "heavy" {
        spec["document"] = json!("d".repeat(6 << 20));
    }
    let mut object = Object::new("Thing", "thing", spec);
    object.metadata.id = Some(id);
    Claim {
        token: row.token.to_string(),
        epoch: row.epoch,
        attempts: row.attempts,
        ..Claim::of(object)
    }
}

#[async_trait]
impl Source for World {
    async fn claim(&self, request: &ClaimRequest) -> Result<ClaimResponse, SourceError> {
        sleep(Duration::from_millis(5)).await;
        let broken = self.0.lock().unwrap().broken;
        assert!(!broken, "on purpose");
        let mut state = self.0.lock().unwrap();
        state.claims += 1;
        if state.down {
            return Err(SourceError::Transient("down".to_owned()));
        }
        let now = Instant::now();
        let mut response = ClaimResponse::default();
        let room = state.room.unwrap_or(usize::MAX);
        let wanted = |id: &Uuid| request.ids.is_empty() || request.ids.contains(id);
        for (id, row) in state
            .rows
            .iter_mut()
            .filter(|(id, row)| wanted(id) && row.pending)
        {
            if row.due > now || row.claimed_until.is_some_and(|until| until > now) {
                if !request.ids.is_empty() {
                    response.busy.push(*id);
                }
            } else if response.claims.len() >= room {
                if response.claims.len() + response.busy.len() < request.limit as usize {
                    response.busy.push(*id);
                }
            } else if response.claims.len() < request.limit as usize {
                row.epoch += 1;
                row.claimed_until = Some(now + Duration::from_secs(request.ttl_seconds.into()));
                response.claims.push(claim_of(*id, row));
            }
        }
        Ok(response)
    }

    async fn renew(&self, request: &RenewRequest) -> Result<RenewResponse, SourceError> {
        let mut state = self.0.lock().unwrap();
        state.renewals += 1;
        if state.steal {
            return Ok(RenewResponse::default());
        }
        let until = Instant::now() + Duration::from_secs(request.ttl_seconds.into());
        let mut renewed = Vec::new();
        for key in &request.claims {
            let row = state.rows.get_mut(&key.id).unwrap();
            if row.epoch == key.epoch && row.claimed_until.is_some() {
                row.claimed_until = Some(until);
                renewed.push(key.id);
            }
        }
        Ok(RenewResponse { renewed })
    }

    async fn complete(&self, request: &CompleteRequest) -> Result<CompleteResponse, SourceError> {
        let mut state = self.0.lock().unwrap();
        if state.down {
            return Err(SourceError::Transient("down".to_owned()));
        }
        let row = state.rows.get_mut(&request.id).unwrap();
        if row.epoch != request.epoch {
            return Err(SourceError::Fenced("old epoch".to_owned()));
        }
        row.claimed_until = None;
        let same = row.token.to_string() == request.token;
        let milliseconds = |wait: i64| Duration::from_millis(wait.unsigned_abs());
        match request.next {
            Next::Done if same => row.pending = false,
            Next::After { milliseconds: wait } if same => {
                row.attempts += 1;
                row.due = Instant::now() + milliseconds(wait);
            }
            Next::Recheck { milliseconds: wait } | Next::Release { milliseconds: wait } if same => {
                row.due = Instant::now() + milliseconds(wait);
            }
            _ => {}
        }
        let pending = row.pending && !same;
        let next = request.next;
        if matches!(next, Next::Release { .. }) {
            state.released += 1;
        } else {
            state.completed.push(request.id);
        }
        state.status = request.status.as_ref().map(|update| update.status.clone());
        Ok(CompleteResponse {
            pending,
            status_written: false,
        })
    }
}

/// Takes as long as its object's budget says, and fails if it says so.
#[async_trait]
impl Reconciler for World {
    fn kind(&self) -> &'static str {
        "Thing"
    }

    fn budget(&self, claim: &Claim) -> String {
        claim.object.spec["budget"].as_str().unwrap().to_owned()
    }

    async fn reconcile(&self, run: &Run, _: &Metrics) -> Result<Report, RunError> {
        let id = run.claim.object.id();
        {
            let mut state = self.0.lock().unwrap();
            assert!(state.running.insert(id), "two runs of {id}");
            state.runs.push((id, run.found, Instant::now()));
        }
        let budget = self.budget(&run.claim);
        let takes = if ["dead", "heavy"].contains(&&*budget) {
            Duration::from_secs(8)
        } else {
            Duration::from_millis(50)
        };
        let takes = if budget == "slow" {
            Duration::from_secs(25)
        } else {
            takes
        };
        if budget == "stubborn" {
            sleep(Duration::from_secs(25)).await;
            self.0.lock().unwrap().running.remove(&id);
            return Ok(Report::new(Outcome::Done));
        }
        let end = Instant::now() + takes;
        let mut held = Ok(());
        while held.is_ok() && Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
            held = run.lease.check();
        }
        self.0.lock().unwrap().running.remove(&id);
        held?;
        let outcome = match budget.as_str() {
            "failing" => Outcome::Retry("always".to_owned()),
            "panicking" | "hopeless" => panic!("on purpose"),
            "erring" => return Err(RunError::Failed("no answer".to_owned())),
            _ => Outcome::Done,
        };
        Ok(Report::new(outcome))
    }

    fn failed(&self, run: &Run, reason: &str) -> Option<serde_json::Value> {
        assert_ne!(self.budget(&run.claim), "hopeless", "on purpose");
        Some(json!({"failed": reason}))
    }
}

pub(crate) struct Running {
    pub(crate) registry: Registry,
    pub(crate) metrics: Metrics,
    pub(crate) world: World,
    pub(crate) intake: Intake,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) fn start(change: impl FnOnce(&mut Options)) -> Running {
    let world = World::default();
    let mut options = Options::new("things", "test");
    change(&mut options);
    let mut registry = Registry::default();
    let stages = Stages::default();
    stages.register(&mut registry, "threeport_stage_seconds");
    let metrics = Metrics::register(&mut registry, stages);
    let engine = Engine::new(
        options,
        Arc::new(world.clone()),
        vec![Arc::new(world.clone())],
        metrics.clone(),
    );
    let (intake, shutdown) = (engine.intake(), CancellationToken::new());
    let task = tokio::spawn(engine.run(shutdown.clone()));
    Running {
        registry,
        metrics,
        world,
        intake,
        shutdown,
        task,
    }
}

pub(crate) fn without_sweep(options: &mut Options) {
    options.sweep_interval = Duration::from_secs(100_000);
}

pub(crate) async fn until(what: &str, seconds: u64, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

impl Running {
    /// What is measured, as it is served.
    pub(crate) fn measured(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    pub(crate) async fn signal(&self, id: Uuid) {
        self.intake.offer(id, Class::Fresh, Found::Signal).await;
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }
}

pub(crate) fn key(number: u128) -> Uuid {
    Uuid::from_u128(number)
}
