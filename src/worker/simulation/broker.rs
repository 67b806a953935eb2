//! Kafka as it is seen by its protocol: logs, transactions whose markers land one by one, a group with generations.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    judge::{Judge, Letter},
    log::{Log, Txn},
};
use crate::{sample::Learned, source::Metadata};

pub struct Broker {
    pub input: Vec<Log<Input>>,
    /// Beside each partition of the input.
    pub decisions: Vec<Log<Vec<u8>>>,
    /// And beside each as well, what samplers learn.
    pub states: Vec<Log<Learned<usize>>>,
    pub txns: Vec<Transaction>,
    producers: BTreeMap<String, Producer>,
    /// Committed, by partition of the input.
    pub offsets: Vec<Option<(i64, Metadata)>>,
    pub group: Group,
    pub judge: Judge,
}

/// A record of the input.
pub struct Input {
    pub time: i64,
    pub payload: Vec<u8>,
}

pub struct Transaction {
    /// Some when it is decided: true to commit.
    pub end: Option<bool>,
    /// Where its markers are still to be written.
    places: BTreeSet<Place>,
    offsets: Vec<(usize, i64, Metadata)>,
    /// Input offsets that an upstream producer wrote, decisions, spans and dead letters: judged as soon as it is decided.
    pub decisions: Vec<(usize, usize)>,
    pub kept: Vec<u64>,
    pub dead: Vec<Letter>,
    /// Whose it is; None of an upstream producer.
    owner: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Input(usize),
    Decisions(usize),
    States(usize),
    Output,
    Offsets,
}

#[derive(Default)]
struct Producer {
    epoch: u32,
    open: Option<Txn>,
    /// The last epoch that was fenced for a transaction that took too long.
    timed_out: Option<u32>,
}

/// Why a request of a producer fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else has its name.
    Fenced,
    /// The group's generation is another one, or it is no member.
    Generation,
    /// What was before is not finished: again.
    Busy,
}

#[derive(Default)]
pub struct Group {
    pub generation: u32,
    pub members: BTreeMap<u32, Member>,
    joined: u32,
    target: BTreeMap<u32, BTreeSet<usize>>,
}

#[derive(Default)]
pub struct Member {
    pub owned: BTreeSet<usize>,
    /// The generation it knows.
    pub told: u32,
}

// === impl Broker ===

impl Broker {
    pub fn new(partitions: usize, judge: Judge) -> Self {
        Self {
            input: (0..partitions).map(|_| Log::default()).collect(),
            decisions: (0..partitions).map(|_| Log::default()).collect(),
            states: (0..partitions).map(|_| Log::default()).collect(),
            txns: Vec::new(),
            producers: BTreeMap::new(),
            offsets: vec![None; partitions],
            group: Group::default(),
            judge,
        }
    }

    /// `init_transactions`: ends what the name has open, and fences whoever has it.
    pub fn init(&mut self, name: &str) -> Result<u32, Refusal> {
        let producer = self.producers.entry(name.to_owned()).or_default();
        producer.epoch += 1;
        if let Some(open) = producer.open {
            let epoch = producer.epoch;
            if self.txns[open].end.is_none() {
                self.end(name, epoch, false)?;
            }
            return Err(Refusal::Busy);
        }
        Ok(producer.epoch)
    }

    fn open(&mut self, name: &str, epoch: u32) -> Result<Txn, Refusal> {
        let producer = self.producers.entry(name.to_owned()).or_default();
        if producer.epoch != epoch {
            return Err(Refusal::Fenced);
        }
        if let Some(open) = producer.open {
            return if self.txns[open].end.is_some() { Err(Refusal::Busy) } else { Ok(open) };
        }
        let txn = self.txns.len();
        producer.open = Some(txn);
        self.txns.push(Transaction::of(Some(name.to_owned())));
        Ok(txn)
    }

    pub fn decide(&mut self, name: &str, epoch: u32, partition: usize, value: Vec<u8>) -> Result<usize, Refusal> {
        let txn = self.open(name, epoch)?;
        let offset = self.decisions[partition].append(Some(txn), value);
        self.txns[txn].places.insert(Place::Decisions(partition));
        self.txns[txn].decisions.push((partition, offset));
        Ok(offset)
    }

