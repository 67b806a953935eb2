use super::Partition; use crate::{config::Config, decisions::Decision}; use std::time::Duration;
pub struct Restore; pub struct Restored { pub partition: Partition, pub tick: u64, pub first: i64, pub decision: Decision, pub bound: bool }
impl Restore { pub fn new(_: &Config, _: Vec<(Partition, i64, Option<i64>)>, _: bool) -> anyhow::Result<Self> { Ok(Self) }
 pub fn poll(&mut self, _: Duration) -> anyhow::Result<Option<Vec<Restored>>> { Ok(Some(vec![])) } }
