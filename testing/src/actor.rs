//! A program for the tests of real-time scheduling that makes threads and children, asks for policies and spins, as it is
//! told. Written in C, so that each of its threads is one that it was told to make. Must not move itself into any group.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// Compiles it, statically: it runs wherever it is copied to. Needs `cc`.
pub fn build(folder: &Path) -> io::Result<PathBuf> {
    let (source, program) = (folder.join("actor.c"), folder.join("actor"));
    std::fs::write(&source, include_str!("actor/actor.c"))?;
    let output = Command::new("cc")
        .args([
            "-std=gnu11",
            "-Wall",
            "-Werror",
            "-Os",
            "-static",
            "-pthread",
            "-o",
        ])
        .args([&program, &source])
        .output()?;
    if output.status.success() {
        return Ok(program);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("cc {}: {said}", source.display())))
}

/// It, running. Ended with all its children when this goes.
#[derive(Debug)]
pub struct Actor {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts it, where the caller is.
    pub fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes to the actor"));
        };
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        })
    }

    /// Its process, and first thread.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(i32::MAX)
    }

    /// Tells it something and gives its answer:
    ///
    /// - `thread`, `spin` (milliseconds), `storm` (number of threads): a new thread; its id.
    /// - `fork`: a child that waits; its id.
    /// - `fifo` (priority), `other`: asks for that policy for its first thread; 0, or the error's number.
    /// - `drop`: becomes nobody; the same.
    pub fn tell(&mut self, word: &str, number: u32) -> io::Result<i32> {
        writeln!(self.stdin, "{word} {number}")?;
        self.stdin.flush()?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        let answer = answer.trim();
        answer
            .parse()
            .map_err(|_| io::Error::other(format!("the actor answered {answer:?} to {word}")))
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
