//! W3C trace context and the little randomness a worker needs. Never a source of secrets.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// A number that differs between calls and between processes: the standard library seeds its hash maps so.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A traceparent for a span below `parent`: same trace and flags, a fresh span id. `None` when `parent` is not a valid
/// W3C traceparent.
pub fn child_traceparent(parent: &str) -> Option<String> {
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |s: &str, len: usize| {
        s.len() == len && s.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let zero = |s: &str| s.bytes().all(|b| b == b'0');
    let valid = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    if !valid || version == "ff" || zero(trace) || zero(span) {
        return None;
    }
    Some(format!("00-{trace}-{:016x}-{flags}", random().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_keeps_the_trace_and_gets_its_own_span() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let child = child_traceparent(parent).expect("the parent is valid");
        assert_eq!(child.len(), parent.len());
        assert_eq!(child[..36], parent[..36]);
        assert_ne!(child[36..52], parent[36..52]);
        assert!(child.ends_with("-01"));
    }

    #[test]
    fn what_is_no_traceparent_has_no_child() {
        for bad in [
            "",
            "x",
            "00-0-0-0",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(child_traceparent(bad), None, "{bad}");
        }
    }
}
