//! One workflow through the shop: which spans there are and when, before any is written down.

use fastrand::Rng;

use super::shop::{Call, ENTRIES, HEALTH_ROUTE, Operation, Protocol, Query, SERVICES, To};

/// A workflow's spans, parents before children, the root first.
pub struct Workflow {
    pub spans: Vec<Draft>,
}

/// A span in the making. Times are µs after the workflow's start.
pub struct Draft {
    pub parent: Option<usize>,
    pub what: What,
    /// An index into the shop's services, and which of its pods.
    pub service: usize,
    pub pod: usize,
    pub start: u64,
    pub end: u64,
    /// It hangs below a message that nobody waits for.
    pub detached: bool,
    /// Status ERROR.
    pub failed: bool,
    pub http_status: Option<u16>,
}

#[derive(Clone, Copy)]
pub enum What {
    Serve(&'static Operation),
    Ask(&'static Operation),
    Query(&'static Query),
    Step(&'static str),
    Publish(&'static Operation),
    Consume(&'static Operation),
    HealthCheck,
}

/// Pods of each service.
pub const PODS: usize = 3;

// === impl Workflow ===

impl Workflow {
    /// What a user sets off.
    pub fn of_a_user(rng: &mut Rng) -> Self {
        let total: u32 = ENTRIES.iter().map(|(weight, _)| weight).sum();
        let mut ticket = rng.u32(..total);
        let (_, entry) = ENTRIES
            .iter()
            .find(|(weight, _)| {
                let hit = ticket < *weight;
                ticket = ticket.saturating_sub(*weight);
                hit
            })
            .unwrap_or(&ENTRIES[0]);
        let mut workflow = Self { spans: Vec::with_capacity(48) };
        workflow.serve(rng, entry, None, 0, false);
        workflow
    }

    pub fn health_check(rng: &mut Rng) -> Self {
        let service = rng.usize(..SERVICES.len());
        let draft = Draft {
            parent: None,
            what: What::HealthCheck,
            service,
            pod: rng.usize(..PODS),
            start: 0,
            end: log_normal(rng, 500.0, 0.6),
            detached: false,
            failed: false,
            http_status: Some(200),
        };
        Self { spans: vec![draft] }
    }

    /// Last end − first start, µs; the first start is the root's, at 0.
    pub fn duration(&self) -> u64 {
        self.spans.iter().map(|span| span.end).max().unwrap_or(0)
    }

    /// Shrinks the timeline to `most` µs where it is longer.
    pub fn calm(&mut self, most: u64) {
        let duration = self.duration();
        if duration > most {
            for span in &mut self.spans {
                span.start = span.start * most / duration;
                span.end = (span.end * most / duration).max(span.start + 1);
            }
        }
    }

    /// Stands still for `pause` µs in the middle of a span that the root waits for, as a lock or a collection does.
    pub fn stall(&mut self, rng: &mut Rng, pause: u64) {
        let waited_for: Vec<usize> = (0..self.spans.len()).filter(|at| !self.spans[*at].detached).collect();
        let span = &self.spans[rng.choice(waited_for).unwrap_or(0)];
        let moment = span.start.midpoint(span.end);
        for span in &mut self.spans {
            if span.start > moment {
                span.start += pause;
            }
            if span.end > moment {
                span.end += pause;
            }
        }
    }

    /// Fails one span that the root waits for, and its callers as far as the error gets.
    pub fn fail(&mut self, rng: &mut Rng, reaches_the_root: bool) {
        let candidates: Vec<usize> = (0..self.spans.len())
            .filter(|at| !self.spans[*at].detached && (*at > 0 || self.spans.len() == 1 || reaches_the_root))
            .collect();
        let mut at = rng.choice(candidates).unwrap_or(0);
        loop {
            let span = &mut self.spans[at];
            span.failed = true;
            if span.http_status.is_some() {
                span.http_status = Some(500);
            }
            // Deep: whoever asked sees the failure, and copes.
            let stops = !reaches_the_root && !matches!(span.what, What::Serve(_));
            match span.parent {
                Some(parent) if !stops && (reaches_the_root || parent > 0) => at = parent,
                _ => break,
            }
        }
    }

    /// A leaf that decides nothing: neither a failure, nor at an end of the workflow, nor waited for by nobody.
    pub fn spare_leaf(&self, rng: &mut Rng) -> Option<usize> {
        let duration = self.duration();
        let mut leaf: Vec<bool> = self
            .spans
            .iter()
            .map(|span| {
                !span.detached
                    && !span.failed
                    && span.http_status.unwrap_or(0) < 500
                    && span.start > 0
                    && span.end < duration
            })
            .collect();
        for parent in self.spans.iter().filter_map(|span| span.parent) {
            leaf[parent] = false;
        }
        rng.choice((0..leaf.len()).filter(|at| leaf[*at]).collect::<Vec<_>>())
    }

    /// Returns when it ends.
    fn serve(
        &mut self,
        rng: &mut Rng,
        what: &'static Operation,
        parent: Option<usize>,
        at: u64,
        detached: bool,
    ) -> u64 {
        let work = log_normal(rng, what.work_us, 0.7);
        let role = if matches!(what.protocol, Protocol::Topic(_)) { What::Consume(what) } else { What::Serve(what) };
        let me = self.push(role, parent, what.service, rng.usize(..PODS), at, detached);
        let mut now = at + work / 3;
        for call in what.calls {
            if rng.f64() < call.chance {
                now = self.call(rng, call, me, now, detached);
            }
        }
        self.spans[me].end = now + work - work / 3;
        self.spans[me].end
    }

    fn call(&mut self, rng: &mut Rng, call: &'static Call, caller: usize, at: u64, detached: bool) -> u64 {
        let (service, pod) = (self.spans[caller].service, self.spans[caller].pod);
        let mut now = at;
        let mut last = at;
        for _ in 0..rng.u32(call.times.0..=call.times.1) {
            let end = match call.to {
                To::Operation(operation) => {
                    let ask = self.push(What::Ask(operation), Some(caller), service, pod, now, detached);
                    let way = log_normal(rng, 250.0, 0.5);
                    let end = self.serve(rng, operation, Some(ask), now + way, detached) + way;
                    self.end(ask, end)
                }
                To::Query(query) => {
                    let asked = self.push(What::Query(query), Some(caller), service, pod, now, detached);
                    let end = now + log_normal(rng, query.work_us, 0.8);
                    self.end(asked, end)
                }
                To::Step(name) => {
                    let step = self.push(What::Step(name), Some(caller), service, pod, now, detached);
                    let end = now + log_normal(rng, 1_500.0, 0.8);
                    self.end(step, end)
                }
                To::Publish(consumer) => {
                    let sent = self.push(What::Publish(consumer), Some(caller), service, pod, now, detached);
                    let end = now + log_normal(rng, 1_500.0, 0.5);
                    let arrival = end + log_normal(rng, 25_000.0, 0.6);
                    self.serve(rng, consumer, Some(sent), arrival, true);
                    self.end(sent, end)
                }
            };
            last = last.max(end);
            if !call.at_once {
                now = last;
            }
        }
        last
    }

    fn end(&mut self, span: usize, end: u64) -> u64 {
        self.spans[span].end = end;
        end
    }

    fn push(
        &mut self,
        what: What,
        parent: Option<usize>,
        service: usize,
        pod: usize,
        start: u64,
        detached: bool,
    ) -> usize {
        let http_status = match what {
            What::Serve(operation) | What::Ask(operation) if matches!(operation.protocol, Protocol::Http { .. }) => {
                Some(200)
            }
            _ => None,
        };
        self.spans.push(Draft { parent, what, service, pod, start, end: start, detached, failed: false, http_status });
        self.spans.len() - 1
    }
}

// === impl What ===

impl What {
    pub fn route(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::HealthCheck => Some(("GET", HEALTH_ROUTE)),
            Self::Serve(Operation { protocol: Protocol::Http { method, route }, .. })
            | Self::Ask(Operation { protocol: Protocol::Http { method, route }, .. }) => Some((method, route)),
            _ => None,
        }
    }
}

/// At least 1; `sigma` is that of the logarithm.
fn log_normal(rng: &mut Rng, median: f64, sigma: f64) -> u64 {
    // Box and Muller's transform; 1 − f64() is never 0.
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
    (median * (sigma * normal).exp()).max(1.0) as u64
}
