//! Records in the order of time, whatever order they came in.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
};

use anyhow::{Context, ensure};
use prost::Message;

use super::sample::Sample;
use crate::{
    assemble::Clock,
    decode::{Decoder, Headers},
    limits,
    model::{RecordTime, TraceId},
    recording,
};

/// Takes records as they come. Their values wait in a file without a name, their places in memory.
pub struct Spool {
    sample: Sample,
    pub(super) most: Most,
    file: BufWriter<File>,
    written: u64,
    notes: Vec<Note>,
    numbers: HashMap<(String, i32), u32>,
    /// Where traces of the sample were seen first.
    seen: HashMap<TraceId, u32>,
    spread: bool,
    refused: u64,
    decoder: Decoder,
}

/// Records, merged by (clock, topic, partition, offset), where the clock is what their partition's was before them: as a worker takes
/// in an unkeyed input (C10).
pub struct Records {
    pub sample: Sample,
    /// Some trace is in several partitions.
    pub spread: bool,
    /// Records that no engine takes in.
    pub refused: u64,
    /// By their number: the first offset.
    pub partitions: Vec<i64>,
    /// By the same: of what topic.
    topics: Vec<String>,
    file: File,
    notes: Vec<Note>,
}

/// A record when its turn has come.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// In `Records::partitions`.
    pub partition: u32,
    pub offset: i64,
    pub timestamp: Option<RecordTime>,
    /// What the clock of its partition was before it.
    pub clock: RecordTime,
    pub headers: &'a dyn Headers,
    /// Empty where none of the sample's traces are in it: a message without spans.
    pub payload: &'a [u8],
    /// Of its partition.
    pub is_last: bool,
}

#[derive(Clone, Copy)]
struct Note {
    clock: RecordTime,
    partition: u32,
    /// Bytes of the value, and of the headers behind it.
    len: u32,
    headers: u32,
    offset: i64,
    at: u64,
    timestamp: Option<RecordTime>,
}

/// As much as is taken.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// 56 bytes each: a gigabyte and a tenth.
    pub records: usize,
    /// What is known of each, with what each set of policies says of it, takes some 250 bytes: a gigabyte and a quarter.
    pub traces: usize,
}

pub const MOST: Most = Most { records: 20_000_000, traces: 5_000_000 };

// === impl Spool ===

impl Spool {
    /// # Errors
    /// There is no place for a temporary file.
    pub fn new(sample: Sample) -> anyhow::Result<Self> {
        let file = tempfile::tempfile().context("cannot make a temporary file; TMPDIR says where")?;
        Ok(Self {
            sample,
            most: MOST,
            file: BufWriter::new(file),
            written: 0,
            notes: Vec::new(),
            numbers: HashMap::new(),
            seen: HashMap::new(),
            spread: false,
            refused: 0,
            decoder: Decoder::default(),
        })
    }

    /// # Errors
    /// There are too many records or traces, or the disk is full.
    pub fn add(&mut self, record: recording::Record) -> anyhow::Result<()> {
        let mut decoder = std::mem::take(&mut self.decoder);
        let added = self.add_read(record, &mut decoder);
        self.decoder = decoder;
        added
    }

    fn add_read(&mut self, record: recording::Record, decoder: &mut Decoder) -> anyhow::Result<()> {
        let Most { records, traces } = self.most;
        ensure!(self.notes.len() < records, "more than {records} records; choose a shorter range");
        let recording::Record { topic, partition, offset, timestamp, headers, value, .. } = record;
        let number = self.numbers.len() as u32;
        let partition = *self.numbers.entry((topic, partition)).or_insert(number);
        let value = value.filter(|value| value.len() <= limits::RECORD_BYTES);
        let Some((value, batch)) = value.as_deref().and_then(|value| decoder.read(value).ok()) else {
            self.refused += 1;
            return self.note(partition, offset, timestamp, &[], Vec::new());
        };
        let mut is_wanted = false;
        for span in &batch.spans {
            let trace = TraceId(span.trace_id);
            if self.sample.has(trace) {
                is_wanted = true;
                self.spread |= *self.seen.entry(trace).or_insert(partition) != partition;
            }
        }
        ensure!(
            self.seen.len() <= traces,
            "more than {traces} traces; choose a shorter range, or a part of the traces with --sample"
        );
        let (value, headers) = if is_wanted { (value, headers) } else { (&[][..], Vec::new()) };
        self.note(partition, offset, timestamp, value, headers)
    }

