//! The part of .gitignore that matters for a list of material: patterns with *, ?, ** and a final /, anchored or not, and
//! their negation. Character classes are taken as ordinary characters.

/// Rules from the root downwards; the last that matches decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    /// The folder of the file it stands in; empty for the root.
    base: String,
    pattern: Vec<String>,
    keep: bool,
    only_folders: bool,
}

impl Rules {
    /// Adds the rules of a .gitignore in the folder `base`.
    pub(super) fn add(&mut self, base: &str, text: &str) {
        for line in text.lines() {
            let line = line.trim_end();
            let (keep, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let only_folders = line.ends_with('/');
            let body = line.trim_end_matches('/');
            let anchored = body.contains('/');
            let body = body.trim_start_matches('/');
            let mut pattern: Vec<String> = body.split('/').map(str::to_owned).collect();
            if !anchored {
                pattern.insert(0, "**".to_owned());
            }
            self.0.push(Rule { base: base.to_owned(), pattern, keep, only_folders });
        }
    }

    /// Whether the path, relative to the root, is left out.
    pub(super) fn ignore(&self, relative: &str, is_dir: bool) -> bool {
        let decides = self.0.iter().rev().find(|rule| rule.matches(relative, is_dir));
        decides.is_some_and(|rule| !rule.keep)
    }
}

impl Rule {
    fn matches(&self, relative: &str, is_dir: bool) -> bool {
        if self.only_folders && !is_dir {
            return false;
        }
        let below = if self.base.is_empty() {
            Some(relative)
        } else {
            relative.strip_prefix(self.base.as_str()).and_then(|rest| rest.strip_prefix('/'))
        };
        let pattern: Vec<&str> = self.pattern.iter().map(String::as_str).collect();
        below.is_some_and(|below| parts(&pattern, &below.split('/').collect::<Vec<_>>()))
    }
}

/// Whether the names of a path match the parts of a pattern; "**" stands for any number of names.
fn parts(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|skipped| parts(rest, &path[skipped..])),
        (Some((first, rest)), Some((name, deeper))) => {
            one(first.as_bytes(), name.as_bytes()) && parts(rest, deeper)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether a name matches a pattern of *, ? and characters, in time linear in both for one star at a time.
fn one(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, path: &str, is_dir: bool, ignored: bool) {
        let mut all = Rules::default();
        all.add("", rules);
        assert_eq!(all.ignore(path, is_dir), ignored, "{rules:?} and {path}");
    }

    #[test]
    fn patterns() {
        check("*.log", "deep/er/x.log", false, true);
        check("*.log", "x.logs", false, false);
        check("/out", "out", true, true);
        check("/out", "sub/out", true, false);
        check("out/", "sub/out", true, true);
        check("out/", "sub/out", false, false);
        check("doc/*.txt", "doc/a.txt", false, true);
        check("doc/*.txt", "doc/sub/a.txt", false, false);
        check("a/**/z", "a/b/c/z", false, true);
        check("*.rs\n!main.rs", "src/main.rs", false, false);
        check("# comment\n\nx?z", "xyz", false, true);
        check("a*b*c*d*e", "aaaaaaaaaaaaaaaaaaaaaaaa", false, false);
    }

    #[test]
    fn a_rule_holds_below_its_own_folder() {
        let mut all = Rules::default();
        all.add("sub", "/x\n");
        assert!(all.ignore("sub/x", false));
        assert!(!all.ignore("x", false));
        assert!(!all.ignore("subx/x", false));
    }
}
