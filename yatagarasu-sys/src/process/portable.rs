//! Other systems have priorities for processes only.

use super::Usage;

pub(super) fn yield_to_other_threads() {}

pub(super) fn usage() -> Option<Usage> {
    None
}
