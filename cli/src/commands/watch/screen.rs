//! A view on stdout: redrawn in place on a terminal, line by line elsewhere. Decides nothing about the view.
//!
//! A frame that the terminal may have reflowed (it was resized) is left standing and the next one begins below it:
//! going up by a wrong number of rows would write over what the user had there.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use realtime_core::short;
use realtime_core::watch_view::layout::{Row, Tone, rows};
use realtime_core::watch_view::{View, changes};

use crate::output::{self, OutputError};
use crate::terminal;

/// Where a view is shown.
pub struct Screen {
    in_place: bool,
    colour: bool,
    drawn: Option<Frame>,
    trouble: Option<String>,
}

/// What stands on the terminal.
struct Frame {
    size: (usize, usize),
    rows: usize,
}

impl Screen {
    /// Asks what stdout is.
    pub fn new() -> Self {
        Self {
            in_place: std::io::stdout().is_terminal() && !terminal::is_dumb(),
            colour: terminal::stdout_has_colour(),
            drawn: None,
            trouble: None,
        }
    }

    /// Shows the moment; elsewhere than on a terminal only what changed.
    pub fn show(&mut self, before: Option<&View>, view: &View) -> Result<(), OutputError> {
        if !self.in_place {
            self.trouble = None;
            let lines: Vec<String> = changes(before, view)
                .iter()
                .map(|line| plain(line))
                .collect();
            return output::print(lines.iter().map(String::as_str));
        }
        let size = terminal::size();
        let (width, height) = size;
        let mut frame = rows(view, width, height);
        if let Some(trouble) = &self.trouble {
            frame.push(Row {
                tone: Tone::Bad,
                text: trouble.chars().take(width).collect(),
            });
        }
        let mut text = String::new();
        if let Some(drawn) = self.drawn.take().filter(|drawn| drawn.size == size) {
            // Writing into a String never fails.
            let _ = write!(text, "\x1b[{}A\r\x1b[J", drawn.rows);
        }
        for row in &frame {
            text.push_str(&self.painted(row));
            text.push('\n');
        }
        self.drawn = Some(Frame {
            size,
            rows: frame.len(),
        });
        self.trouble = None;
        output::print([text.as_str()])
    }

    /// Tells about the connection: in the next frame, or at once where nothing is redrawn; the same trouble once.
    pub fn trouble(&mut self, text: &str) {
        if self.trouble.as_deref() == Some(text) {
            return;
        }
        self.trouble = Some(text.to_owned());
        if !self.in_place || self.drawn.is_none() {
            output::notice(&format!("warning: {text}"));
        }
    }

    fn painted(&self, row: &Row) -> String {
        let code = match row.tone {
            Tone::Title => "1",
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Calm => return row.text.clone(),
        };
        if self.colour {
            format!("\x1b[{code}m{}\x1b[0m", row.text)
        } else {
            row.text.clone()
        }
    }
}

/// One line, without what a terminal would act on.
fn plain(line: &str) -> String {
    let mut line = short::one_line(line);
    line.push('\n');
    line
}
