//! Lists the text files of a folder: what git would not ignore, no binaries, nothing large, nothing outside. Follows no
//! symbolic link and never writes.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use super::ignored::Rules;

/// Larger files are left out, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Files at most.
const MAX_FILES: usize = 4_000;
/// Bytes of all files at most.
const MAX_BYTES: u64 = 16 << 20;
/// Characters of all paths at most, so that a plan that carries the list several times stays a message of 4 MiB.
const MAX_PATHS: usize = 300_000;
/// Folders that hold what was made, fetched or recorded by a tool.
const NEVER: [&str; 8] =
    [".git", ".hg", ".svn", "target", "node_modules", ".venv", "__pycache__", ".pytest_cache"];
/// How much of a file is looked at to tell text from the rest.
const SNIFF: u64 = 8_192;
/// Folders below folders, at most.
const MAX_DEPTH: usize = 64;

/// The material of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Paths relative to the root, with "/", sorted.
    pub(crate) files: Vec<String>,
    /// Bytes of all of them.
    pub(crate) bytes: u64,
    /// Characters of all paths.
    pub(crate) path_chars: usize,
    /// Files left out because they are no text, too large or unreadable.
    pub(crate) left_out: usize,
    /// Whether a cap ended the list.
    pub(crate) cut: bool,
}

/// Lists the text files below `root`.
pub(crate) fn list(root: &Path) -> Listing {
    let mut listing = Listing::default();
    walk(root, "", &Rules::default(), 0, &mut listing);
    listing
}

fn walk(folder: &Path, prefix: &str, above: &Rules, depth: usize, listing: &mut Listing) {
    let mut rules = above.clone();
    if let Ok(text) = fs::read_to_string(folder.join(".gitignore")) {
        rules.add(prefix, &text);
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<(String, PathBuf, bool)> = entries
        .flatten()
        .filter_map(|entry| {
            let kind = entry.file_type().ok().filter(|kind| kind.is_dir() || kind.is_file())?;
            Some((entry.file_name().into_string().ok()?, entry.path(), kind.is_dir()))
        })
        .collect();
    entries.sort();
    for (name, path, is_dir) in entries {
        let relative = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if listing.cut || (is_dir && NEVER.contains(&name.as_str())) || rules.ignore(&relative, is_dir) {
            continue;
        }
        if is_dir {
            if depth < MAX_DEPTH {
                walk(&path, &relative, &rules, depth + 1, listing);
            }
        } else {
            listing.take(relative, &path);
        }
    }
}

impl Listing {
    fn take(&mut self, relative: String, path: &Path) {
        let Some(bytes) = text_size(path) else {
            self.left_out += 1;
            return;
        };
        let chars = relative.chars().count();
        if self.files.len() >= MAX_FILES
            || self.bytes + bytes > MAX_BYTES
            || self.path_chars + chars > MAX_PATHS
        {
            self.cut = true;
            return;
        }
        self.bytes += bytes;
        self.path_chars += chars;
        self.files.push(relative);
    }
}

/// The size of a file that looks like text.
fn text_size(path: &Path) -> Option<u64> {
    let bytes = fs::metadata(path).ok()?.len();
    if bytes > MAX_FILE {
        return None;
    }
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(SNIFF).read_to_end(&mut head).ok()?;
    (!head.contains(&0)).then_some(bytes)
}

/// The text of a listed file: None where it is outside of the root, too large, gone, or no UTF-8. `root` is canonical.
pub(crate) fn read(root: &Path, relative: &str) -> Option<String> {
    let path = inside(root, relative)?;
    fs::metadata(&path).ok().filter(|meta| meta.is_file() && meta.len() <= MAX_FILE)?;
    fs::read_to_string(path).ok()
}

/// The true path of a file below the root. `root` is canonical.
pub(crate) fn inside(root: &Path, relative: &str) -> Option<PathBuf> {
    root.join(relative).canonicalize().ok().filter(|path| path.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_holds_text_that_git_would_keep_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let root = folder.path();
        for (path, text) in [
            (".gitignore", "*.log\n/out/\n"),
            ("a.rs", "fn main() {}\n"),
            ("b.log", "ignored"),
            ("out/c.rs", "ignored"),
            ("sub/out/d.md", "kept: the rule is anchored"),
            ("target/e.rs", "never"),
            (".git/config", "never"),
            ("f.bin", "a\0b"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("folders");
            fs::write(path, text).expect("files");
        }
        fs::write(root.join("large.txt"), vec![b'x'; (1 << 20) + 1]).expect("files");
        let listing = list(root);
        assert_eq!(listing.files, [".gitignore", "a.rs", "sub/out/d.md"]);
        assert_eq!((listing.left_out, listing.cut), (2, false));
        let root = root.canonicalize().expect("it exists");
        assert_eq!(read(&root, "a.rs").as_deref(), Some("fn main() {}\n"));
        assert_eq!(read(&root, "../../etc/hosts"), None);
        assert_eq!(read(&root, "f.gone"), None);
    }
}
