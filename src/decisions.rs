use crate::{assemble::Reason, decide::Verdict, model::{RecordTime, TraceId}};
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision { pub trace: TraceId, pub verdict: Verdict, pub reason: Reason, pub decided: RecordTime, pub spans: u32 }
pub fn encode(_: u64, _: u64, _: impl Iterator<Item = Decision>, _: &[String], _: usize) -> Vec<Vec<u8>> { vec![] }
