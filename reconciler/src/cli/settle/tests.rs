#![allow(clippy::unwrap_used)]

use banger_core::api::status::{ConditionStatus, ConditionType, Object};
use serde_json::{Value, json};

use super::{Goal, RunOf, Verdict, stage, verdict};

const UID: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c07398f";
const OTHER: &str = "0193f3a0-5b1c-7cc3-98c4-dc0c0c073990";

/// A VM of generation 3 with `Ready` as given, all of it evaluated.
fn vm(phase: &str, ready: &str, change: impl Fn(&mut Value)) -> Object {
    let mut json = json!({
        "apiVersion": "banger.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": "web", "uid": UID, "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z", "source": null},
        "spec": {"image": "debian-12"},
        "status": {
            "phase": phase, "observedGeneration": 3,
            "conditions": [
                condition("Accepted", "True", ""),
                condition("Ready", ready, "because"),
            ],
            "handles": {"pid": 100, "startTime": 7},
        },
    });
    change(&mut json);
    serde_json::from_value(json).unwrap()
}

fn condition(kind: &str, status: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": "R", "message": message,
        "observedGeneration": 3, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn settled(generation: u64, other_than: Option<RunOf>) -> Goal {
    Goal::Settled {
        uid: UID.parse().unwrap(),
        generation,
        other_than,
    }
}

fn judge(goal: &Goal, object: &Object) -> &'static str {
    match verdict(goal, Some(object), None) {
        Verdict::Met(_) => "met",
        Verdict::Pending(_) => "pending",
        Verdict::Hopeless { .. } => "hopeless",
    }
}

#[test]
fn settled_is_about_this_generation_of_this_object() {
    let ready = vm("Ready", "True", |_| {});
    assert_eq!(judge(&settled(3, None), &ready), "met");
    assert_eq!(judge(&settled(2, None), &ready), "met");
    assert_eq!(judge(&settled(4, None), &ready), "pending");
    let successor = vm("Ready", "True", |vm| vm["metadata"]["uid"] = OTHER.into());
    assert_eq!(judge(&settled(3, None), &successor), "hopeless");
    let stale = vm("Ready", "True", |vm| {
        vm["status"]["conditions"][1]["observedGeneration"] = 2.into();
    });
    assert_eq!(judge(&settled(3, None), &stale), "pending");
    assert_eq!(
        judge(&settled(3, None), &vm("Booting", "False", |_| {})),
        "pending"
    );
    assert_eq!(
        judge(&settled(3, None), &vm("Stopped", "False", |_| {})),
        "met"
    );
    assert_eq!(
        judge(&settled(3, None), &vm("Deleting", "False", |_| {})),
        "hopeless"
    );
}

#[test]
fn a_restart_needs_another_run() {
    let before = vm("Ready", "True", |_| {});
    let run = RunOf::of(&before);
    assert!(run.is_some());
    assert_eq!(judge(&settled(3, run.clone()), &before), "pending");
    let again = vm("Ready", "True", |vm| {
        vm["status"]["handles"]["pid"] = 101.into()
    });
    assert_eq!(judge(&settled(3, run.clone()), &again), "met");
    // A pid that was given away again is another run by its start time.
    let recycled = vm("Ready", "True", |vm| {
        vm["status"]["handles"]["startTime"] = 9.into()
    });
    assert_eq!(judge(&settled(3, run.clone()), &recycled), "met");
    assert_eq!(
        judge(&Goal::Running { other_than: run }, &before),
        "pending"
    );
    assert_eq!(judge(&Goal::Running { other_than: None }, &before), "met");
}

#[test]
fn what_was_ready_before_is_no_stage_of_a_change() {
    let ready = vm("Ready", "True", |_| {});
    let run = RunOf::of(&ready);
    let shown = |goal: &Goal, object: &Object| match verdict(goal, Some(object), None) {
        Verdict::Pending(stage) => stage,
        other => panic!("{goal:?}: {other:?}"),
    };
    let restart = "waiting for the restart to begin";
    assert_eq!(shown(&settled(3, run.clone()), &ready), restart);
    let running = Goal::Running {
        other_than: run.clone(),
    };
    assert_eq!(shown(&running, &ready), restart);
    let seen = "waiting for the change to be seen";
    assert_eq!(shown(&settled(4, None), &ready), seen);
    let stop = "waiting for the stop to begin";
    assert_eq!(shown(&Goal::Stopped, &ready), stop);
    let deletion = "waiting for the deletion to begin";
    assert_eq!(shown(&Goal::Gone(None), &ready), deletion);
    // Once it has begun, its own stages are shown.
    let stopping = vm("Stopping", "False", |_| {});
    assert_eq!(shown(&settled(3, run), &stopping), "Stopping: because");
}

#[test]
fn a_refused_document_ends_all_hope_but_that_of_deletion() {
    let refused = vm("Booting", "False", |vm| {
        vm["status"]["conditions"][0] = condition("Accepted", "False", "web.yaml:1:1: no");
    });
    let ready = Goal::Condition(ConditionType::Ready, ConditionStatus::True);
    assert_eq!(judge(&ready, &refused), "hopeless");
    assert_eq!(judge(&settled(3, None), &refused), "hopeless");
    assert_eq!(judge(&Goal::Gone(None), &refused), "pending");
    assert_eq!(judge(&Goal::Stopped, &refused), "pending");
    let not_accepted = Goal::Condition(ConditionType::Accepted, ConditionStatus::False);
    assert_eq!(judge(&not_accepted, &refused), "met");
    // What ran before still runs: `vm ssh` may go on.
    let running = vm("Ready", "True", |vm| {
        vm["status"]["conditions"][0] = condition("Accepted", "False", "no");
    });
    assert_eq!(judge(&Goal::Running { other_than: None }, &running), "met");
}

#[test]
fn gone_is_gone_whoever_comes_after() {
    let vm = vm("Ready", "True", |_| {});
    let gone = |uid: &str| Goal::Gone(Some(uid.parse().unwrap()));
    assert_eq!(judge(&gone(UID), &vm), "pending");
    assert_eq!(judge(&gone(OTHER), &vm), "met");
    assert!(matches!(verdict(&gone(UID), None, None), Verdict::Met(_)));
    assert!(matches!(
        verdict(&Goal::Stopped, None, None),
        Verdict::Hopeless { .. }
    ));
}

#[test]
fn a_stage_says_why() {
    assert_eq!(stage(&vm("Ready", "True", |_| {})), "Ready");
    assert_eq!(stage(&vm("Pending", "False", |_| {})), "Pending: because");
    let silent = vm("Creating", "False", |vm| {
        vm["status"]["conditions"][1]["message"] = "".into();
        vm["status"]["conditions"][1]["reason"] = "Creating".into();
    });
    assert_eq!(stage(&silent), "Creating");
}
