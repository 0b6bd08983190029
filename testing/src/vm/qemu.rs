//! Boots the machine and reads what comes back. The console is the first serial line, the program's output the second.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::initramfs::Archive;
use super::{Error, HOST, Machine, Outcome, Program, kernel, libraries};

const QEMU: &str = "qemu-system-x86_64";
/// Of Debian's busybox-static: without libraries.
const BUSYBOX: &str = "/usr/bin/busybox";
/// The last line, by `init.sh`.
const EXIT: &str = "@exit ";
/// Bytes of the console that are kept for a person to read.
const CONSOLE: usize = 16 * 1024;
/// Lines of a program that are shown when it didn't finish.
const LAST_LINES: usize = 20;
/// How often qemu is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Boots, runs the program, and waits for the end. Blocks: call it from `spawn_blocking` in async code.
pub fn run(machine: &Machine, program: &Program) -> Result<Outcome, Error> {
    let networked = !machine.ports.is_empty();
    let kernel = if networked {
        kernel::with_driver
    } else {
        kernel::kernel
    }()?;
    let driver = networked.then(|| kernel.driver());
    has_qemu()?;
    let folder = tempfile::tempdir().map_err(Error::io("making a folder in", "/tmp"))?;
    let (initramfs, console, output, said) = (
        folder.path().join("initramfs"),
        folder.path().join("console"),
        folder.path().join("output"),
        folder.path().join("qemu"),
    );
    fs::write(&initramfs, archive(program, driver.as_deref())?)
        .map_err(Error::io("writing", &initramfs))?;
    let stderr = fs::File::create(&said).map_err(Error::io("creating", &said))?;
    let started = Instant::now();
    // Ended by the kernel when this thread ends, even by SIGKILL; the same process from its start to its end.
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", QEMU])
        .args(arguments(machine))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&initramfs)
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", output.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(|error| {
            Error::Unavailable(format!("starting setpriv (Debian's util-linux): {error}"))
        })?;
    let ended = Running(child).wait(machine.limit);
    let (exit_code, lines) = lines(&text(&output));
    let console = tail(&text(&console));
    match ended.map_err(Error::io("waiting for", QEMU))? {
        None => Err(Error::TimeLimit {
            limit: machine.limit,
            lines: lines[lines.len().saturating_sub(LAST_LINES)..].to_vec(),
            console,
        }),
        Some(status) if !status.success() => Err(Error::Qemu {
            code: status.code(),
            stderr: tail(&text(&said)),
        }),
        Some(_) => Ok(Outcome {
            exit_code,
            lines,
            console,
            took: started.elapsed(),
        }),
    }
}

fn has_qemu() -> Result<(), Error> {
    let asked = Command::new(QEMU)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    asked.map(drop).map_err(|error| {
        Error::Unavailable(format!(
            "starting {QEMU} (Debian's qemu-system-x86): {error}"
        ))
    })
}

/// qemu, ended when this goes out of scope, whatever happens.
struct Running(Child);

