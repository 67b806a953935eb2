//! A broker that stands still, dies and comes back, and connections that break.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    kafka::Kafka, processor::Processor, seed::seed, siege::Siege, traffic::keyed, wait::wait_until, witness,
};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_broker_in_trouble() {
    let kafka = Kafka::start();
    let mut siege = Siege::new(&kafka, "fault-broker", &["spans"], 4);
    siege.job.keyed = "yes";
    siege.job.more.push_str("workers: 2\n");
    siege.job.brokers = format!("127.0.0.1:{}", kafka.outside.port);
    let load = siege.load(seed(), keyed);
    let open = kafka.outside.open();
    let mut processor = siege.job.run();
    processor.wait_until("it to deliver", |metrics| metrics.forwarded() > 0);

    for _ in 0..2 {
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        kafka.freeze();
        thread::sleep(Duration::from_secs(5));
        kafka.thaw();
        goes_on(&mut processor);
    }
    for _ in 0..2 {
        wait_until("an open transaction", PATIENCE, || siege.is_open());
        kafka.kill();
        goes_on(&mut processor);
    }
    drop(open);
    // Connections hold for a moment only.
    let mut random = fastrand::Rng::with_seed(seed());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(15) {
        let _open = kafka.outside.open();
        thread::sleep(Duration::from_millis(random.u64(200..2_000)));
    }
    let _open = kafka.outside.open();
    goes_on(&mut processor);
    siege.kill(processor, "at last", false);
    load.end();
    siege.judge(i64::MAX);
    witness("fault-broker");
}

fn goes_on(processor: &mut Processor) {
    let forwarded = processor.metrics().expect("it runs").forwarded();
    processor.wait_until("it to go on", |metrics| metrics.forwarded() > forwarded && metrics.lost() == 0);
}
