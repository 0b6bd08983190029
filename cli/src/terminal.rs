//! What stdout is. Asks the system; draws nothing.

use std::io::IsTerminal as _;

/// What a terminal has that doesn't say (a serial console): the size of the first ones.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// Whether colours are welcome: a terminal, and nobody said no (<https://no-color.org>).
pub fn stdout_has_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused && !is_dumb()
}

/// A terminal that says that it can't move its cursor.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Columns and rows of stdout.
pub fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => USUAL_SIZE,
    }
}
