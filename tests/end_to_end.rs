//! The job itself: exactly the traces that must be kept, each whole, once, byte for byte.

use tailwater::generate::Shape;

use crate::support::{
    kafka::{Record, Topic, kafka},
    oracle::{Copies, Expected},
    processor::Job,
    seed::seed,
    traffic::Shop,
    witness,
};

fn shop() -> Shop {
    Shop { seed: seed(), traces: 60_000, shape: Shape::default() }
}

#[test]
fn sixty_thousand_traces_as_small_keyed_records() {
    let input = kafka().topic("keyed-spans", 4);
    input.produce(shop().keyed(4));
    keeps_exactly_what_must_be_kept(&Job::named("keyed"), &input);
}

#[test]
fn sixty_thousand_traces_as_unkeyed_batches() {
    let input = kafka().topic("batched-spans", 4);
    input.produce(shop().batched(4));
    keeps_exactly_what_must_be_kept(&Job::named("batched"), &input);
}

fn keeps_exactly_what_must_be_kept(job: &Job, input: &Topic) {
    let output = kafka().topic(&job.output, 4);
    let ended = job.run_until_end();
    println!("{} in {:.1?}", job.group, ended.took);

    let expected = Expected::of(&[input]);
    println!("{} of {} traces must be kept, {} spans in all", expected.kept.len(), expected.traces, expected.spans);
    assert_eq!(expected.traces, 60_000);
    assert!((855_000..885_000).contains(&expected.spans), "{} spans", expected.spans);
    let kept: Vec<Record> = output.records();
    expected.check(&kept, Copies::One);

    let committed: Vec<Option<i64>> = input.committed(&job.group).into_iter().map(|of| of.offset).collect();
    assert_eq!(
        committed,
        input.ends().into_iter().map(Some).collect::<Vec<_>>(),
        "all is decided, so all is committed"
    );
    job.run_until_end();
    assert_eq!(output.records().len(), kept.len(), "there was nothing left to do");
    witness(&format!("end-to-end-{}", job.group));
}