impl Running {
    /// `None` when it did not end in time.
    fn wait(mut self, limit: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn arguments(machine: &Machine) -> Vec<String> {
    let (sockets, cores, threads) = machine.topology;
    let cpus = machine.cpus();
    let nodes = machine.numa_nodes.max(1);
    let mut arguments: Vec<String> = [
        "-accel",
        "tcg,thread=multi",
        "-nodefaults",
        "-display",
        "none",
        "-monitor",
        "none",
        "-no-reboot",
        "-cpu",
        &machine.processor,
        "-m",
        &machine.memory_mib.to_string(),
        "-smp",
        &format!("{cpus},sockets={sockets},cores={cores},threads={threads}"),
    ]
    .map(str::to_owned)
    .to_vec();
    for node in 0..nodes {
        let (first, next) = (node * cpus / nodes, (node + 1) * cpus / nodes);
        arguments.extend([
            "-object".to_owned(),
            format!(
                "memory-backend-ram,id=m{node},size={}M",
                machine.memory_mib / nodes
            ),
            "-numa".to_owned(),
            format!(
                "node,nodeid={node},cpus={first}-{},memdev=m{node}",
                next.saturating_sub(1)
            ),
        ]);
    }
    arguments.extend(["-nic".to_owned(), network(&machine.ports)]);
    // A panic ends qemu, since it would be a reboot.
    let mut line = "console=ttyS0 quiet panic=-1".to_owned();
    for argument in &machine.kernel_arguments {
        line.push(' ');
        line.push_str(argument);
    }
    arguments.extend(["-append".to_owned(), line]);
    arguments
}

/// One program for each connection, since qemu itself would have them all share one; it ends with the connection.
fn network(ports: &[(u16, u16)]) -> String {
    if ports.is_empty() {
        return "none".to_owned();
    }
    let mut network = "user,model=e1000,restrict=on,ipv6=off".to_owned();
    for (there, here) in ports {
        // Writing to a String can't fail.
        let _ = write!(
            network,
            ",guestfwd=tcp:{HOST}:{there}-cmd:{BUSYBOX} nc 127.0.0.1 {here}"
        );
    }
    network
}

fn archive(program: &Program, driver: Option<&Path>) -> Result<Vec<u8>, Error> {
    let busybox = fs::read(BUSYBOX).map_err(|error| {
        Error::Unavailable(format!(
            "reading {BUSYBOX} (Debian's busybox-static): {error}"
        ))
    })?;
    let mut archive = Archive::default();
    archive.file("/bin/busybox", &busybox, 0o755);
    archive.file("/init", include_bytes!("../../vm/init.sh"), 0o755);
    archive.file("/vm/run", script(program).as_bytes(), 0o755);
    // /dev/console must be there before init can mount a devtmpfs over it; the kernel makes it itself.
    for (path, contents, mode) in &program.files {
        archive.file(path, contents, *mode);
    }
    if let Some(driver) = driver {
        let module = fs::read(driver).map_err(Error::io("reading", driver))?;
        archive.file("/vm/e1000.ko", &module, 0o644);
    }
    libraries::add(&mut archive, &program.path, "/vm/program")?;
    for (path, guest) in &program.programs {
        libraries::add(&mut archive, path, guest)?;
    }
    Ok(archive.finish())
}

fn script(program: &Program) -> String {
    let mut script = "#!/bin/busybox sh\n".to_owned();
    for (key, value) in &program.environment {
        // Writing to a String can't fail.
        let _ = writeln!(script, "export {key}={}", quoted(value));
    }
    script.push_str("exec /vm/program");
    for argument in &program.arguments {
        script.push(' ');
        script.push_str(&quoted(argument));
    }
    script.push('\n');
    script
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The exit code, when the program has ended, and its lines.
fn lines(text: &str) -> (Option<i32>, Vec<String>) {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.trim_end_matches('\r').to_owned())
        .collect();
    // What the program wrote last may have no newline.
    let Some((before, code)) = lines.last().and_then(|last| last.rsplit_once(EXIT)) else {
        return (None, lines);
    };
    let (before, code) = (before.to_owned(), code.trim().parse().ok());
    lines.pop();
    if !before.is_empty() {
        lines.push(before);
    }
    (code, lines)
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(CONSOLE);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_exit_code() {
        let of = |text: &str| lines(text);
        assert_eq!(
            of("a\r\nb\r\n@exit 0\r\n"),
            (Some(0), vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(of("a@exit 7\n"), (Some(7), vec!["a".to_owned()]));
        assert_eq!(of("a\n"), (None, vec!["a".to_owned()]));
        assert_eq!(of(""), (None, Vec::new()));
    }

    #[test]
    fn nodes_share_cpus_and_memory() {
        let line = arguments(&Machine::default()).join(" ");
        assert!(
            line.contains("-smp 4,sockets=2,cores=1,threads=2"),
            "{line}"
        );
        assert!(line.contains("node,nodeid=1,cpus=2-3,memdev=m1"), "{line}");
        assert!(line.contains("id=m0,size=512M"), "{line}");
    }

    #[test]
    fn without_ports_there_is_no_network() {
        assert!(
            arguments(&Machine::default())
                .join(" ")
                .contains("-nic none")
        );
        assert_eq!(
            network(&[(6443, 20_001), (7, 8)]),
            "user,model=e1000,restrict=on,ipv6=off,\
             guestfwd=tcp:10.0.2.100:6443-cmd:/usr/bin/busybox nc 127.0.0.1 20001,\
             guestfwd=tcp:10.0.2.100:7-cmd:/usr/bin/busybox nc 127.0.0.1 8"
        );
    }

    #[test]
    fn words_are_quoted() {
        let program = Program {
            arguments: vec!["it's".to_owned()],
            environment: vec![("A".to_owned(), "b c".to_owned())],
            ..Program::new("/x")
        };
        assert_eq!(
            script(&program),
            "#!/bin/busybox sh\nexport A='b c'\nexec /vm/program 'it'\\''s'\n"
        );
    }
}
