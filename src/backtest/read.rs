//! Files of traces as documents: one a line, or one over many lines. Plain or gzip is told by the content, never by the name.
//! Memory is bounded by the longest document allowed. Never here: what a document means.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use super::fault::{Fault, Place, Wrong};

/// The longest line, and the longest document, in bytes.
pub const LONGEST: usize = 64 << 20;

/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// How some editors begin a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One JSON text and where it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its first line.
    pub place: Place,
    /// The text.
    pub bytes: Vec<u8>,
}

/// A file of documents.
pub struct Source {
    name: Arc<str>,
    reader: Box<dyn BufRead + Send>,
    longest: usize,
    line: u64,
    held: Option<Document>,
    layout: Layout,
    ended: bool,
}

/// How documents are laid out over lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Not known before the first two lines.
    Unknown,
    /// One a line.
    Lines,
    /// Each over many lines, until its brackets close.
    Spread,
}

impl Source {
    /// Opens a file; `-` is standard input. Bytes read from the disk are added to `progress`.
    ///
    /// # Errors
    /// When it cannot be opened, or its beginning cannot be read.
    pub fn open(path: &str, progress: &Arc<AtomicU64>) -> io::Result<Self> {
        if path == "-" {
            return Self::new("<stdin>", io::stdin(), progress);
        }
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::Error::other("it is a folder. Name the files in it"));
        }
        Self::new(path, file, progress)
    }

    /// Documents from any reader, under this name.
    ///
    /// # Errors
    /// When its beginning cannot be read.
    pub fn new(
        name: &str,
        reader: impl Read + Send + 'static,
        progress: &Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let mut reader = BufReader::new(Counted { reader, progress: Arc::clone(progress) });
        let mut head = Vec::new();
        (&mut reader).take(GZIP.len() as u64).read_to_end(&mut head)?;
        let packed = head == GZIP;
        let whole = Cursor::new(head).chain(reader);
        let reader: Box<dyn BufRead + Send> =
            if packed { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) };
        Ok(Self {
            name: name.into(),
            reader,
            longest: LONGEST,
            line: 0,
            held: None,
            layout: Layout::Unknown,
            ended: false,
        })
    }

    /// Its name, as faults give it.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The next line that is not blank, without its end.
    fn line(&mut self) -> Option<Result<Document, Fault>> {
        while !self.ended {
            self.line += 1;
            let place = Place::line(&self.name, self.line);
            let mut bytes = Vec::new();
            let most = self.longest as u64 + 1;
            match (&mut self.reader).take(most).read_until(b'\n', &mut bytes) {
                Ok(0) => self.ended = true,
                Ok(_) if bytes.len() > self.longest && !bytes.ends_with(b"\n") => {
                    if let Err(error) = self.skip_line() {
                        return Some(Err(self.broken_off(&error)));
                    }
                    return Some(Err(Fault { place, what: Wrong::TooLong { limit: self.longest } }));
                }
                Ok(_) => {
                    if self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
                        bytes.drain(..BYTE_ORDER_MARK.len());
                    }
                    if !bytes.trim_ascii().is_empty() {
                        return Some(Ok(Document { place, bytes }));
                    }
                }
                Err(error) => return Some(Err(self.broken_off(&error))),
            }
        }
        None
    }

    fn broken_off(&mut self, error: &io::Error) -> Fault {
        self.ended = true;
        Fault { place: Place::line(&self.name, self.line), what: Wrong::Unreadable(error.to_string()) }
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let (used, done) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(used);
            if done {
                return Ok(());
            }
        }
    }

    /// Adds lines to `first` until its brackets close.
    fn spread(&mut self, first: Document) -> Result<Document, Fault> {
        let Document { place, mut bytes } = first;
        let mut depth = Depth::default();
        depth.add(&bytes);
        while depth.open() {
            match self.held.take().map_or_else(|| self.line(), |held| Some(Ok(held))) {
                None => break,
                Some(Err(fault)) => return Err(fault),
                // The JSON reader says what is missing.
                Some(Ok(line)) => {
                    depth.add(&line.bytes);
                    bytes.extend_from_slice(&line.bytes);
                }
            }
            if bytes.len() > self.longest {
                self.ended = true;
                return Err(Fault { place, what: Wrong::TooLong { limit: self.longest } });
            }
        }
        Ok(Document { place, bytes })
    }

    /// One a line, unless the first line opens what it does not close and the second goes on with it.
    fn find_layout(&mut self, first: &Document) -> Result<(), Fault> {
        self.layout = Layout::Lines;
        let mut depth = Depth::default();
        depth.add(&first.bytes);
        if !depth.open() {
            return Ok(());
        }
        if let Some(second) = self.line() {
            let second = second?;
            if second.bytes.first() != Some(&b'{') {
                self.layout = Layout::Spread;
            }
            self.held = Some(second);
        }
        Ok(())
    }
}

