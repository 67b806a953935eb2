//! What is measured.

use tailwater::decode::{
    self, Batch, Keys, Malformed,
    wire::{Range, Reader},
};

use super::{
    feed::{self, Feed},
    policies,
    records::{Form, Record},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// The floor: every field of every span passed by once, nothing noted.
    Walk,
    /// Spans as ranges, with the keys of the five policies.
    Decode,
    /// Held and completed as well; the one policy looks at no span and keeps nothing.
    Assemble,
    /// The whole core, what is kept written to ticks.
    Five,
    Hundred,
    /// The whole core, and everything is kept: what forwarding costs.
    All,
}

/// A case, warmed up.
pub enum Run {
    Walk,
    Decode(Box<(Batch, Keys)>),
    Engine(Box<Feed>),
}

/// Seconds of traffic, and of these how many are warm-up: the longest hold is 30 s, the usual one 6.
pub const SECONDS: u64 = 40;
pub const WARM_UP: u64 = 20;

// === impl Case ===

impl Case {
    pub const ALL: [Self; 6] = [Self::Walk, Self::Decode, Self::Assemble, Self::Five, Self::Hundred, Self::All];

    pub fn name(self) -> &'static str {
        match self {
            Self::Walk => "walk the bytes",
            Self::Decode => "decode",
            Self::Assemble => "decode + assemble",
            Self::Five => "engine, 5 policies",
            Self::Hundred => "engine, 100 policies",
            Self::All => "engine, all kept",
        }
    }

    pub fn warm(self, form: Form, records: &[Record]) -> Run {
        let policies = match self {
            Self::Walk => return Run::Walk,
            Self::Decode => {
                let keys = [&b"http.route"[..], b"http.response.status_code"];
                return Run::Decode(Box::new((Batch::default(), Keys::new(keys))));
            }
            Self::Assemble => policies::none(),
            Self::Five => policies::five(),
            Self::Hundred => policies::hundred(),
            Self::All => policies::all(),
        };
        let mut feed = Feed::new(feed::settings(form), policies);
        feed.take(records);
        Run::Engine(Box::new(feed))
    }
}

// === impl Run ===

impl Run {
    /// The result is to be looked at, lest the work be optimised away.
    pub fn take(&mut self, records: &[Record]) -> u64 {
        match self {
            Self::Walk => records.iter().map(|record| walk(&record.value).expect("well-formed")).sum(),
            Self::Decode(decode) => {
                let (batch, keys) = &mut **decode;
                let decoded = records.iter().map(|record| {
                    decode::decode(&record.value, keys, batch).expect("well-formed");
                    batch.spans.len() as u64
                });
                decoded.sum()
            }
            Self::Engine(feed) => {
                feed.take(records);
                feed.engine.stats().received
            }
        }
    }
}

/// Counts the fields of all spans.
pub fn walk(record: &[u8]) -> Result<u64, Malformed> {
    let end = record.len() as u32;
    children(record, Range { start: 0, end }, 1, |resource| {
        children(record, resource, 2, |scope| {
            children(record, scope, 2, |span| {
                let (mut fields, mut reader) = (0, Reader::within(record, span));
                while reader.field()?.is_some() {
                    fields += 1;
                }
                Ok(fields)
            })
        })
    })
}

#[inline(always)]
fn children(
    record: &[u8],
    message: Range,
    number: u32,
    mut each: impl FnMut(Range) -> Result<u64, Malformed>,
) -> Result<u64, Malformed> {
    let (mut sum, mut reader) = (0, Reader::within(record, message));
    while let Some(field) = reader.field()? {
        if let (true, Ok((_, range))) = (field.number == number, field.bytes()) {
            sum += each(range)?;
        }
    }
    Ok(sum)
}
