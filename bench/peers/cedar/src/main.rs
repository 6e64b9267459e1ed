//! Evaluates Cedar policies on requests, one after the other, in this process.
//!
//!     cedar-peer POLICIES REQUESTS ANSWERS SECONDS
//!
//! POLICIES is an object of ids and texts; a request has actor, topic and context.
//! ANSWERS gets, for each request that was reached within the seconds, the policies
//! that hold and the microseconds that it took.

use cedar_policy::{
    Authorizer, Context, Entities, EntityId, EntityTypeName, EntityUid, Policy, PolicyId,
    PolicySet, Request,
};
use serde_json::{json, Value};
use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, fs};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Requests that are evaluated however long they take.
const LEAST_REQUESTS: usize = 50;

fn read_policies(path: &str) -> Result<PolicySet> {
    let texts: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let mut policies = PolicySet::new();
    for (id, text) in texts.as_object().ok_or("no object of policies")? {
        let text = text.as_str().ok_or("a policy is no text")?;
        policies.add(Policy::parse(Some(PolicyId::new(id)), text)?)?;
    }
    Ok(policies)
}

fn uid(kind: &EntityTypeName, id: &Value) -> Result<EntityUid> {
    let id = id.as_str().ok_or("an id is no text")?;
    Ok(EntityUid::from_type_name_and_id(
        kind.clone(),
        EntityId::new(id),
    ))
}

struct Peer {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    agent: EntityTypeName,
    topic: EntityTypeName,
    run: EntityUid,
}

impl Peer {
    fn new(policies: PolicySet) -> Result<Self> {
        Ok(Peer {
            authorizer: Authorizer::new(),
            policies,
            entities: Entities::empty(),
            agent: "Agent".parse()?,
            topic: "Topic".parse()?,
            run: "Action::\"run\"".parse()?,
        })
    }

    fn decide(&self, request: &Value) -> Result<Vec<String>> {
        let context = Context::from_json_value(request["context"].clone(), None)?;
        let request = Request::new(
            uid(&self.agent, &request["actor"])?,
            self.run.clone(),
            uid(&self.topic, &request["topic"])?,
            context,
            None,
        )?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.policies, &self.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        Ok(response
            .diagnostics()
            .reason()
            .map(|id| id.to_string())
            .collect())
    }
}

fn evaluate(peer: &Peer, requests: &[Value], limit: Duration) -> Result<Vec<Value>> {
    let end = Instant::now() + limit;
    let mut answers = Vec::new();
    for (i, request) in requests.iter().enumerate() {
        if i >= LEAST_REQUESTS && Instant::now() > end {
            break;
        }
        let begin = Instant::now();
        let rules = peer.decide(request)?;
        let took = begin.elapsed();
        answers.push(json!({ "rules": rules, "us": took.as_nanos() as f64 / 1000.0 }));
    }
    Ok(answers)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let [_, policies, requests, answers, seconds] = arguments.as_slice() else {
        return Err("usage: cedar-peer POLICIES REQUESTS ANSWERS SECONDS".into());
    };
    let peer = Peer::new(read_policies(policies)?)?;
    let requests: Vec<Value> = serde_json::from_str(&fs::read_to_string(requests)?)?;
    evaluate(&peer, &requests[..20], Duration::ZERO)?;
    let taken = evaluate(&peer, &requests, Duration::from_secs_f64(seconds.parse()?))?;
    let version = cedar_policy::get_sdk_version().to_string();
    fs::write(
        answers,
        json!({ "version": version, "answers": taken }).to_string(),
    )?;
    Ok(())
}
