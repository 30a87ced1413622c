//! The file of webhooks: a TOML table a sink. Everything wrong with it is said at once, each fault with its sink and key.
//! Secrets never stand in it: it names the file or the environment variable that holds one.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;

use super::{kind::NoticeKind, place::Place, signature::Secrets};

/// The most sinks.
const MOST_SINKS: usize = 32;
/// The longest name of a sink, in bytes.
const MOST_NAME: usize = 40;
/// What a sink is told of where it does not say: what a person may have to act on.
const DEFAULT_EVENTS: [NoticeKind; 4] = [
    NoticeKind::EscalationAsked,
    NoticeKind::EscalationEnded,
    NoticeKind::GuardsTripped,
    NoticeKind::DeadLetter,
];

/// One sink.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Its name, under which its place in the log is kept.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// What signs.
    pub secrets: Secrets,
    /// What it is told of; in the order of [`NoticeKind::ALL`].
    pub kinds: Vec<NoticeKind>,
}

/// Everything that is wrong with the file of webhooks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhooks cannot be used: {}", .0.join("; "))]
pub struct InvalidWebhooks(pub Vec<String>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    url: String,
    secret_file: Option<std::path::PathBuf>,
    secret_env: Option<String>,
    events: Option<Vec<String>>,
    #[serde(default)]
    allow_http: bool,
}

/// The sinks in a file; `environment` looks a variable up.
///
/// # Errors
/// Every fault, at once, each with the file, the sink and the key.
pub fn read(file: &Path, environment: impl Fn(&str) -> Option<String>) -> Result<Vec<Sink>, InvalidWebhooks> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| InvalidWebhooks(vec![format!("{name} cannot be read: {error}")]))?;
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    let sinks = parse(&text, folder, environment);
    sinks.map_err(|faults| {
        InvalidWebhooks(faults.into_iter().map(|fault| format!("{name}: {fault}")).collect())
    })
}

fn parse(
    text: &str,
    folder: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Sink>, Vec<String>> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        vec![format!("line {line}: not TOML: {}", error.message())]
    })?;
    let mut faults = Vec::new();
    if table.len() > MOST_SINKS {
        faults.push(format!("has {} sinks: write at most {MOST_SINKS}", table.len()));
    }
    let mut sinks = Vec::new();
    for (name, value) in table {
        let mut fault = |key: &str, what: String| faults.push(format!("[{name}] {key}{what}"));
        if !is_name(&name) {
            let what = format!("the name must be 1 to {MOST_NAME} characters of a-z, 0-9 and -");
            fault("", what);
        }
        match value.try_into::<Row>() {
            Ok(row) => sinks.extend(sink(&name, row, folder, &environment, &mut fault)),
            Err(error) => {
                fault("", format!("{}: write url, secret_file or secret_env, and events", error.message()));
            }
        }
    }
    if faults.is_empty() { Ok(sinks) } else { Err(faults) }
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(fits)
}

fn sink(
    name: &str,
    row: Row,
    folder: &Path,
    environment: &impl Fn(&str) -> Option<String>,
    fault: &mut impl FnMut(&str, String),
) -> Option<Sink> {
    let Row { url, secret_file, secret_env, events, allow_http } = row;
    let place = Place::read(&url, allow_http).map_err(|what| fault("url ", what)).ok();
    let secrets = match (secret_file, secret_env) {
        (Some(file), None) => {
            let read = fs::read_to_string(folder.join(&file))
                .map_err(|error| format!("{} cannot be read: {error}", file.display()))
                .and_then(|text| Secrets::read(&text));
            read.map_err(|what| fault("secret_file ", what)).ok()
        }
        (None, Some(variable)) => {
            let read = environment(&variable)
                .ok_or_else(|| format!("{variable} is not set: export it before the server starts"))
                .and_then(|text| Secrets::read(&text).map_err(|what| format!("{variable} {what}")));
            read.map_err(|what| fault("secret_env ", what)).ok()
        }
        _ => {
            fault("", "needs a secret: write exactly one of secret_file and secret_env".to_owned());
            None
        }
    };
    let kinds = kinds(events, fault);
    Some(Sink { name: name.to_owned(), place: place?, secrets: secrets?, kinds: kinds? })
}

