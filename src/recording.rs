//! Records of topics in a file, to be read again without a broker. `recording.proto` is the format, for other programs.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use prost::Message;
use tempfile::NamedTempFile;
use zstd::stream::{read::Decoder, write::Encoder};

use crate::decode::Headers;

/// A record of a topic.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    #[prost(string, tag = "1")]
    pub topic: String,
    #[prost(int32, tag = "2")]
    pub partition: i32,
    #[prost(int64, tag = "3")]
    pub offset: i64,
    /// In milliseconds since the Unix epoch, by the producer or the broker.
    #[prost(sint64, optional, tag = "4")]
    pub timestamp: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub key: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "6")]
    pub headers: Vec<Header>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Header {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub value: Option<Vec<u8>>,
}

/// Writes a recording. It stands under its name when it is whole, and not before.
pub struct Writer {
    stream: Encoder<'static, NamedTempFile>,
    path: PathBuf,
}

/// Reads one, record by record.
pub struct Reader {
    stream: Decoder<'static, BufReader<File>>,
    path: PathBuf,
    /// Nothing is read behind a mistake.
    over: bool,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("cannot read {}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is no recording; `tailwater record` writes one", .0.display())]
    Foreign(PathBuf),
    #[error("a newer version wrote {} (format {format}; this one reads {FORMAT}); read it with that version", path.display())]
    Newer { path: PathBuf, format: u8 },
    #[error("{} is damaged ({error}); record it again", path.display())]
    Damaged { path: PathBuf, error: String },
}

const MAGIC: &[u8; 7] = b"TWREC\0\0";
const FORMAT: u8 = 1;
/// zstd's own default: faster than most disks, and spans become a tenth.
const LEVEL: i32 = 3;
/// The largest record that is read: no broker is set to take more, and a damaged length must not ask for all memory.
const RECORD_MAX: usize = 1 << 28;

/// In the header of this key a re-keyed record says the topic that it was read from.
pub const TOPIC: &str = "tailwater.topic";

// === impl Record ===

impl Headers for Record {
    fn topic(&self) -> Option<&[u8]> {
        Some(self.header(TOPIC).unwrap_or(self.topic.as_bytes()))
    }

    fn header(&self, key: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.key == key)?.value.as_deref()
    }
}

// === impl Writer ===

