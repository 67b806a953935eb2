//! Generated traffic, made before anything is measured.

use std::{fs, io, path::Path};

use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use tailwater::{
    assemble::Keying,
    generate::{self, Shape, Trace, Traffic},
};

/// How agents send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Small records of one trace, keyed by it.
    Keyed,
    /// Unkeyed batches of 100 spans that mix traces.
    Batched,
}

/// Records of four partitions, in the order of time.
pub struct Records {
    pub form: Form,
    pub records: Vec<Record>,
}

pub struct Record {
    pub partition: u32,
    /// Milliseconds of record time.
    pub at_ms: u64,
    pub spans: u32,
    pub value: Vec<u8>,
}

pub const PARTITIONS: u32 = 4;
const BATCH: usize = 100;

/// A record as its producer would write it in JSON.
pub fn in_json(value: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&TracesData::decode(value).expect("OTLP")).expect("JSON")
}

// === impl Form ===

impl Form {
    pub const ALL: [Self; 2] = [Self::Keyed, Self::Batched];

    pub fn name(self) -> &'static str {
        match self {
            Self::Keyed => "keyed small records",
            Self::Batched => "unkeyed batches of 100",
        }
    }

    /// Traces as records, in the order of time.
    pub fn records(self, traces: impl Iterator<Item = Trace> + 'static) -> impl Iterator<Item = Record> {
        self.cut(traces).enumerate().map(move |(i, record)| {
            let partition = match self {
                Self::Keyed => u32::from(record.spans[0].0.0[0]) % PARTITIONS,
                Self::Batched => i as u32 % PARTITIONS,
            };
            Record { partition, at_ms: record.at_ms, spans: record.spans.len() as u32, value: record.value }
        })
    }

    /// Traces as what is sent.
    pub fn cut(self, traces: impl Iterator<Item = Trace> + 'static) -> Box<dyn Iterator<Item = generate::Record>> {
        match self {
            Self::Keyed => Box::new(generate::keyed(traces)),
            Self::Batched => Box::new(generate::batched(traces, BATCH)),
        }
    }

    pub fn keying(self) -> Keying {
        match self {
            Self::Keyed => Keying::Keyed,
            Self::Batched => Keying::Unkeyed,
        }
    }
}

// === impl Records ===

impl Records {
    /// `seconds` of traffic at 10,000 spans a second, the same at every call.
    pub fn generate(form: Form, seconds: u64) -> Self {
        Self::at(Shape::default().spans_per_second, form, seconds)
    }

    pub fn at(spans_per_second: f64, form: Form, seconds: u64) -> Self {
        let end = seconds * 1000;
        let traffic = Traffic::new(7, Shape { spans_per_second, ..Shape::default() });
        let traces = traffic.take_while(move |trace| trace.start_ms < end);
        let records = form.records(traces).take_while(|record| record.at_ms < end);
        Self { form, records: records.collect() }
    }

    /// Splits at a time: what to warm up with, and what to measure.
    pub fn split(&self, seconds: u64) -> (&[Record], &[Record]) {
        self.records.split_at(self.records.partition_point(|record| record.at_ms < seconds * 1000))
    }

    /// For another process, for which generating would be slow.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = Vec::new();
        for Record { partition, at_ms, spans, value } in &self.records {
            for number in [u64::from(*partition), *at_ms, u64::from(*spans), value.len() as u64] {
                file.extend_from_slice(&number.to_le_bytes());
            }
            file.extend_from_slice(value);
        }
        fs::write(path, file)
    }

    /// # Panics
    /// Where the file is not one that `save` wrote.
    pub fn load(form: Form, path: &Path) -> io::Result<Self> {
        let file = fs::read(path)?;
        let mut rest = &file[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let [partition, at_ms, spans, len] = std::array::from_fn(|_| {
                let (number, behind) = rest.split_first_chunk().expect("a whole header");
                rest = behind;
                u64::from_le_bytes(*number)
            });
            let (value, behind) = rest.split_at(len as usize);
            rest = behind;
            records.push(Record { partition: partition as u32, at_ms, spans: spans as u32, value: value.to_vec() });
        }
        Ok(Self { form, records })
    }
}

pub fn spans(records: &[Record]) -> u64 {
    records.iter().map(|record| u64::from(record.spans)).sum()
}
