//! Where a sink is: a URL, checked once. What it shows of itself leaves out path and query: with many chat tools they are
//! the password.

use hyper::{Uri, http::uri::Scheme};

/// A place that notices can be sent to.
#[derive(Clone)]
pub struct Place {
    uri: Uri,
    /// Without brackets.
    host: String,
    port: u16,
    tls: bool,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Place {
    /// Reads a URL. Without TLS only this machine itself, unless `allow_http`.
    ///
    /// # Errors
    /// What is wrong and what to write.
    pub fn read(url: &str, allow_http: bool) -> Result<Self, String> {
        // The text is not repeated in the errors: it may hold a password.
        let uri: Uri = url
            .trim()
            .parse()
            .map_err(|_| "is not a URL: write one like https://pager.example.com/hooks".to_owned())?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err("does not begin with https:// or http://".to_owned()),
        };
        let Some(authority) = uri.authority() else {
            return Err("names no host: write one like https://pager.example.com/hooks".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err("holds a user name: leave it out; the signature says who sends".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host: write one like https://pager.example.com/hooks".to_owned());
        }
        let rest = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
        let port = match (rest, authority.port_u16()) {
            (_, Some(port)) if port > 0 => port,
            ("", _) if tls => 443,
            ("", _) => 80,
            _ => return Err("has a port that is none: write 1 to 65535".to_owned()),
        };
        if !tls && !allow_http && !is_this_machine(&host) {
            return Err(
                "has no TLS, so that everybody on the way can read the notices: write https://, or say \
                        allow_http = true"
                    .to_owned(),
            );
        }
        Ok(Self { uri, host, port, tls })
    }

    /// Scheme, host and port.
    pub fn shown(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is spoken to over TLS.
    pub const fn tls(&self) -> bool {
        self.tls
    }

    /// Host and port as the URL has them.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or(&self.host, |authority| authority.as_str())
    }

    /// Path and query. Never to be logged.
    pub fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

fn is_this_machine(host: &str) -> bool {
    let ip = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let read = |url: &str| Place::read(url, false).map(|p| (p.host.clone(), p.port, p.tls));
        assert_eq!(read("https://a.example/x?y=1"), Ok(("a.example".to_owned(), 443, true)));
        assert_eq!(read("https://a.example:8443"), Ok(("a.example".to_owned(), 8443, true)));
        assert_eq!(read("http://127.0.0.1:8080/x"), Ok(("127.0.0.1".to_owned(), 8080, false)));
        assert_eq!(read("http://localhost"), Ok(("localhost".to_owned(), 80, false)));
        assert_eq!(read("https://[::1]:9/"), Ok(("::1".to_owned(), 9, true)));
        for bad in [
            "",
            "a.example",
            "/x",
            "ftp://a.example",
            "https://",
            "https://u:p@a.example",
            "https://a:0/",
            "https://a:99999/",
            "http://a.example/",
            "https://a b/",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Place::read("http://a.example/", true).is_ok());
    }

    #[test]
    fn a_place_shows_no_path_for_that_may_be_a_password() {
        let place = Place::read("https://hooks.example/T000/SECRET?key=SECRET", false).expect("a URL");
        assert_eq!(format!("{place:?}"), "https://hooks.example");
        assert_eq!(place.path(), "/T000/SECRET?key=SECRET");
        let error = Place::read("http://hooks.example/SECRET", false).expect_err("no TLS");
        assert!(!error.contains("SECRET"));
    }
}
