//! The example agent `unfinished`: finds work that a source tree leaves undone. Tokens are an estimate: characters / 4.

use std::{fs, path::Path};

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker};
use serde_json::{Value, json};

const MARKS: [&str; 6] = ["TODO", "FIXME", "XXX", "HACK", "unimplemented!", "NotImplementedError"];
const SUMMARY_TOKENS: i64 = 60;

#[tokio::main]
async fn main() -> Result<(), bailiwick_worker::RunError> {
    let spec = AgentSpec { name: "unfinished".into(), version: "1".into(), ..Default::default() };
    Worker::from_env().agent(spec, unfinished).run().await
}

async fn unfinished(ctx: Context) -> Result<Answer, HandlerError> {
    let input = ctx.input();
    let root = Path::new(input["root"].as_str().unwrap_or(".")).canonicalize()?;
    let files = input["files"].as_array().map_or(&[][..], Vec::as_slice);
    let (mut read, mut marks, mut findings, mut short) = (0, 0, Vec::new(), false);
    for (n, file) in files.iter().filter_map(Value::as_str).enumerate() {
        if n % 20 == 0 {
            ctx.progress(format!("{n} of {} files, {marks} marks", files.len())).await;
        }
        let Some(text) = text_of(&root, file) else { continue };
        let mut found: Vec<_> = text.lines().enumerate().filter_map(|(n, l)| finding(file, n, l)).collect();
        let in_this_file = found.len();
        found.truncate(200 - findings.len());
        let input = text.chars().count() as i64 / 4;
        let output = json!(found).to_string().chars().count() as i64 / 4;
        let need = input + output + SUMMARY_TOKENS;
        if ctx.allowance_left() < need && ctx.request_budget(need, "more files to read").await < need {
            short = true;
            break;
        }
        ctx.usage(input, output).await;
        (read, marks) = (read + 1, marks + in_this_file);
        findings.append(&mut found);
    }
    ctx.usage(0, SUMMARY_TOKENS).await;
    let summary = format!("{marks} marks of unfinished work in {read} of {} files", files.len());
    let result = json!({"summary": summary, "facts": {"files": read, "marks": marks}, "findings": findings});
    let cut = "the allowance is used up";
    Ok(if short { Answer::partial(result, cut) } else { Answer::success(result) }.confidence(0.9))
}

fn finding(path: &str, n: usize, line: &str) -> Option<Value> {
    let mark = MARKS.iter().find(|m| line.contains(*m))?;
    let text: String = line.trim().chars().take(200).collect();
    Some(json!({"kind": "unfinished", "path": path, "line": n + 1, "text": text, "note": mark}))
}

/// The file, unless it is larger than 1 MiB, no text, or outside the root.
fn text_of(root: &Path, file: &str) -> Option<String> {
    let path = root.join(file).canonicalize().ok().filter(|p| p.starts_with(root))?;
    (fs::metadata(&path).ok()?.len() <= 1 << 20).then(|| fs::read_to_string(path).ok())?
}
