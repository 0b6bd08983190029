//! What stdout is. Asks the system; draws nothing.

use std::io::IsTerminal as _;

/// Whether colours are welcome: a terminal, and nobody said no (<https://no-color.org>).
pub fn stdout_has_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !refused && !dumb
}