fn kinds(events: Option<Vec<String>>, fault: &mut impl FnMut(&str, String)) -> Option<Vec<NoticeKind>> {
    let Some(names) = events else { return Some(DEFAULT_EVENTS.to_vec()) };
    if names.is_empty() {
        fault("events ", "is empty: name at least one, or leave it out".to_owned());
        return None;
    }
    let mut found = BTreeSet::new();
    for name in &names {
        let Some(kind) = NoticeKind::find(name) else {
            let known: Vec<&str> = NoticeKind::ALL.iter().map(|kind| kind.name()).collect();
            fault("events ", format!("names {name:?}, which is none of {}", known.join(", ")));
            continue;
        };
        found.insert(kind);
    }
    Some(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Sink>, Vec<String>> {
        let environment = |name: &str| match name {
            "GOOD" => Some("0123456789abcdef0123".to_owned()),
            "SHORT" => Some("abc".to_owned()),
            _ => None,
        };
        parse(text, Path::new(""), environment)
    }

    #[test]
    fn a_sink_is_a_table() {
        let sinks = read_text(
            "[pager]\nurl = \"https://pager.example/x\"\nsecret_env = \"GOOD\"\n\
             [chat]\nurl = \"http://127.0.0.1:1/\"\nsecret_env = \"GOOD\"\nevents = [\"dead_letter\", \"escalation_asked\"]\n",
        )
        .expect("good sinks");
        assert_eq!(sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>(), ["chat", "pager"]);
        assert_eq!(sinks[0].kinds, [NoticeKind::EscalationAsked, NoticeKind::DeadLetter]);
        assert_eq!(sinks[1].kinds, DEFAULT_EVENTS);
    }

    #[test]
    fn every_fault_is_named_with_its_sink_and_key_and_no_secret() {
        let faults = read_text(
            "[a]\nurl = \"ftp://x\"\nsecret_env = \"SHORT\"\nevents = [\"burn\"]\n\
             [b]\nurl = \"https://x\"\n\
             [c]\nurl = \"https://x\"\nsecret_env = \"NONE\"\n\
             [d]\nurl = \"https://x\"\nsecret = \"0123456789abcdef0123\"\n\
             [e_f]\nurl = \"https://x\"\nsecret_env = \"GOOD\"\nevents = []\n",
        )
        .expect_err("all of it is wrong");
        let starts = [
            "[a] url does not begin with https://",
            "[a] secret_env SHORT holds a secret shorter than 16",
            "[a] events names \"burn\", which is none of escalation_asked,",
            "[b] needs a secret",
            "[c] secret_env NONE is not set",
            "[d] unknown field `secret`",
            "[e_f] the name must be",
            "[e_f] events is empty",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:#?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault:?} should start with {start:?}");
            assert!(!fault.contains("0123456789"), "{fault}");
        }
        assert_eq!(read_text("[a\n").expect_err("no TOML").len(), 1);
    }

    #[test]
    fn a_secret_file_stands_beside_the_file_of_webhooks() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("webhooks.toml");
        std::fs::write(folder.path().join("secret"), "0123456789abcdef0123\n").expect("written");
        std::fs::write(&file, "[a]\nurl = \"https://x\"\nsecret_file = \"secret\"\n").expect("written");
        assert_eq!(read(&file, |_| None).expect("good").len(), 1);
        std::fs::remove_file(folder.path().join("secret")).expect("removed");
        let error = read(&file, |_| None).expect_err("no secret").to_string();
        assert!(error.contains("webhooks.toml: [a] secret_file secret cannot be read"), "{error}");
    }
}
