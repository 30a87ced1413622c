//! Lays the sources of settings over one another: defaults < file < environment < flags. Every fault is said with its
//! source, and all of them at once. Never reads the process: environment and flags are handed in.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    Settings,
    table::{self, ROWS, Row},
};

/// Names below `BAILIWICK_` that belong to clients, workers, tests and the secrets of webhooks, not to the server.
const FOREIGN: &[&str] = &[
    "BAILIWICK_ADDR",
    "BAILIWICK_CONCURRENCY",
    "BAILIWICK_CONFIG",
    "BAILIWICK_TIMEOUT",
    "BAILIWICK_WORKER_ID",
];
const FOREIGN_PREFIXES: &[&str] = &["BAILIWICK_DEMO_", "BAILIWICK_TEST_", "BAILIWICK_WEBHOOK_"];

/// The file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "bailiwick.toml";

/// What the process was given.
#[derive(Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// The folder in which [`DEFAULT_FILE`] is looked for.
    pub folder: PathBuf,
    /// The environment; names without the prefix are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags by key, as written.
    pub flags: Vec<(&'static str, String)>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing said anything else.
    Default,
    /// The file, with the line.
    File(PathBuf, usize),
    /// The environment, by its name.
    Environment(String),
    /// The flag, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "{name}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// Settings, and where each came from, in the order of the table.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, validated.
    pub settings: Settings,
    /// One an entry of `ROWS`.
    pub origins: Vec<Origin>,
}

/// Everything that is wrong with the settings; a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Lays the sources over one another.
///
/// # Errors
/// Every fault of every source, at once.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let Sources { config, folder, environment, flags } = sources;
    let mut layers = Layers {
        settings: Settings::default(),
        origins: vec![Origin::Default; ROWS.len()],
        faults: Vec::new(),
    };
    let named = config.clone().or_else(|| {
        environment
            .iter()
            .find(|(name, text)| name == "BAILIWICK_CONFIG" && !text.is_empty())
            .map(|(_, p)| p.into())
    });
    layers.file(named.as_deref(), folder);
    layers.environment(environment);
    for (key, text) in flags {
        if let Some(row) = table::find(key) {
            layers.set(row, text, Origin::Flag(format!("--{}", row.flag())));
        }
    }
    if layers.faults.is_empty()
        && let Err(faults) = layers.settings.validate()
    {
        layers.faults = faults;
    }
    if layers.faults.is_empty() {
        Ok(Loaded { settings: layers.settings, origins: layers.origins })
    } else {
        Err(ConfigError(layers.faults))
    }
}

struct Layers {
    settings: Settings,
    origins: Vec<Origin>,
    faults: Vec<String>,
}

impl Layers {
    fn set(&mut self, row: &Row, text: &str, origin: Origin) {
        match (row.slot)(&mut self.settings).set(text, row.bounds) {
            Err(fault) => self.faults.push(format!("{origin}: {}: {fault}", row.key)),
            Ok(()) => {
                if let Some(index) = ROWS.iter().position(|other| other.key == row.key) {
                    self.origins[index] = origin;
                }
            }
        }
    }

    fn environment(&mut self, environment: &[(String, String)]) {
        for (name, text) in environment {
            let foreign = FOREIGN.contains(&name.as_str())
                || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if !name.starts_with("BAILIWICK_") || foreign || text.is_empty() {
                continue;
            }
            if let Some(row) = ROWS.iter().find(|row| row.env() == *name) {
                self.set(row, text, Origin::Environment(name.clone()));
            } else {
                let names: Vec<String> = ROWS.iter().map(Row::env).collect();
                let near = table::nearest(name, names.iter().map(String::as_str));
                self.faults.push(unknown(name, "environment variable", near));
            }
        }
    }