impl Writer {
    /// # Errors
    /// The folder takes no file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut stream = Encoder::new(NamedTempFile::new_in(folder)?, LEVEL)?;
        stream.include_checksum(true)?;
        stream.write_all(MAGIC)?;
        stream.write_all(&[FORMAT])?;
        Ok(Self { stream, path: path.to_owned() })
    }

    /// # Errors
    /// The disk does not take it.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        self.stream.write_all(&record.encode_length_delimited_to_vec())
    }

    /// Gives the file its name, in place of what had it.
    ///
    /// # Errors
    /// The disk does not take it; then there is no file.
    pub fn finish(self) -> io::Result<()> {
        let file = self.stream.finish()?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

// === impl Reader ===

impl Reader {
    /// # Errors
    /// It is not there, or not a recording that this version reads.
    pub fn open(path: &Path) -> Result<Self, Unreadable> {
        let io = |error| Unreadable::Io { path: path.to_owned(), error };
        let stream = Decoder::new(File::open(path).map_err(io)?).map_err(io)?.single_frame();
        let mut reader = Self { stream, path: path.to_owned(), over: false };
        let mut head = [0; 8];
        match reader.stream.read_exact(&mut head) {
            Ok(()) if head[..7] != *MAGIC => Err(Unreadable::Foreign(reader.path)),
            Ok(()) if head[7] != FORMAT => Err(Unreadable::Newer { path: reader.path, format: head[7] }),
            Ok(()) => Ok(reader),
            Err(error) if error.raw_os_error().is_some() => Err(io(error)),
            Err(_) => Err(Unreadable::Foreign(reader.path)),
        }
    }

    /// None at the end, which is only there when the checksum was right.
    fn next(&mut self) -> Result<Option<Record>, String> {
        let Some(len) = self.length()? else { return Ok(None) };
        if len > RECORD_MAX {
            return Err(format!("a record of {len} bytes"));
        }
        let mut bytes = Vec::new();
        // It grows with what is there, and not with what a damaged length asks for.
        let read = self.stream.by_ref().take(len as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if read < len {
            return Err("it ends inside a record".to_owned());
        }
        Record::decode(bytes.as_slice()).map(Some).map_err(|error| error.to_string())
    }

    /// A varint.
    fn length(&mut self) -> Result<Option<usize>, String> {
        let (mut len, mut byte) = (0_u64, [0]);
        for shift in (0..35).step_by(7) {
            match self.stream.read(&mut byte).map_err(|error| error.to_string())? {
                0 if shift == 0 => return Ok(None),
                0 => return Err("it ends inside a record".to_owned()),
                _ => len |= u64::from(byte[0] & 0x7f) << shift,
            }
            if byte[0] < 0x80 {
                return usize::try_from(len).map(Some).map_err(|error| error.to_string());
            }
        }
        Err("a length that is none".to_owned())
    }
}

impl Iterator for Reader {
    type Item = Result<Record, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let record = Self::next(self);
        self.over = !matches!(record, Ok(Some(_)));
        record.map_err(|error| Unreadable::Damaged { path: self.path.clone(), error }).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..300);
        let headers = prop::collection::vec(("[a-z]{0,5}", prop::option::of(bytes())), 0..3);
        let place = ("[a-z.]{1,9}", any::<i32>(), any::<i64>(), prop::option::of(any::<i64>()));
        (place, prop::option::of(bytes()), headers, prop::option::of(bytes())).prop_map(
            |((topic, partition, offset, timestamp), key, headers, value)| Record {
                topic,
                partition,
                offset,
                timestamp,
                key,
                headers: headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
                value,
            },
        )
    }

    fn written(path: &Path, records: &[Record]) {
        let mut writer = Writer::create(path).expect("a file");
        records.iter().for_each(|record| writer.write(record).expect("written"));
        assert!(!path.exists(), "it is not whole yet");
        writer.finish().expect("finished");
    }

    fn read(path: &Path) -> Result<Vec<Record>, Unreadable> {
        Reader::open(path)?.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn comes_back_as_it_was_or_not_at_all(
            records in prop::collection::vec(record(), 0..20),
            damage in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("spans.rec");
            written(&path, &records);
            prop_assert_eq!(&read(&path).unwrap(), &records);

            let whole = fs::read(&path).unwrap();
            let at = damage.index(whole.len());
            fs::write(&path, &whole[..at]).unwrap();
            prop_assert!(read(&path).is_err(), "cut at {at} of {}", whole.len());
            let mut flipped = whole;
            flipped[at] ^= 1_u8 << bit;
            fs::write(&path, &flipped).unwrap();
            // Not every bit of a frame's head means something.
            if let Ok(read) = read(&path) {
                prop_assert_eq!(read, records, "bit {} of byte {}", bit, at);
            }
        }

        #[test]
        fn nothing_panics(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("spans.rec");
            let packed = zstd::encode_all(&[b"TWREC\0\0\x01".as_slice(), &content].concat()[..], 1).unwrap();
            fs::write(&path, packed).unwrap();
            _ = read(&path);
            fs::write(&path, content).unwrap();
            prop_assert!(read(&path).is_err());
        }
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let said = || read(&path).expect_err("not readable").to_string();
        assert!(said().contains("cannot read"), "{}", said());
        for content in [&b""[..], b"policies: []"] {
            fs::write(&path, content).expect("a file");
            assert!(said().contains("is no recording"), "{}", said());
        }
        fs::write(&path, zstd::encode_all(&b"TWREC\0\0\x02"[..], 1).expect("packed")).expect("a file");
        assert!(said().contains("format 2; this one reads 1"), "{}", said());
    }
}
