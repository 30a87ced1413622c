//! The specialist `structure`: how large the material is, in which languages, and where it is longest. Exact, so its
//! confidence is 1.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use bailiwick_worker::{Answer, Context, HandlerError};
use serde_json::{Value, json};

use super::{Material, afford, chars_of};
use crate::demo::finding::{Finding, estimate};

/// Files named for their bytes, and for their lines.
const LARGEST: usize = 5;
/// Files between two reports.
const EVERY: usize = 25;

pub(super) async fn handle(context: Context) -> Result<Answer, HandlerError> {
    let input = context.input();
    let material = Material::of(&input)?;
    // A demo on a small folder would be over before anything could happen to it: a scene may ask for a slower pace.
    let pace = Duration::from_millis(input["pace_ms"].as_u64().unwrap_or(0));
    let every = if pace.is_zero() { EVERY } else { 1 };
    let mut tally = Tally::default();
    let mut unreported = 0;
    let mut short = None;
    for (number, file) in material.files.iter().enumerate() {
        let Some(text) = material.read(file) else {
            tally.skipped += 1;
            continue;
        };
        let tokens = estimate(text.chars().count());
        if !afford(&context, unreported + tokens).await {
            short = Some(format!("the allowance ended after {number} of {} files", material.files.len()));
            break;
        }
        tally.add(file, &text);
        unreported += tokens;
        if number % every == every - 1 {
            context.usage(unreported, 0).await;
            unreported = 0;
            context.progress(format!("{} of {} files measured", number + 1, material.files.len())).await;
        }
        tokio::time::sleep(pace).await;
    }
    let result = tally.result();
    context.usage(unreported, estimate(chars_of(&result))).await;
    Ok(match short {
        Some(reason) => Answer::partial(result, reason),
        None => Answer::success(result),
    }
    .confidence(1.0))
}

#[derive(Default)]
struct Tally {
    files: Vec<(String, u64, u64)>,
    languages: BTreeMap<&'static str, u64>,
    skipped: usize,
}

impl Tally {
    fn add(&mut self, file: &str, text: &str) {
        let lines = text.lines().count() as u64;
        self.files.push((file.to_owned(), text.len() as u64, lines));
        *self.languages.entry(language(file)).or_default() += lines;
    }

    fn result(mut self) -> Value {
        let bytes: u64 = self.files.iter().map(|file| file.1).sum();
        let lines: u64 = self.files.iter().map(|file| file.2).sum();
        let most = self.languages.iter().max_by_key(|(name, lines)| (**lines, Reverse(**name)));
        let mainly = most.map(|(name, lines)| format!(", most of them {name} ({lines})")).unwrap_or_default();
        let summary = format!("{} files hold {bytes} bytes in {lines} lines{mainly}", self.files.len());
        let mut facts =
            json!({"files": self.files.len(), "bytes": bytes, "lines": lines, "skipped": self.skipped});
        for (name, lines) in &self.languages {
            facts[format!("lines of {name}")] = (*lines).into();
        }
        let mut findings = Vec::new();
        self.files.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        for (path, bytes, _) in self.files.iter().take(LARGEST) {
            findings.push(figure("size", path, *bytes, "one of the largest files"));
        }
        self.files.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        for (path, _, lines) in self.files.iter().take(LARGEST) {
            findings.push(figure("length", path, *lines, "one of the longest files"));
        }
        json!({"summary": summary, "facts": facts, "findings": findings})
    }
}

fn figure(kind: &str, path: &str, value: u64, note: &str) -> Finding {
    Finding {
        kind: kind.into(),
        path: path.into(),
        note: note.into(),
        value: Some(value),
        ..Finding::default()
    }
}

/// The language of a file, by the end of its name.
fn language(file: &str) -> &'static str {
    let name = file.rsplit('/').next().unwrap_or(file);
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    match end.to_ascii_lowercase().as_str() {
        "rs" => "Rust",
        "py" => "Python",
        "ts" | "tsx" | "mts" => "TypeScript",
        "js" | "jsx" | "mjs" | "cjs" => "JavaScript",
        "go" => "Go",
        "java" => "Java",
        "kt" | "kts" => "Kotlin",
        "c" | "h" => "C",
        "cc" | "cpp" | "cxx" | "hpp" | "hh" => "C++",
        "cs" => "C#",
        "rb" => "Ruby",
        "php" => "PHP",
        "swift" => "Swift",
        "sh" | "bash" | "zsh" => "shell",
        "sql" => "SQL",
        "proto" => "Protobuf",
        "html" | "htm" => "HTML",
        "css" | "scss" => "CSS",
        "md" | "markdown" | "rst" | "adoc" => "markup",
        "txt" => "plain text",
        "json" | "jsonl" => "JSON",
        "yaml" | "yml" => "YAML",
        "toml" | "ini" | "cfg" | "conf" => "settings",
        "xml" | "svg" => "XML",
        _ => "others",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_lines_and_languages_are_exact() {
        let mut tally = Tally::default();
        tally.add("a.rs", "one\ntwo\n");
        tally.add("sub/b.rs", "é");
        tally.add("README.md", "x\ny\nz");
        let result = tally.result();
        assert_eq!(result["summary"], "3 files hold 15 bytes in 6 lines, most of them Rust (3)");
        assert_eq!(result["facts"]["lines of markup"], 3);
        let of = |kind: &str| -> Vec<(String, u64)> {
            let all = result["findings"].as_array().cloned().unwrap_or_default();
            let some = all.iter().filter(|finding| finding["kind"] == kind);
            some.map(|f| (f["path"].to_string(), f["value"].as_u64().unwrap_or(0))).collect()
        };
        assert_eq!(of("size")[0], ("\"a.rs\"".to_owned(), 8));
        assert_eq!(of("length")[0], ("\"README.md\"".to_owned(), 3));
        assert_eq!(of("size").len(), 3);
    }

    #[test]
    fn of_many_files_only_the_largest_are_named() {
        let mut tally = Tally::default();
        for number in 0..20 {
            tally.add(&format!("{number}.txt"), &"x\n".repeat(number));
        }
        let result = tally.result();
        assert_eq!(result["findings"].as_array().map(Vec::len), Some(2 * LARGEST));
        assert_eq!(result["findings"][0]["path"], "19.txt");
    }
}
