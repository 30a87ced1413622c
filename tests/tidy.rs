//! The house as law: floors, headers, lengths and words, read from the sources. What this test refuses has a reason in
//! ARCHITECTURE.md; a limit is lowered, never raised.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines of a file, tests apart.
const MAX_FILE_LINES: usize = 500;
/// Lines of a function, signature and closing brace included.
const MAX_FN_LINES: usize = 70;

/// A floor: the folders it is made of, the rooms of this crate it may name, and what its lines may never hold.
struct Floor {
    rooms: &'static [&'static str],
    may_use: &'static [&'static str],
    never: &'static [(&'static str, &'static str)],
}

const NO_WIRE: (&str, &str) = ("tonic", "the wire stays on floor 3");
const NO_PROST: (&str, &str) = ("prost", "the wire stays on floor 3");
const NO_CLOCK: (&str, &str) = ("SystemTime", "time comes in as an argument");
const NO_INSTANT: (&str, &str) = ("Instant", "time comes in as an argument");

const FLOORS: &[Floor] = &[
    Floor {
        rooms: &["types", "engine"],
        may_use: &["types", "engine"],
        never: &[
            NO_WIRE,
            NO_PROST,
            NO_CLOCK,
            NO_INSTANT,
            ("tokio", "the engine is pure: no async"),
            ("async fn", "the engine is pure: no async"),
            ("rand::", "randomness comes in as an argument"),
            ("std::fs", "the engine is pure: no I/O"),
            ("std::io", "the engine is pure: no I/O"),
            ("std::net", "the engine is pure: no I/O"),
            ("std::env", "the engine is pure: no I/O"),
            ("std::thread", "the engine is pure: no threads"),
            ("HashMap", "iteration order must not depend on a seed: use BTreeMap"),
            ("HashSet", "iteration order must not depend on a seed: use BTreeSet"),
        ],
    },
    Floor {
        rooms: &["store"],
        may_use: &["types", "store"],
        never: &[NO_WIRE, NO_PROST, NO_CLOCK, NO_INSTANT],
    },
    Floor {
        rooms: &["runtime"],
        may_use: &["types", "engine", "store", "runtime"],
        never: &[NO_WIRE, NO_PROST, ("rusqlite", "no SQLite type outside its file")],
    },
    Floor {
        rooms: &["service"],
        may_use: &["types", "engine", "runtime", "service", "pb"],
        never: &[("rusqlite", "no SQLite type outside its file")],
    },
];

/// Words that stand in no source: each is work that was not done, or a place that is not everybody's.
const NEVER_ANYWHERE: &[&str] =
    &["todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME", "#[ignore", "/root/", "/home/"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The room of a file under `src`: its first folder or its own name.
fn room(path: &Path) -> String {
    let first = path.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
    first.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// The part of a source before its own tests.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]").map_or(text, |at| &text[..at])
}

/// What is wrong with one source; `path` is relative to `src`.
fn faults(path: &Path, text: &str) -> Vec<String> {
    let code = without_tests(text);
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push("has no header that says what the room is and what must never happen in it".to_owned());
    }
    let lines = code.lines().count();
    if lines > MAX_FILE_LINES {
        found.push(format!("has {lines} lines: {MAX_FILE_LINES} are the most; split it by concern"));
    }
    found.extend(long_functions(code));
    for word in NEVER_ANYWHERE {
        if text.contains(word) {
            found.push(format!("holds {word:?}"));
        }
    }
    if let Some(floor) = FLOORS.iter().find(|floor| floor.rooms.contains(&room(path).as_str())) {
        found.extend(floor_faults(floor, code));
    }
    found
}

fn floor_faults(floor: &Floor, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (word, reason) in floor.never {
            if line.contains(word) {
                found.push(format!("line {number} holds {word:?}: {reason}"));
            }
        }
        for used in rooms_named(line) {
            if !floor.may_use.contains(&used.as_str()) {
                found.push(format!("line {number} uses crate::{used}: that room is on a higher floor"));
            }
        }
    }
    found
}

/// The rooms of this crate that a line names: `crate::room`, one or many in braces.
fn rooms_named(line: &str) -> Vec<String> {
    let mut named = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !name.is_empty() {
            named.push(name);
        }
    }
    named
}

/// Functions over the limit. rustfmt puts a function's closing brace at the indentation of its first line.
fn long_functions(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines: Vec<_> = code.lines().collect();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let is_fn = ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "]
            .iter()
            .any(|head| trimmed.starts_with(head))
            || (trimmed.starts_with("pub(") && trimmed.contains(" fn "));
        if !is_fn || trimmed.ends_with(';') {
            continue;
        }
        let indent = line.len() - trimmed.len();
        let close = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[start..].iter().position(|l| *l == close).map(|n| n + 1) else { continue };
        if length > MAX_FN_LINES {
            found.push(format!(
                "line {}: a function of {length} lines: {MAX_FN_LINES} are the most",
                start + 1
            ));
        }
    }
    found
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 20, "the sources are where this test looks for them");
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source is readable");
        let path = file.strip_prefix(&root).expect("it is below src");
        found.extend(faults(path, &text).into_iter().map(|fault| format!("src/{}: {fault}", path.display())));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn rooms_are_not_folders_with_mod_rs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let stray: Vec<_> = sources(&root).into_iter().filter(|p| p.ends_with("mod.rs")).collect();
    assert!(stray.is_empty(), "foo.rs beside foo/, no mod.rs: {stray:?}");
}

/// A planted fault must be found in these words.
fn check(path: &str, text: &str, says: &str) {
    let found = faults(Path::new(path), text);
    assert!(found.iter().any(|fault| fault.contains(says)), "{says}: {found:?}");
}

#[test]
fn the_law_finds_what_it_forbids() {
    check("engine/x.rs", "//! x\nuse tokio::sync::mpsc;\n", "no async");
    check("engine/x.rs", "//! x\nlet t = std::time::SystemTime::now();\n", "time comes in");
    check("engine/x.rs", "//! x\nuse crate::store::Store;\n", "higher floor");
    check("types/x.rs", "use serde::Serialize;\n", "no header");
    check("store/x.rs", "//! x\nuse tonic::Status;\n", "floor 3");
    check("runtime/x.rs", "//! x\nuse crate::service::server;\n", "higher floor");
    check("service/x.rs", "//! x\nuse crate::store::sqlite;\n", "higher floor");
    check("cli/x.rs", &format!("//! x\nfn long() {{\n{}}}\n", "    work();\n".repeat(70)), "72 lines");
    check("cli/x.rs", &format!("//! x\n{}", "// line\n".repeat(500)), "501 lines");
    assert!(faults(Path::new("engine/x.rs"), "//! x\nuse crate::types::ids;\n").is_empty());
}
