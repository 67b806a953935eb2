//! Where a contender meets steady traffic.

use std::time::Duration;

use tailwater::generate::Shape;
use tempfile::TempDir;

use super::{
    contender::Task,
    policies::Policies,
    real::kafka::{Topic, kafka},
    row::Encoding,
    topic,
};

/// Topics of its own, deleted when dropped.
pub struct Stage {
    pub group: String,
    pub input: Topic,
    pub output: Topic,
    folder: TempDir,
}

/// From a trace's first span to its verdict: no trace of this traffic lasts longer.
pub const WAIT: Duration = Duration::from_secs(10);
/// From the end of the last trace's wait until it is surely out: the Collector decides once a second, we commit as often.
pub const SURELY: Duration = Duration::from_secs(5);

// === impl Stage ===

impl Stage {
    pub fn of(group: &str) -> Self {
        let [input, output] = ["spans", "kept"].map(|name| {
            let topic = kafka().existing(&format!("{group}-{name}"), topic::PARTITIONS);
            topic::create(&kafka().bootstrap, &topic.name);
            topic
        });
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        Self { group: group.to_owned(), input, output, folder }
    }

    /// `rate` is in spans per second.
    pub fn task(&self, policies: Policies, rate: f64) -> Task<'_> {
        // What waits is half of what either of two shards has room for. The Collector remembers decided ones in the rest.
        let waiting = rate * WAIT.as_secs_f64() / Shape::SPANS_PER_TRACE;
        let (folder, policies) = (self.folder.path(), policies.written(self.folder.path()));
        let (brokers, traces) = (kafka().bootstrap.as_str(), (4.0 * waiting) as usize);
        let encoding = Encoding::Protobuf;
        Task { brokers, input: &self.input, encoding, folder, policies, wait: WAIT, traces, buffer: "1GiB" }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        topic::delete(&kafka().bootstrap, &[&self.input.name]);
        topic::delete_all_of(&kafka().bootstrap, &self.group);
    }
}
