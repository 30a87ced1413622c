//! How many files the server may have open. Every connection is one, and shells hand down a small limit that was made for
//! other programs; what may be had without asking anybody is taken.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as this process may, and says how many files that are; `None`: no limit.
pub(super) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Where it is refused the server runs with what it has.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_had_is_taken() {
        let most = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise(), most);
    }
}
