//! os-release(5): assignments as a shell reads them, without expansion.

use std::collections::BTreeMap;

/// As many assignments as are kept; Fedora CoreOS has 27.
const MAX_KEYS: usize = 256;
/// As long as a value may be, characters.
const MAX_VALUE: usize = 1024;

/// The assignments; a later one of the same name wins. Lines that aren't any are left out.
pub fn os_release(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else {
            continue;
        };
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_key && (values.len() < MAX_KEYS || values.contains_key(key)) {
            values.insert(key.to_owned(), unquoted(value));
        }
    }
    values
}

fn unquoted(value: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut characters = value.chars().take(MAX_VALUE);
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (end, Some(begin)) if end == begin => quote = None,
            ('\\', None | Some('"')) => text.extend(characters.next()),
            (other, _) => text.push(other),
        }
    }
    text
}
