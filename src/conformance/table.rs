//! Several runs side by side: reports that `--json` wrote, as one table of cases by workers. Never runs anything.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// A report as it was written, as far as the table needs it.
#[derive(Deserialize)]
struct Written {
    cases: Vec<WrittenCase>,
}

#[derive(Deserialize)]
struct WrittenCase {
    name: String,
    passed: bool,
    saw: String,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// A report cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// A file is no report.
    #[error("{0} is no report that `conformance --json` wrote: {1}")]
    NoReport(PathBuf, serde_json::Error),
}

/// Reports side by side: a column for each, named after its file.
pub struct Table {
    /// A column's name and its report; none where the worker was not run.
    columns: Vec<(String, Option<Written>)>,
}

impl Table {
    /// Reads reports. An empty file stands for a worker that was not run: all its cases are skipped.
    ///
    /// # Errors
    /// When a file cannot be read or is no report.
    pub fn read(files: &[PathBuf]) -> Result<Self, TableError> {
        Ok(Self { columns: files.iter().map(|f| column(f)).collect::<Result<_, _>>()? })
    }

    /// Whether no case failed.
    pub fn passed(&self) -> bool {
        self.reports().all(|(_, report)| report.cases.iter().all(|c| c.passed))
    }

    /// The table, what failed with what was seen, and a line of sums.
    pub fn render(&self) -> String {
        let names = self.case_names();
        let first = names.iter().map(String::len).max().unwrap_or(0);
        let widths: Vec<usize> =
            self.columns.iter().map(|(name, _)| name.len().max("skipped".len())).collect();
        // Writing to a String cannot fail, here and below.
        let mut out = format!("{:first$}", "case");
        for ((name, _), width) in self.columns.iter().zip(&widths) {
            let _ = write!(out, "  {name:>width$}");
        }
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for name in &names {
            let _ = write!(out, "\n{name:first$}");
            for ((_, report), width) in self.columns.iter().zip(&widths) {
                let word = match report.as_ref().and_then(|r| r.cases.iter().find(|c| c.name == *name)) {
                    Some(case) if case.passed => {
                        passed += 1;
                        "pass"
                    }
                    Some(_) => {
                        failed += 1;
                        "FAIL"
                    }
                    None => {
                        skipped += 1;
                        "skipped"
                    }
                };
                let _ = write!(out, "  {word:>width$}");
            }
        }
        for (worker, report) in self.reports() {
            for case in report.cases.iter().filter(|c| !c.passed) {
                let _ = write!(out, "\nFAIL {worker} {}: {}", case.name, case.saw);
            }
        }
        let workers = self.reports().count();
        let _ = write!(
            out,
            "\nconformance: {passed} passed, {failed} failed, {skipped} skipped ({} cases, {workers} of {} workers run)",
            names.len(),
            self.columns.len()
        );
        out
    }

    fn reports(&self) -> impl Iterator<Item = (&str, &Written)> {
        self.columns.iter().filter_map(|(name, report)| Some((name.as_str(), report.as_ref()?)))
    }

    /// The cases of this suite, then those that only a report knows.
    fn case_names(&self) -> Vec<String> {
        let mut names: Vec<String> = super::list().iter().map(|c| c.name.to_owned()).collect();
        for case in self.reports().flat_map(|(_, r)| &r.cases) {
            if !names.contains(&case.name) {
                names.push(case.name.clone());
            }
        }
        names
    }
}

fn column(file: &Path) -> Result<(String, Option<Written>), TableError> {
    let text = fs::read_to_string(file).map_err(|e| TableError::Unreadable(file.to_owned(), e))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if text.trim().is_empty() {
        return Ok((name, None));
    }
    let report = serde_json::from_str(&text).map_err(|e| TableError::NoReport(file.to_owned(), e))?;
    Ok((name, Some(report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(passed: bool) -> Option<Written> {
        let case = WrittenCase { name: "register".into(), passed, saw: "what was seen".into() };
        Some(Written { cases: vec![case] })
    }

    #[test]
    fn a_worker_that_was_not_run_is_skipped_and_a_failure_says_what_was_seen() {
        let columns =
            vec![("good".into(), report(true)), ("bad".into(), report(false)), ("away".into(), None)];
        let table = Table { columns };
        let text = table.render();
        let row: Vec<_> =
            text.lines().find(|l| l.starts_with("register ")).unwrap_or("").split_whitespace().collect();
        assert_eq!(row, ["register", "pass", "FAIL", "skipped"]);
        assert!(text.contains("FAIL bad register: what was seen"), "{text}");
        assert!(text.contains("1 passed, 1 failed"), "{text}");
        assert!(!table.passed());
        assert!(Table { columns: vec![("good".into(), report(true))] }.passed());
    }

    #[test]
    fn what_is_no_report_is_refused() {
        assert!(matches!(Table::read(&["no-such-file.json".into()]), Err(TableError::Unreadable(..))));
        let this = PathBuf::from(file!());
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join(this);
        assert!(matches!(Table::read(&[here]), Err(TableError::NoReport(..))));
    }
}
