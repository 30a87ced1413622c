//! The example agent `unfinished`: finds work that a source tree leaves undone.

use std::{fs, path::Path};

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker};
use serde_json::json;

const MARKS: [&str; 6] = ["TODO", "FIXME", "XXX", "HACK", "unimplemented!", "NotImplementedError"];
const MAX_BYTES: u64 = 1024 * 1024;

#[tokio::main]
async fn main() -> Result<(), bailiwick_worker::RunError> {
    let description = "Finds unfinished work: markers with path, line and text".into();
    let spec =
        AgentSpec { name: "unfinished".into(), version: "1".into(), description, ..Default::default() };
    Worker::from_env().agent(spec, unfinished).run().await
}

async fn unfinished(ctx: Context) -> Result<Answer, HandlerError> {
    let input = ctx.input();
    let root = Path::new(input["root"].as_str().unwrap_or(".")).canonicalize()?;
    let files: Vec<&str> =
        input["files"].as_array().into_iter().flatten().filter_map(|f| f.as_str()).collect();
    let (mut read, mut marks, mut findings, mut short) = (0, 0, Vec::new(), false);
    for (n, file) in files.iter().enumerate() {
        if n % 50 == 0 {
            ctx.progress(format!("{n} of {} files, {marks} marks", files.len())).await;
        }
        let Some(text) = text_of(&root, file) else { continue };
        let tokens = text.chars().count() as i64 / 4;
        if ctx.allowance_left() < tokens && ctx.request_budget(tokens, "more files to read").await < tokens {
            short = true;
            break;
        }
        read += 1;
        ctx.usage(tokens, 0).await;
        for (line, text) in text.lines().enumerate() {
            let Some(mark) = MARKS.iter().find(|m| text.contains(*m)) else { continue };
            marks += 1;
            if findings.len() < 200 {
                let text: String = text.trim().chars().take(200).collect();
                findings.push(
                    json!({"kind": "unfinished", "path": file, "line": line + 1, "text": text, "note": mark}),
                );
            }
        }
    }
    let summary = format!("{marks} marks of unfinished work in {read} of {} files", files.len());
    let result = json!({"summary": summary, "facts": {"files": read, "marks": marks}, "findings": findings});
    ctx.usage(0, result.to_string().chars().count() as i64 / 4).await;
    Ok(if short { Answer::partial(result, "the allowance is used up") } else { Answer::success(result) }
        .confidence(0.9))
}

/// The file, unless it is too large, no text, or outside the root.
fn text_of(root: &Path, file: &str) -> Option<String> {
    let path = root.join(file).canonicalize().ok().filter(|p| p.starts_with(root))?;
    fs::metadata(&path).ok().filter(|m| m.len() <= MAX_BYTES)?;
    fs::read_to_string(path).ok()
}
