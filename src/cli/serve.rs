//! `bailiwick serve`: the flags are the rows of the settings' table, and help shows each with its default, its name in the
//! environment and in the file.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, FromArgMatches};

use super::{Exit, Failure, failure::Violation, run as link, terminal::Terminal};
use crate::config::{
    self, Loaded, Sources,
    table::{ROWS, Row},
};

/// What `serve` can be told.
#[derive(Args, Debug)]
#[command(
    after_help = "Settings: defaults < file < environment < flags. The file is TOML, its keys are the names in \
                        `file:` below each flag. Unknown keys and names are refused."
)]
pub struct ServeArgs {
    /// The file of settings. Default: ./bailiwick.toml, if it is there. [env: BAILIWICK_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the settings as they would be used, with where each comes from, as a file; then stop.
    #[arg(long)]
    pub show_settings: bool,
    /// The rest.
    #[command(flatten)]
    pub flags: SettingFlags,
}

/// The flags that were written, by key.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags(Vec<(&'static str, String)>);

/// Runs `serve`.
///
/// # Errors
/// When the settings contradict themselves or the server cannot start.
pub async fn run(args: ServeArgs, terminal: &Terminal) -> Result<Exit, Failure> {
    let ServeArgs { config, show_settings, flags: SettingFlags(flags) } = args;
    let environment = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.to_string_lossy().into_owned())))
        .collect();
    let sources = Sources { config, folder: PathBuf::from("."), environment, flags };
    let loaded = config::load(&sources).map_err(|error| {
        let say = |description| Violation { description, ..Violation::default() };
        let violations = error.0.into_iter().map(say).collect();
        Failure { violations, ..Failure::new(Exit::Usage, "the settings cannot be used") }
    })?;
    if show_settings {
        return terminal.lines(shown(&loaded)).map(|()| Exit::Ok);
    }
    link::serve(loaded.settings, terminal).await.map(|()| Exit::Ok)
}

/// A file that would give these settings, with where each comes from.
fn shown(loaded: &Loaded) -> Vec<String> {
    let mut lines = Vec::new();
    let mut table = "";
    for (row, origin) in ROWS.iter().zip(&loaded.origins) {
        let group = row.key.rsplit_once('.').map_or("", |(group, _)| group);
        if group != table {
            table = group;
            lines.push(format!("\n[{group}]"));
        }
        if row.show(&loaded.settings).is_empty() {
            lines.push(format!("# {} = {}", row.key, row.default_words()));
        } else {
            lines.push(format!("{:<44} # {origin}", row.file_line(&loaded.settings)));
        }
    }
    lines
}

impl SettingFlags {
    fn read(matches: &ArgMatches) -> Self {
        let written = |row: &&Row| matches.get_one::<String>(row.key).map(|text| (row.key, text.clone()));
        Self(ROWS.iter().filter_map(|row| written(&row)).collect())
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::read(matches))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::read(matches);
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        ROWS.iter().fold(command, |command, row| command.arg(flag(row)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn flag(row: &Row) -> Arg {
    let bounds = match row.bounds.words() {
        words if words.is_empty() => words,
        words => format!(" [bounds: {words}]"),
    };
    let help = format!(
        "{}\n[default: {}]{bounds} [env: {}] [file: {}]",
        row.help,
        row.default_words(),
        row.env(),
        row.key
    );
    let arg = Arg::new(row.key).long(row.flag()).value_name(row.placeholder()).help(help);
    if row.is_switch() { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
}
