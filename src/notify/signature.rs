//! Signing: HMAC-SHA256 over the time of sending and the body, so that a receiver can tell that a notice is ours, unchanged
//! and fresh. A secret goes in and never comes out: not by Debug, not in an error.

use std::fmt::Write as _;

use ring::hmac;

/// The header that carries it: `t=<seconds since the epoch>,v1=<hex>`, a `v1` for every secret.
pub const HEADER: &str = "bailiwick-signature";

/// The shortest secret, in bytes.
pub const SHORTEST: usize = 16;

/// The secrets of a sink: usually one; two while it is being changed.
#[derive(Clone)]
pub struct Secrets(Vec<hmac::Key>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// The secrets in a text, one a line.
    ///
    /// # Errors
    /// There is none, or one is too short; in words, without the secret.
    pub fn read(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() {
            return Err("is empty: write a secret, e.g. what `openssl rand -hex 32` prints".to_owned());
        }
        if lines.iter().any(|line| line.len() < SHORTEST) {
            return Err(format!(
                "holds a secret shorter than {SHORTEST} characters, which could be guessed: write a longer one, e.g. what \
                 `openssl rand -hex 32` prints"
            ));
        }
        let key = |line: &&str| hmac::Key::new(hmac::HMAC_SHA256, line.as_bytes());
        Ok(Self(lines.iter().map(key).collect()))
    }

    /// The value of the header for a body sent at `seconds` since the epoch.
    pub fn sign(&self, seconds: u64, body: &[u8]) -> String {
        let mut value = format!("t={seconds}");
        for key in &self.0 {
            let mut context = hmac::Context::with_key(key);
            context.update(seconds.to_string().as_bytes());
            context.update(b".");
            context.update(body);
            value.push_str(",v1=");
            for byte in context.sign().as_ref() {
                // A String takes whatever is written.
                let _ = write!(value, "{byte:02x}");
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_signature() {
        let secrets = Secrets::read("correct-horse-battery\n").expect("long enough");
        // As Python's hmac.new(b"correct-horse-battery", b"1700000000." + b'{"a":1}', "sha256").hexdigest() has it.
        assert_eq!(
            secrets.sign(1_700_000_000, br#"{"a":1}"#),
            "t=1700000000,v1=f6a0700e04bb6b78b44aa6d2fca45282525e9cd248c9db2bf19dae98b5e69abe"
        );
    }

    #[test]
    fn while_a_secret_is_changed_both_sign() {
        let both = Secrets::read("the-old-secret-000\nthe-new-secret-111\n").expect("long enough");
        let new = Secrets::read("the-new-secret-111").expect("long enough");
        let signed = both.sign(7, b"x");
        assert_eq!(signed.matches(",v1=").count(), 2);
        assert!(signed.ends_with(new.sign(7, b"x").trim_start_matches("t=7")));
    }

    #[test]
    fn no_secret_and_a_short_one_are_refused_and_never_shown() {
        assert!(Secrets::read(" \n").is_err());
        let error = Secrets::read("hunter2").expect_err("too short");
        assert!(!error.contains("hunter2"));
        let debug = format!("{:?}", Secrets::read("correct-horse-battery"));
        assert!(!debug.contains("horse"), "{debug}");
    }
}