    fn note(
        &mut self,
        partition: u32,
        offset: i64,
        timestamp: Option<i64>,
        value: &[u8],
        headers: Vec<recording::Header>,
    ) -> anyhow::Result<()> {
        let headers = recording::Record { headers, ..recording::Record::default() }.encode_to_vec();
        for bytes in [value, &headers] {
            self.file.write_all(bytes).context("cannot write to a temporary file; TMPDIR says where it is")?;
        }
        let (at, len, headers) = (self.written, value.len() as u32, headers.len() as u32);
        self.written += u64::from(len) + u64::from(headers);
        let timestamp = timestamp.map(RecordTime);
        self.notes.push(Note { clock: RecordTime::START, partition, len, headers, offset, at, timestamp });
        Ok(())
    }

    /// All are there.
    ///
    /// # Errors
    /// The disk is full.
    pub fn merge(self) -> anyhow::Result<Records> {
        let Self { sample, file, mut notes, numbers, spread, refused, .. } = self;
        let file = file.into_inner().context("cannot write to a temporary file; TMPDIR says where it is")?;
        let mut names: Vec<_> = numbers.into_iter().collect();
        names.sort();
        let mut places = vec![0; names.len()];
        for (place, (_, number)) in (0..).zip(&names) {
            places[*number as usize] = place;
        }
        let topics = names.into_iter().map(|((topic, _), _)| topic).collect();
        notes.iter_mut().for_each(|note| note.partition = places[note.partition as usize]);
        notes.sort_by_key(|note| (note.partition, note.offset));
        // Nothing is twice in a topic.
        notes.dedup_by_key(|note| (note.partition, note.offset));
        let each = notes.chunk_by_mut(|a, b| a.partition == b.partition);
        let partitions = each.map(|notes| {
            set_clocks(notes);
            notes[0].offset
        });
        let partitions = partitions.collect();
        notes.sort_by_key(|note| (note.clock, note.partition, note.offset));
        Ok(Records { sample, spread, refused, partitions, topics, file, notes })
    }
}

/// The clock of a partition before each of its records, as an engine has it; before there is one, they come first.
fn set_clocks(notes: &mut [Note]) {
    let mut clock = Clock::default();
    for note in notes.iter_mut() {
        note.clock = clock.now().unwrap_or(RecordTime::START);
        if let Some(timestamp) = note.timestamp {
            clock.observe(timestamp, RecordTime::END);
        }
    }
}

// === impl Records ===

impl Records {
    pub fn len(&self) -> u64 {
        self.notes.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// From the first to the last timestamp.
    pub fn times(&self) -> Option<(RecordTime, RecordTime)> {
        let times = || self.notes.iter().filter_map(|note| note.timestamp);
        Some((times().min()?, times().max()?))
    }

    /// Each in its turn.
    ///
    /// # Errors
    /// The disk gives it back no more.
    pub fn each(&self, mut take: impl FnMut(Turn<'_>)) -> anyhow::Result<()> {
        let mut left = vec![0_u64; self.partitions.len()];
        self.notes.iter().for_each(|note| left[note.partition as usize] += 1);
        let (mut bytes, mut beside) = (Vec::new(), recording::Record::default());
        for &Note { clock, partition, len, headers, offset, at, timestamp } in &self.notes {
            bytes.resize(len as usize + headers as usize, 0);
            self.file.read_exact_at(&mut bytes, at).context("cannot read a temporary file again")?;
            let (payload, headers) = bytes.split_at(len as usize);
            beside.headers.clear();
            beside.merge(headers).context("a temporary file is damaged")?;
            beside.topic.clone_from(&self.topics[partition as usize]);
            left[partition as usize] -= 1;
            let is_last = left[partition as usize] == 0;
            take(Turn { partition, offset, timestamp, clock, headers: &beside, payload, is_last });
        }
        Ok(())
    }
}
