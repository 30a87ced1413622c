//! The reviewer: checks every finding of the lineage against the files. Trusts nobody: a finding holds only where the file,
//! the line and the figure say so. Its confidence is the share of findings that hold.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bailiwick_worker::{Answer, Context, HandlerError, pb, to_json};
use serde_json::{Value, json};

use super::chars_of;
use crate::demo::{
    files,
    finding::{Finding, Findings, estimate},
};

/// Failed findings that are listed; all are counted.
const LISTED: usize = 100;

pub(super) async fn handle(context: Context) -> Result<Answer, HandlerError> {
    let input = context.input();
    let root = input["root"].as_str().ok_or_else(|| HandlerError::failed("the input names no root"))?;
    let mut review = Review::new(PathBuf::from(root).canonicalize()?);
    let mut used = Vec::new();
    let mut given = 0;
    for entry in context.lineage().await? {
        let Some(findings) = findings_of(&entry) else { continue };
        given += findings.findings.iter().map(chars_of).sum::<usize>();
        review.check_all(&entry.agent, &findings);
        used.push(entry.id);
        let words = format!("{}: {} of {} findings hold", entry.agent, review.verified, review.total);
        context.progress(words).await;
        context.usage(estimate(std::mem::take(&mut review.read) + std::mem::take(&mut given)), 0).await;
    }
    let (confidence, result) = (review.share(), review.result());
    context.usage(0, estimate(chars_of(&result))).await;
    Ok(Answer::success(result).confidence(confidence).inputs_used(used))
}

/// What a specialist's envelope holds, if it is one.
fn findings_of(entry: &pb::LineageEntry) -> Option<Findings> {
    if entry.step_id.is_empty() {
        return None;
    }
    Findings::of(&to_json(entry.envelope.as_ref()?.result.as_ref()?))
}

struct Review {
    root: PathBuf,
    total: usize,
    verified: usize,
    by_agent: BTreeMap<String, (usize, usize)>,
    failed: Vec<Value>,
    /// Characters read since it was last asked.
    read: usize,
    /// The file read last: findings come file by file.
    last: Option<(String, Option<String>)>,
}

impl Review {
    const fn new(root: PathBuf) -> Self {
        Self {
            root,
            total: 0,
            verified: 0,
            by_agent: BTreeMap::new(),
            failed: Vec::new(),
            read: 0,
            last: None,
        }
    }

    fn check_all(&mut self, agent: &str, findings: &Findings) {
        let (good, malformed) = findings.list();
        let mut verified = 0;
        for finding in &good {
            match self.fault(finding) {
                None => verified += 1,
                Some(why) => self.fail(agent, &finding.place(), &why),
            }
        }
        for _ in 0..malformed {
            self.fail(agent, "", "is no finding: kind and path are missing");
        }
        let total = good.len() + malformed;
        self.total += total;
        self.verified += verified;
        let sum = self.by_agent.entry(agent.to_owned()).or_default();
        *sum = (sum.0 + verified, sum.1 + total);
    }

    fn fail(&mut self, agent: &str, place: &str, why: &str) {
        if self.failed.len() < LISTED {
            self.failed.push(json!({"agent": agent, "place": place, "why": why}));
        }
    }

    /// Why a finding does not hold; None where it does.
    fn fault(&mut self, finding: &Finding) -> Option<String> {
        if finding.path.is_empty() || Path::new(&finding.path).is_absolute() {
            return Some("the path is not relative to the root".to_owned());
        }
        let Some(path) = files::inside(&self.root, &finding.path).filter(|path| path.is_file()) else {
            return Some("there is no such file below the root".to_owned());
        };
        match finding.kind.as_str() {
            "size" => return figure(finding.value, fs::metadata(path).ok().map(|meta| meta.len()), "bytes"),
            "length" => {
                let lines = self.text(&finding.path).map(|text| text.lines().count() as u64);
                return figure(finding.value, lines, "lines");
            }
            "twin" => return self.twin(finding, &path),
            _ => {}
        }
        let Some(text) = self.text(&finding.path) else { return Some("the file cannot be read".to_owned()) };
        let held = match finding.line {
            0 => text.contains(&finding.text),
            line => text.lines().nth(line - 1).is_some_and(|line| line.contains(&finding.text)),
        };
        (!held).then(|| "the text does not stand there".to_owned())
    }

    /// A twin's note ends with the path of the file it is identical to.
    fn twin(&self, finding: &Finding, path: &Path) -> Option<String> {
        let other = finding.note.strip_prefix("identical to ").unwrap_or_default();
        let Some(other) = files::inside(&self.root, other).filter(|other| other.is_file()) else {
            return Some("the other file is not named".to_owned());
        };
        let same = match (fs::read(path), fs::read(other)) {
            (Ok(one), Ok(two)) => one == two,
            _ => false,
        };
        (!same).then(|| "the files are not identical".to_owned())
    }

