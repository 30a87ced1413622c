//! The figures on recorded runs of real systems. The recordings are not part of this repository: without them, this test says
//! so and asserts nothing.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The folder with the recordings, where there is one.
fn folder() -> Option<PathBuf> {
    let named = env::var_os("BAILIWICK_TRACES").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    Some(named.unwrap_or_else(beside)).filter(|folder| folder.join("ag2_mathchat.jsonl.gz").is_file())
}

/// The sets in it, as arguments.
fn files(folder: &Path) -> Vec<String> {
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.path().to_str().map(str::to_owned))
        .filter(|path| path.ends_with(".jsonl") || path.ends_with(".jsonl.gz"))
        .collect();
    files.sort();
    files
}

fn set<'a>(sets: &'a Value, name: &str) -> &'a Value {
    let sets = sets.as_array().unwrap();
    sets.iter().find(|set| set["set"] == name).unwrap_or_else(|| panic!("{name} is not among the sets"))
}

#[test]
fn on_recorded_runs_the_defaults_do_little_harm_and_what_is_fitted_saves_much() {
    let Some(folder) = folder() else {
        println!("SKIPPED: no recorded runs. Set BAILIWICK_TRACES to the folder that holds them.");
        return;
    };
    let files = files(&folder);
    let mut args = vec!["--json", "--calibrate", "--max-harm", "1%"];
    args.extend(files.iter().map(String::as_str));
    let found = super::backtest(&args).exits(0).json();

    let figure = |of: &Value, name: &str| of[name].as_f64().unwrap_or_else(|| panic!("{name} in {of}"));
    for name in ["ag2_mathchat", "chatdev_humaneval"] {
        let all = &set(&found["sets"], name)["all"];
        assert!(figure(all, "harm_rate") <= 0.01, "{name}, defaults: {all}");
    }
    for name in ["tau_airline", "tau_retail"] {
        let all = &set(&found["sets"], name)["all"];
        assert_eq!(
            (figure(all, "runs") > 0.0, figure(all, "harmful")),
            (true, 0.0),
            "{name}, defaults: {all}"
        );
    }
    for (name, least) in [("ag2_mathchat", 0.25), ("chatdev_humaneval", 0.60)] {
        let held_out = &set(&found["calibration"]["sets"], name)["held_out"];
        assert!(figure(held_out, "saved_of_savable") >= least, "{name}, fitted: {held_out}");
        assert!(figure(held_out, "harm_rate") <= 0.01, "{name}, fitted: {held_out}");
    }
}