    pub fn learn(&mut self, name: &str, epoch: u32, learned: Learned<usize>) -> Result<(), Refusal> {
        let (txn, partition) = (self.open(name, epoch)?, learned.partition);
        self.states[partition].append(Some(txn), learned);
        self.txns[txn].places.insert(Place::States(partition));
        Ok(())
    }

    pub fn keep(&mut self, name: &str, epoch: u32, spans: &[u64]) -> Result<(), Refusal> {
        let txn = self.open(name, epoch)?;
        self.txns[txn].places.insert(Place::Output);
        self.txns[txn].kept.extend(spans);
        Ok(())
    }

    pub fn bury(&mut self, name: &str, epoch: u32, letter: Letter) -> Result<(), Refusal> {
        let txn = self.open(name, epoch)?;
        self.txns[txn].places.insert(Place::Output);
        self.txns[txn].dead.push(letter);
        Ok(())
    }

    /// `send_offsets_to_transaction`, as a member of a generation.
    pub fn send_offsets(
        &mut self,
        name: &str,
        epoch: u32,
        membership: (u32, u32),
        offsets: Vec<(usize, i64, Metadata)>,
    ) -> Result<(), Refusal> {
        let txn = self.open(name, epoch)?;
        if !self.group.is_current(membership) {
            return Err(Refusal::Generation);
        }
        self.txns[txn].places.insert(Place::Offsets);
        self.txns[txn].offsets = offsets;
        Ok(())
    }

    /// Decides the open transaction of a name. From then on nothing changes that; its markers are written later.
    pub fn end(&mut self, name: &str, epoch: u32, commit: bool) -> Result<(), Refusal> {
        let txn = self.open(name, epoch)?;
        self.decide_txn(txn, commit);
        Ok(())
    }

    /// A commit of a consumer, outside of transactions.
    pub fn commit(&mut self, membership: (u32, u32), offsets: Vec<(usize, i64, Metadata)>) -> Result<(), Refusal> {
        if !self.group.is_current(membership) {
            return Err(Refusal::Generation);
        }
        offsets.into_iter().for_each(|of| self.moved(of));
        Ok(())
    }

    fn moved(&mut self, (partition, offset, metadata): (usize, i64, Metadata)) {
        let before = self.offsets[partition].replace((offset, metadata));
        if before != Some((offset, metadata)) {
            self.judge.moved(partition, before, (offset, metadata));
        }
    }

    /// Whether nothing of a name is open any more.
    pub fn is_done(&self, name: &str) -> bool {
        self.producers.get(name).is_none_or(|producer| producer.open.is_none())
    }

    /// Transactions of producers that are not heard of are aborted, their names fenced.
    pub fn time_out(&mut self, txn: Txn) {
        if let Some(name) = self.txns[txn].owner.clone()
            && self.txns[txn].end.is_none()
        {
            let producer = self.producers.entry(name).or_default();
            producer.timed_out = Some(producer.epoch);
            producer.epoch += 1;
            self.decide_txn(txn, false);
        }
    }

    /// Whether a transaction of a producer took too long, whoever has its name by now.
    pub fn has_timed_out(&self, name: &str, epoch: u32) -> bool {
        self.producers.get(name).is_some_and(|producer| producer.timed_out == Some(epoch))
    }

    /// Transactions of ours that are not decided.
    pub fn undecided(&self) -> Vec<Txn> {
        let open = self.txns.iter().enumerate().filter(|(_, txn)| txn.owner.is_some() && txn.end.is_none());
        open.map(|(at, _)| at).collect()
    }

    fn decide_txn(&mut self, txn: Txn, commit: bool) {
        self.txns[txn].end = Some(commit);
        if commit {
            let Self { txns, decisions, judge, .. } = self;
            let values = txns[txn].decisions.iter().map(|&(partition, offset)| {
                let (_, value) = decisions[partition].get(offset).expect("a record");
                value.as_slice()
            });
            judge.committed(values, &txns[txn].kept, &txns[txn].dead);
        }
        self.finish(txn);
    }

