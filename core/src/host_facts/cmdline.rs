//! The kernel's command line, taken apart as the kernel does it. Judges no argument.

/// As much of a command line as is read, bytes: the longest that a kernel takes is 4,096 (s390: 64 KiB).
const MAX_TEXT: usize = 64 * 1024;

/// The arguments, quotes taken away, up to `--`, behind which everything is for the first process.
///
/// The kernel's rules: white space outside of quotation marks separates. A quotation mark at the beginning of an
/// argument or of its value goes, and with it one at the end; any other stays.
pub fn arguments(text: &str) -> Vec<String> {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut arguments = Vec::new();
    let mut current = String::new();
    let mut quoted = false;
    for character in text[..end].chars().chain([' ']) {
        match character {
            '"' => {
                quoted = !quoted;
                current.push(character);
            }
            space if space.is_ascii_whitespace() && !quoted => {
                if !current.is_empty() {
                    arguments.push(unquoted(&std::mem::take(&mut current)));
                }
            }
            other => current.push(other),
        }
    }
    if !current.trim_end().is_empty() {
        // A quotation mark that nothing closes: all that follows belongs to it.
        arguments.push(unquoted(current.trim_end()));
    }
    if let Some(end) = arguments.iter().position(|argument| argument == "--") {
        arguments.truncate(end);
    }
    arguments
}

fn unquoted(argument: &str) -> String {
    if let Some(rest) = argument.strip_prefix('"') {
        return rest.strip_suffix('"').unwrap_or(rest).to_owned();
    }
    match argument.split_once('=') {
        Some((name, value)) => match value.strip_prefix('"') {
            Some(rest) => format!("{name}={}", rest.strip_suffix('"').unwrap_or(rest)),
            None => argument.to_owned(),
        },
        None => argument.to_owned(),
    }
}
