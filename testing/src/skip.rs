//! Saying loudly that a test could not run here, so that it is counted and not taken for a pass.
//! Must not decide whether to skip.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::thread;

/// Names the file that collects the lines, so that `make test` can count them.
const LOG_VARIABLE: &str = "RT_SKIP_LOG";

/// Says that the calling test is skipped, and why; the test then returns. Once a test at most.
///
/// The line goes to the standard error past libtest's capture, and to the file that `RT_SKIP_LOG`
/// names. Call it on the test's own thread, whose name is the test's.
pub fn skip(reason: &str) {
    let line = line(thread::current().name().unwrap_or("unknown test"), reason);
    // Nothing better can be done if these fail: the standard error is the last resort itself.
    let _ = io::stderr().lock().write_all(line.as_bytes());
    if let Some(path) = env::var_os(LOG_VARIABLE) {
        let log = OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = log.and_then(|mut log| log.write_all(line.as_bytes())) {
            let _ = writeln!(io::stderr().lock(), "SKIPPED line not logged: {error}");
        }
    }
}

fn line(test: &str, reason: &str) -> String {
    format!("SKIPPED: {test}: {}\n", reason.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(line("a::b", "no\nfixtures"), "SKIPPED: a::b: no fixtures\n");
    }
}
