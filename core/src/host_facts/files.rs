//! The text of many small files, by their path on the host. Holds and finds; understands none of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// As many files as are kept: 1,024 CPUs with four idle states and 2,000 interrupts take half of it.
pub const MAX_FILES: usize = 32_768;
/// As much text of one file as is kept, bytes: `/proc/cpuinfo` of 512 CPUs takes 800 KB.
pub const MAX_BYTES: usize = 1 << 20;

/// What a pass over the host has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    texts: BTreeMap<String, String>,
    left_out: usize,
}

/// The parts of a path for which a pattern has a `#` or `*`, in order.
pub type Captures<'a> = Vec<&'a str>;

impl Files {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, or its new text. Text beyond [`MAX_BYTES`] is cut off, files beyond [`MAX_FILES`] are counted only.
    pub fn insert(&mut self, path: impl Into<String>, mut text: String) {
        if text.len() > MAX_BYTES {
            let mut end = MAX_BYTES;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        let full = self.texts.len() >= MAX_FILES;
        match self.texts.entry(path.into()) {
            Entry::Occupied(mut known) => *known.get_mut() = text,
            Entry::Vacant(_) if full => self.left_out += 1,
            Entry::Vacant(free) => {
                free.insert(text);
            }
        }
    }

    /// The text of a file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// The text without white space around it; `None` too when nothing remains.
    pub fn value(&self, path: &str) -> Option<&str> {
        self.text(path)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// The text as a whole number.
    pub fn number(&self, path: &str) -> Option<i64> {
        self.value(path)?.parse().ok()
    }

    /// Whether it was there.
    pub fn has(&self, path: &str) -> bool {
        self.texts.contains_key(path)
    }

    /// The files that match a pattern, with what stood for its `#` and `*`. In the order of their paths.
    pub fn matching<'a>(
        &'a self,
        pattern: &'a str,
    ) -> impl Iterator<Item = (Captures<'a>, &'a str)> + 'a {
        let fixed = pattern.find(['#', '*']).unwrap_or(pattern.len());
        let prefix = &pattern[..fixed];
        self.texts
            .range(prefix.to_owned()..)
            .take_while(move |(path, _)| path.starts_with(prefix))
            .filter_map(move |(path, text)| Some((captures(pattern, path)?, text.as_str())))
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// How many there was no room for.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// All paths and texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

impl<P: Into<String>, T: Into<String>> FromIterator<(P, T)> for Files {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(pairs: I) -> Self {
        let mut files = Self::new();
        for (path, text) in pairs {
            files.insert(path, text.into());
        }
        files
    }
}

/// What stands for the wildcards of a pattern in a path of as many parts; at most one wildcard a part.
fn captures<'a>(pattern: &str, path: &'a str) -> Option<Captures<'a>> {
    let mut captured = Vec::new();
    let mut names = path.split('/');
    for part in pattern.trim_end_matches('/').split('/') {
        if let Some(text) = part_matches(part, names.next()?)? {
            captured.push(text);
        }
    }
    names.next().is_none().then_some(captured)
}

/// Whether a name matches one part of a pattern, and what stood for its wildcard.
#[allow(clippy::option_option)] // no match, a match without a wildcard, a match with one
pub fn part_matches<'a>(part: &str, name: &'a str) -> Option<Option<&'a str>> {
    let Some(at) = part.find(['#', '*']) else {
        return (part == name).then_some(None);
    };
    let (before, after) = (&part[..at], &part[at + 1..]);
    let middle = name.strip_prefix(before)?.strip_suffix(after)?;
    let digits = part.as_bytes().get(at) == Some(&b'#');
    let fits = !middle.is_empty() && (!digits || middle.bytes().all(|byte| byte.is_ascii_digit()));
    fits.then_some(Some(middle))
}
