//! No policies: a file in which all is commented out, or which was never written.

use crate::{decide::List, diagnostic::Diagnostics, model::Threshold};

pub fn find(list: &List, found: &mut Diagnostics) {
    if list.policies.is_empty() && list.otherwise == Some(Threshold::NEVER) {
        found
            .warn_nowhere("there is no policy: every trace is dropped")
            .hint("write `policies:`, or `otherwise: keep`");
    }
}
