//! Policies that change while the processor runs.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, time::Duration};

use crate::support::{
    kafka::{Record, kafka},
    oracle::hex,
    processor::{Job, Processor},
    spans::{failed, keyed, passing_time, span, trace},
    wait::wait_for,
    witness,
};

const ERRORS: &str = "policies: [ { name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always } ]";
const ORDERS: &str = "policies: [ { name: orders, when: 'any(name == \"span 1\")', keep: always } ]";
const MISTAKEN: &str = "policies: [ { name: errors, when: any(statuss.code == 2), keep: always } ]";

/// In a folder as Kubernetes mounts it: links that lead through one link, which is swapped.
struct Mounted<'a>(&'a Path);

impl Mounted<'_> {
    fn swap(&self, version: &str, policies: &str) {
        let at = |name: &str| self.0.join(name);
        fs::create_dir(at(version)).expect("a folder");
        fs::write(at(version).join("policies.yaml"), policies).expect("policies");
        symlink(version, at("..next")).expect("a link");
        fs::rename(at("..next"), at("..data")).expect("a swap");
    }

    fn mount(&self) {
        symlink("..data/policies.yaml", self.0.join("next.yaml")).expect("a link");
        fs::rename(self.0.join("next.yaml"), self.0.join("policies.yaml")).expect("a swap");
    }
}

/// Waits until the policies loaded as the `count`th are those of all new traces.
fn wait_for_taken(processor: &mut Processor, count: usize) {
    let hash = wait_for("the policies to be loaded", Duration::from_secs(60), || {
        let said = processor.said();
        Some(said.split("policies are loaded: ").nth(count)?.get(..8)?.to_owned())
    });
    processor.wait_until("the worker to take them", |metrics| {
        metrics.value("tailwater_policies_in_force", &[("hash", &hash)]) == Some(1.0)
    });
}

fn wait_for_refused(processor: &mut Processor, times: f64) {
    processor.wait_until("the policies to be refused", |metrics| {
        metrics.value("tailwater_policy_reloads_total", &[("result", "refused")]) == Some(times)
    });
}

#[test]
fn policies_change_without_a_restart() {
    let input = kafka().topic("reload-spans", 1);
    let output = kafka().topic("reload-kept", 1);
    let mut job = Job::named("reload");
    job.max_wait = "30m";
    job.policies = ERRORS.to_owned();
    let whole = |number, at| keyed(0, at, vec![span(trace(number), 1, 0, at)]);
    let failing = |number, at| keyed(0, at, vec![failed(span(trace(number), 1, 0, at))]);

    let mut processor = job.run();
    let folder = processor.folder().to_owned();
    let mounted = Mounted(&folder);
    mounted.swap("one", ERRORS);
    mounted.mount();
    // The root of 3 comes when other policies are in force.
    input.produce([failing(1, 0), whole(2, 0), keyed(0, 0, vec![span(trace(3), 2, 1, 0)])]);
    input.produce(passing_time(0, 100, 20_000));
    processor.wait_until("the first to go out", |metrics| metrics.forwarded() == 1);

    mounted.swap("two", ORDERS);
    wait_for_taken(&mut processor, 1);
    input.produce([whole(3, 22_000), whole(4, 22_000)]);
    let passing: Vec<Record> = passing_time(0, 22_100, 40_000).collect();
    let mut forwarded = 2 + passing.len() as u64;
    input.produce(passing);
    processor.wait_until("all to be decided", |metrics| metrics.forwarded() == forwarded && metrics.held() == 0);

    mounted.swap("three", MISTAKEN);
    wait_for_refused(&mut processor, 1.0);
    let said = processor.said();
    assert!(said.contains("policies.yaml:1:39") && said.contains("^^^^"), "{said}");
    assert!(processor.is_ready(), "a mistake in a file is no reason to take nobody");
    processor.hang_up();
    wait_for_refused(&mut processor, 2.0);
    input.produce([whole(5, 60_000)]);
    forwarded += 1;
    processor.wait_until("the policies before to go on", |metrics| metrics.forwarded() == forwarded);

    mounted.swap("four", ERRORS);
    wait_for_taken(&mut processor, 2);
    input.produce([failing(6, 80_000), whole(7, 80_000)]);
    forwarded += 1;
    processor.wait_until("those of the start to be back", |metrics| {
        metrics.forwarded() == forwarded && metrics.held() == 0 && metrics.lost() == 0
    });
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);

    let kept: BTreeSet<Vec<u8>> = output.records().into_iter().filter_map(|record| record.key).collect();
    let is_kept = [1, 2, 3, 4, 5, 6, 7].map(|number| kept.contains(hex(&trace(number)).as_bytes()));
    assert_eq!(is_kept, [true, false, false, true, true, true, false]);
    witness("reload");
}

/// Of a kind one is enough for a day, whatever is loaded meanwhile beside the policy that says so.
#[test]
fn what_samplers_have_learned_outlives_a_reload() {
    let input = kafka().topic("learned-spans", 1);
    let output = kafka().topic("learned-kept", 1);
    let mut job = Job::named("learned");
    let example = "{ name: example, keep: { rare: { by: [root.name], per: 24h } } }";
    job.policies = format!("policies: [ {example} ]");
    let mut processor = job.run();
    input.produce(passing_time(0, 0, 20_000));
    processor.wait_until("one to be kept", |metrics| metrics.forwarded() == 1);

    let errors = "{ name: errors, when: any(status.code == STATUS_CODE_ERROR), keep: always }";
    let loaded = format!("policies: [ {errors}, {example} ]");
    fs::write(processor.folder().join("policies.yaml"), loaded).expect("policies");
    wait_for_taken(&mut processor, 1);
    input.produce(passing_time(0, 22_000, 40_000));
    input.produce([keyed(0, 41_000, vec![failed(span(trace(1), 1, 0, 41_000))])]);
    input.produce(passing_time(0, 42_000, 60_000));
    processor.wait_until("all to be decided", |metrics| metrics.forwarded() >= 2 && metrics.held() == 0);
    let ended = processor.terminate();
    assert!(ended.status.success(), "{}", ended.said);

    let kept: BTreeSet<Vec<u8>> = output.records().into_iter().filter_map(|record| record.key).collect();
    assert!(kept.len() == 2 && kept.contains(hex(&trace(1)).as_bytes()), "{} were kept", kept.len());
    witness("reload-learned");
}