    fn text(&mut self, file: &str) -> Option<&str> {
        if self.last.as_ref().is_none_or(|(name, _)| name != file) {
            let text = files::read(&self.root, file);
            self.read += text.as_ref().map_or(0, |text| text.chars().count());
            self.last = Some((file.to_owned(), text));
        }
        self.last.as_ref().and_then(|(_, text)| text.as_deref())
    }

    /// The share of findings that hold; 1 where there is none to doubt.
    fn share(&self) -> f64 {
        if self.total == 0 { 1.0 } else { self.verified as f64 / self.total as f64 }
    }

    fn result(self) -> Value {
        let summary = format!("{} of {} findings hold against the files", self.verified, self.total);
        let by_agent: BTreeMap<&String, Value> = self
            .by_agent
            .iter()
            .map(|(agent, (verified, total))| (agent, json!({"verified": verified, "total": total})))
            .collect();
        json!({
            "summary": summary, "verified": self.verified, "total": self.total,
            "by_agent": by_agent, "failed": self.failed,
        })
    }
}

fn figure(said: Option<u64>, found: Option<u64>, unit: &str) -> Option<String> {
    match (said, found) {
        (Some(said), Some(found)) if said == found => None,
        (Some(said), Some(found)) => Some(format!("the file has {found} {unit}, not {said}")),
        (None, _) => Some(format!("the finding names no {unit}")),
        (_, None) => Some("the file cannot be read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(finding: Finding, expected: Option<&str>) {
        let folder = tempfile::tempdir().expect("a folder for the test");
        fs::write(folder.path().join("a.txt"), "one\ntwo words\n").expect("files");
        fs::write(folder.path().join("b.txt"), "one\ntwo words\n").expect("files");
        fs::write(folder.path().join("c.txt"), "three").expect("files");
        let mut review = Review::new(folder.path().canonicalize().expect("it exists"));
        let found = review.fault(&finding);
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) if found.contains(expected) => {}
            _ => panic!("{finding:?}: {found:?}"),
        }
    }

    fn of(kind: &str, path: &str, line: usize, text: &str) -> Finding {
        Finding { kind: kind.into(), path: path.into(), line, text: text.into(), ..Finding::default() }
    }

    #[test]
    fn text_must_stand_in_its_line() {
        check(of("unfinished", "a.txt", 2, "two"), None);
        check(of("unfinished", "a.txt", 1, "two"), Some("does not stand there"));
        check(of("unfinished", "a.txt", 9, ""), Some("does not stand there"));
        check(of("key_sentence", "a.txt", 0, "two words"), None);
        check(of("key_sentence", "a.txt", 0, "three"), Some("does not stand there"));
    }

    #[test]
    fn the_file_must_be_below_the_root() {
        check(of("x", "gone.txt", 1, ""), Some("no such file"));
        check(of("x", "../../../../etc/hosts", 0, ""), Some("no such file"));
        check(of("x", "/etc/hosts", 0, ""), Some("not relative"));
        check(of("x", "", 0, ""), Some("not relative"));
    }

    #[test]
    fn figures_must_match() {
        let with = |kind: &str, value| Finding { value, ..of(kind, "a.txt", 0, "") };
        check(with("size", Some(14)), None);
        check(with("size", Some(15)), Some("has 14 bytes, not 15"));
        check(with("size", None), Some("names no bytes"));
        check(with("length", Some(2)), None);
        check(with("length", Some(3)), Some("has 2 lines, not 3"));
    }

    #[test]
    fn twins_are_compared() {
        let twin = |note: &str| Finding { note: note.into(), ..of("twin", "a.txt", 0, "") };
        check(twin("identical to b.txt"), None);
        check(twin("identical to c.txt"), Some("not identical"));
        check(twin("much like another"), Some("not named"));
    }

    #[test]
    fn the_share_counts_what_is_malformed_as_failed() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        fs::write(folder.path().join("a.txt"), "one\n").expect("files");
        let mut review = Review::new(folder.path().canonicalize().expect("it exists"));
        assert!((review.share() - 1.0).abs() < f64::EPSILON);
        let findings = Findings {
            findings: vec![json!({"kind": "x", "path": "a.txt", "line": 1, "text": "one"}), json!(7)],
            ..Findings::default()
        };
        review.check_all("someone", &findings);
        assert!((review.share() - 0.5).abs() < f64::EPSILON);
        let result = review.result();
        assert_eq!(result["by_agent"]["someone"], json!({"verified": 1, "total": 2}));
        assert_eq!(result["failed"].as_array().map(Vec::len), Some(1));
    }
}