impl Iterator for Source {
    type Item = Result<Document, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let document = match self.held.take().map_or_else(|| self.line(), |held| Some(Ok(held)))? {
            Ok(document) => document,
            fault @ Err(_) => return Some(fault),
        };
        if self.layout == Layout::Unknown
            && let Err(fault) = self.find_layout(&document)
        {
            return Some(Err(fault));
        }
        let whole = if self.layout == Layout::Spread { self.spread(document) } else { Ok(document) };
        Some(whole.map(|mut document| {
            // A fault at the end of a line is to stand on that line.
            document.bytes.truncate(document.bytes.trim_ascii_end().len());
            document
        }))
    }
}

/// How deep in brackets a text is, strings apart.
#[derive(Default)]
struct Depth {
    open: u64,
    in_string: bool,
    escaped: bool,
}

impl Depth {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.open += 1,
                b'}' | b']' if !self.in_string => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
    }

    fn open(&self) -> bool {
        self.open > 0
    }
}

/// A reader whose bytes are counted, for whoever shows progress.
struct Counted<R> {
    reader: R,
    progress: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn source(bytes: &[u8]) -> Source {
        Source::new("t", Cursor::new(bytes.to_vec()), &Arc::default()).unwrap()
    }

    /// Documents as text with their lines; faults as they are told.
    fn check(bytes: &[u8], longest: usize, expected: &[&str]) {
        let mut source = source(bytes);
        source.longest = longest;
        let got: Vec<String> = source
            .map(|piece| match piece {
                Ok(document) => {
                    let text = String::from_utf8_lossy(&document.bytes);
                    format!("{} {}", document.place, text.split_whitespace().collect::<String>())
                }
                Err(fault) => fault.to_string(),
            })
            .collect();
        assert_eq!(got, expected);
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_document_a_line_and_nothing_else_matters() {
        check(b"", LONGEST, &[]);
        check(b"\n \r\n\n", LONGEST, &[]);
        check(b"{}\r\n\n[1]\n{\"a\":1}", LONGEST, &["t:1 {}", "t:3 [1]", "t:4 {\"a\":1}"]);
        check(b"\xef\xbb\xbf{}\n", LONGEST, &["t:1 {}"]);
    }

    #[test]
    fn a_broken_first_line_does_not_swallow_the_rest() {
        check(b"{\"a\":\n{\"b\":1}\n{}", LONGEST, &["t:1 {\"a\":", "t:2 {\"b\":1}", "t:3 {}"]);
        check(b"{\"a\":", LONGEST, &["t:1 {\"a\":"]);
    }

    #[test]
    fn documents_may_spread_over_lines() {
        let text = b"{\n  \"a\": [\n\"}\", \"\\\"{\"\n]\n}\n{\n\"b\": 1}\n";
        check(text, LONGEST, &["t:1 {\"a\":[\"}\",\"\\\"{\"]}", "t:6 {\"b\":1}"]);
        check(b"{\n \"a\": 1\n", LONGEST, &["t:1 {\"a\":1"]);
    }

    #[test]
    fn a_line_too_long_is_named_and_passed_over() {
        let too_long = "t:1: is longer than 0 MiB. Write one trace a line, or fewer spans a document";
        check(b"{\"long\":\"0123456789\"}\n{}\n", 10, &[too_long, "t:2 {}"]);
        check(b"0123456789\n{}", 10, &["t:1 0123456789", "t:2 {}"]);
        check(b"{\n\"a\":\n1,\n\"b\":1}\n", 10, &[too_long]);
    }

    #[test]
    fn gzip_is_known_by_its_content() {
        check(&packed("{}\n[]\n"), LONGEST, &["t:1 {}", "t:2 []"]);
        let mut two = packed("{}\n");
        two.extend(packed("[]\n"));
        check(&two, LONGEST, &["t:1 {}", "t:2 []"]);
    }

    #[test]
    fn a_damaged_archive_gives_what_it_held_and_says_where_it_ends() {
        let text: String = (0..20_000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let mut bytes = packed(&text);
        bytes.truncate(bytes.len() / 2);
        let pieces: Vec<_> = source(&bytes).collect();
        let (last, rest) = pieces.split_last().unwrap();
        assert!(rest.len() > 1_000 && rest.iter().all(Result::is_ok));
        let fault = last.as_ref().unwrap_err();
        assert_eq!(fault.place.line, rest.len() as u64 + 1);
        assert!(matches!(fault.what, Wrong::Unreadable(_)), "{fault}");
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused() {
        assert!(Source::open("no-such-file", &Arc::default()).is_err());
        let error = Source::open(".", &Arc::default()).err().unwrap();
        assert!(error.to_string().contains("folder"), "{error}");
    }
}
