//! How a trace went, from all its spans, in whatever order they come.

use crate::decode::Span;

#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Nanoseconds since the Unix epoch.
    start: u64,
    end: u64,
    /// Some span's status is an error.
    pub failed: bool,
    /// The first root by (start, id), which are here.
    root: Option<(u64, u64)>,
}

// === impl Course ===

impl Course {
    /// Whether the span is the root from now on.
    pub fn add(&mut self, span: &Span) -> bool {
        self.failed |= span.status == 2;
        if span.start > 0 {
            self.start = self.start.min(span.start);
            self.end = self.end.max(span.end);
        }
        let root = (span.start, span.span_id);
        let is_first = span.is_root() && self.root.is_none_or(|first| root < first);
        if is_first {
            self.root = Some(root);
        }
        is_first
    }

    pub fn has_root(&self) -> bool {
        self.root.is_some()
    }

    /// Nanoseconds from the first start to the last end.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

impl Default for Course {
    fn default() -> Self {
        Self { start: u64::MAX, end: 0, failed: false, root: None }
    }
}