    fn file(&mut self, named: Option<&Path>, folder: &Path) {
        let path = named.map_or_else(|| folder.join(DEFAULT_FILE), Path::to_path_buf);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.faults.push(format!("{}: cannot be read: {error}", path.display())),
        };
        match DeTable::parse(&text) {
            Ok(table) => self.file_table(&path, &text, "", table.get_ref()),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                self.faults.push(format!("{}:{line}: not TOML: {}", path.display(), error.message()));
            }
        }
    }

    fn file_table(&mut self, path: &Path, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let line = line_of(text, name.span().start);
            let place = format!("{}:{line}", path.display());
            let group = format!("{key}.");
            if let Some(row) = table::find(&key) {
                match scalar(value.get_ref()) {
                    Some(written) => self.set(row, &written, Origin::File(path.to_path_buf(), line)),
                    None => {
                        self.faults.push(format!("{place}: {key}: write one value, not a list or a table"))
                    }
                }
            } else if let (DeValue::Table(inner), true) =
                (value.get_ref(), ROWS.iter().any(|row| row.key.starts_with(&group)))
            {
                self.file_table(path, text, &group, inner);
            } else {
                let near = table::nearest(&key, ROWS.iter().map(|row| row.key));
                self.faults.push(format!("{place}: {}", unknown(&key, "setting", near)));
            }
        }
    }
}

fn unknown(name: &str, what: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("{name}: there is no such {what}; the nearest is {near}"),
        None => format!("{name}: there is no such {what}; `bailiwick serve --help` lists them all"),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case<'a> {
        file: Option<&'a str>,
        environment: &'a [(&'a str, &'a str)],
        flags: &'a [(&'static str, &'a str)],
    }

    fn run(case: &Case<'_>) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = case.file {
            std::fs::write(folder.path().join(DEFAULT_FILE), text).unwrap();
        }
        let loaded = load(&Sources {
            config: None,
            folder: folder.path().to_path_buf(),
            environment: case.environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            flags: case.flags.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
        });
        loaded.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn flags_beat_environment_beats_file_beats_defaults() {
        let loaded = run(&Case {
            file: Some("shards = 3\nmax_queue = 3\nlog = \"debug\"\n[ceilings]\nmax_hops = 3\n"),
            environment: &[
                ("BAILIWICK_SHARDS", "4"),
                ("BAILIWICK_MAX_QUEUE", "4"),
                ("BAILIWICK_LOG_FORMAT", ""),
            ],
            flags: &[("shards", "5")],
        })
        .unwrap();
        let settings = &loaded.settings;
        assert_eq!((settings.shards, settings.max_queue, settings.ceilings.max_hops), (5, 4, 3));
        assert_eq!((settings.log.as_str(), settings.max_sessions), ("debug", 16_384));
        let origin = |key| &loaded.origins[ROWS.iter().position(|row| row.key == key).unwrap()];
        assert_eq!(*origin("shards"), Origin::Flag("--shards".into()));
        assert_eq!(*origin("max_queue"), Origin::Environment("BAILIWICK_MAX_QUEUE".into()));
        assert!(matches!(origin("ceilings.max_hops"), Origin::File(_, 5)));
        assert_eq!(*origin("max_sessions"), Origin::Default);
    }

    fn refused(file: &str, environment: &[(&str, &str)], expected: &[&str]) {
        let error = run(&Case { file: Some(file), environment, flags: &[] }).unwrap_err();
        assert_eq!(error.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn faults_name_their_source_and_what_to_write() {
        refused(
            "lease_tme = \"15s\"",
            &[],
            &["bailiwick.toml:1: lease_tme: there is no such setting; the nearest is lease_time"],
        );
        refused(
            "[ceilings]\nmax_hop = 1\n[colours]\n",
            &[],
            &[
                "bailiwick.toml:2: ceilings.max_hop: there is no such setting; the nearest is ceilings.max_hops",
                "bailiwick.toml:3: colours: there is no such setting; `bailiwick serve --help` lists them all",
            ],
        );
        refused(
            "shards = 0\ndata = [1]",
            &[("BAILIWICK_SHARD", "1"), ("BAILIWICK_LEASE_TIME", "15")],
            &[
                "bailiwick.toml:2: data: write one value, not a list or a table",
                "bailiwick.toml:1: shards: 0 is out of bounds. Write 1 to 64",
                "BAILIWICK_SHARD: there is no such environment variable; the nearest is BAILIWICK_SHARDS",
                "BAILIWICK_LEASE_TIME: lease_time: \"15\" is not a duration. Write a number and a unit, like 15s, 500ms or \
             7days",
            ],
        );
        refused(
            "shards = \n",
            &[],
            &["bailiwick.toml:1: not TOML: string values must be quoted, expected literal string"],
        );
    }

    #[test]
    fn a_named_file_must_be_there() {
        let sources = Sources { config: Some("/nowhere/b.toml".into()), ..Sources::default() };
        assert!(load(&sources).unwrap_err().to_string().starts_with("/nowhere/b.toml: cannot be read"));
    }
}