    /// Begins an upstream transaction.
    pub fn begin_upstream(&mut self) -> Txn {
        self.txns.push(Transaction::of(None));
        self.txns.len() - 1
    }

    pub fn produce(&mut self, txn: Option<Txn>, partition: usize, input: Input) -> usize {
        if let Some(txn) = txn {
            self.txns[txn].places.insert(Place::Input(partition));
        }
        self.input[partition].append(txn, input)
    }

    pub fn end_upstream(&mut self, txn: Txn) {
        self.decide_txn(txn, true);
    }

    /// Markers that are to be written, in any order.
    pub fn markers(&self) -> Vec<(Txn, Place)> {
        let decided = self.txns.iter().enumerate().filter(|(_, txn)| txn.end.is_some());
        decided.flat_map(|(at, txn)| txn.places.iter().map(move |&place| (at, place))).collect()
    }

    pub fn mark(&mut self, txn: Txn, place: Place) {
        let commit = self.txns[txn].end.expect("decided");
        self.txns[txn].places.remove(&place);
        match place {
            Place::Input(partition) => self.input[partition].mark(txn, commit),
            Place::Decisions(partition) => self.decisions[partition].mark(txn, commit),
            Place::States(partition) => self.states[partition].mark(txn, commit),
            Place::Output => {}
            Place::Offsets => {
                let offsets = std::mem::take(&mut self.txns[txn].offsets);
                offsets.into_iter().filter(|_| commit).for_each(|of| self.moved(of));
            }
        }
        self.finish(txn);
    }

    fn finish(&mut self, txn: Txn) {
        if self.txns[txn].places.is_empty()
            && let Some(name) = &self.txns[txn].owner
        {
            self.producers.get_mut(name).expect("it began one").open = None;
        }
    }

    /// Whether offsets of a partition are about to change: who asks for stable ones waits.
    pub fn is_unstable(&self, partition: usize) -> bool {
        let pending = |txn: &Transaction| txn.places.contains(&Place::Offsets);
        self.txns.iter().any(|txn| pending(txn) && txn.offsets.iter().any(|(of, ..)| *of == partition))
    }
}

// === impl Transaction ===

impl Transaction {
    fn of(owner: Option<String>) -> Self {
        Self {
            end: None,
            places: BTreeSet::new(),
            offsets: Vec::new(),
            decisions: Vec::new(),
            kept: Vec::new(),
            dead: Vec::new(),
            owner,
        }
    }
}

// === impl Group ===

impl Group {
    pub fn join(&mut self, partitions: usize) -> u32 {
        self.joined += 1;
        self.members.insert(self.joined, Member::default());
        self.rebalance(partitions);
        self.joined
    }

    /// Whether it is a member, of this generation.
    pub fn is_current(&self, (member, generation): (u32, u32)) -> bool {
        self.members.contains_key(&member) && generation == self.generation
    }

    pub fn expel(&mut self, member: u32, partitions: usize) {
        if self.members.remove(&member).is_some() {
            self.rebalance(partitions);
        }
    }

    /// Cooperative and sticky: who has no more than a fair share keeps it.
    pub fn rebalance(&mut self, partitions: usize) {
        self.generation += 1;
        self.target.clear();
        let Some(most) = partitions.checked_next_multiple_of(self.members.len()).map(|all| all / self.members.len())
        else {
            return;
        };
        let mut left: BTreeSet<usize> = (0..partitions).collect();
        for (id, member) in &self.members {
            let keeps: BTreeSet<usize> = member.owned.iter().copied().take(most).collect();
            left.retain(|partition| !keeps.contains(partition));
            self.target.insert(*id, keeps);
        }
        for partition in left {
            let least = self.target.values_mut().min_by_key(|of| of.len()).expect("there are members");
            least.insert(partition);
        }
    }

    /// What a member is to have, and what of that nobody has.
    pub fn target(&self, member: u32) -> (&BTreeSet<usize>, BTreeSet<usize>) {
        let target = &self.target[&member];
        let taken = |partition: &usize| self.members.values().any(|member| member.owned.contains(partition));
        (target, target.iter().copied().filter(|partition| !taken(partition)).collect())
    }
}
