//! What a user would type in a sandbox, typed for him and shown; and where our programs and kubectl are for what he types
//! himself. Knows nothing of what a sandbox is made of.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use tokio::process::Command;

/// What takes seconds takes minutes on a machine that is starved.
const LONG: Duration = Duration::from_mins(2);
/// Between two looks.
const STEP: Duration = Duration::from_millis(300);

/// A command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// It can't be run.
    #[error("running {}: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// It failed.
    #[error("{program} ended with {status}")]
    Failed {
        /// The program's name.
        program: String,
        /// Its end.
        status: ExitStatus,
    },
    /// What was waited for did not come.
    #[error("waited {} s for {what} in vain; kubectl says {printed:?}", LONG.as_secs())]
    InVain {
        /// What was waited for.
        what: String,
        /// What was printed last, on both streams.
        printed: String,
    },
}

/// `DEMO=1`: show it.
pub fn is_demo_wanted() -> bool {
    env::var_os("DEMO").is_some_and(|demo| !demo.is_empty() && demo != "0")
}

/// Types commands.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The folder that paths in commands are from.
    pub root: PathBuf,
    /// Where our programs are.
    pub programs: PathBuf,
    /// kubectl.
    pub kubectl: PathBuf,
    /// Whose cluster, and as whom.
    pub kubeconfig: PathBuf,
}

impl Shell {
    /// What makes another terminal know the same.
    pub fn exports(&self) -> String {
        let folders = self.kubectl.parent().into_iter().chain([&*self.programs]);
        let path: Vec<String> = folders.map(|folder| folder.display().to_string()).collect();
        format!(
            "  export KUBECONFIG={}\n  export PATH={}:$PATH",
            self.kubeconfig.display(),
            path.join(":")
        )
    }

    /// `kubectl`, or one of our programs.
    fn path(&self, program: &str) -> PathBuf {
        if program == "kubectl" {
            self.kubectl.clone()
        } else {
            self.programs.join(program)
        }
    }

    fn command(&self, path: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(path);
        command
            .args(arguments)
            .current_dir(&self.root)
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true);
        command
    }

    /// Shows a command and runs it; it has to succeed.
    pub async fn run(&self, program: &str, arguments: &[&str]) -> Result<(), ShellError> {
        let typed: Vec<String> = arguments.iter().map(|word| quoted(word)).collect();
        println!("\n$ {program} {}", typed.join(" "));
        let path = self.path(program);
        let status = self.command(&path, arguments).status().await;
        let status = status.map_err(|source| ShellError::Run {
            program: path,
            source,
        })?;
        if status.success() {
            Ok(())
        } else {
            Err(ShellError::Failed {
                program: program.to_owned(),
                status,
            })
        }
    }

    /// Waits until what kubectl prints has that in it.
    pub async fn until(
        &self,
        what: &str,
        arguments: &[&str],
        sign: &str,
    ) -> Result<(), ShellError> {
        eprintln!("\nwaiting for {what}");
        let path = self.path("kubectl");
        let started = Instant::now();
        loop {
            let output = self.command(&path, arguments).output().await;
            let output = output.map_err(|source| ShellError::Run {
                program: path.clone(),
                source,
            })?;
            if String::from_utf8_lossy(&output.stdout).contains(sign) {
                return Ok(());
            }
            if started.elapsed() > LONG {
                let printed = [output.stdout, output.stderr].concat();
                return Err(ShellError::InVain {
                    what: what.to_owned(),
                    printed: String::from_utf8_lossy(&printed).into_owned(),
                });
            }
            tokio::time::sleep(STEP).await;
        }
    }
}

/// A word as it is typed in a shell: what is copied from the screen does the same.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Shell {
        Shell {
            root: "/".into(),
            programs: "/ours".into(),
            kubectl: "/bin/echo".into(),
            kubeconfig: "/k/config".into(),
        }
    }

    #[test]
    fn another_terminal_finds_the_same() {
        assert_eq!(
            shell().exports(),
            "  export KUBECONFIG=/k/config\n  export PATH=/bin:/ours:$PATH"
        );
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        for (word, typed) in [
            (
                "docs/examples/worker-rt.yaml",
                "docs/examples/worker-rt.yaml",
            ),
            ("name=a,b", "name=a,b"),
            (
                r#"jsonpath={.status}{"\n"}"#,
                r#"'jsonpath={.status}{"\n"}'"#,
            ),
            ("", "''"),
            ("it's", r"'it'\''s'"),
        ] {
            assert_eq!(quoted(word), typed);
        }
    }

    #[tokio::test]
    async fn a_command_is_run_and_its_failure_told() {
        let shell = shell();
        shell.run("kubectl", &["get", "pods"]).await.unwrap();
        shell.until("an echo", &["ready"], "eady").await.unwrap();
        let missing = shell.run("oc-realtime", &["why"]).await.unwrap_err();
        assert!(
            missing.to_string().starts_with("running /ours/oc-realtime"),
            "{missing}"
        );
        let shell = Shell {
            kubectl: "/bin/false".into(),
            ..shell
        };
        let failed = shell.run("kubectl", &[]).await.unwrap_err();
        assert!(
            failed.to_string().starts_with("kubectl ended with exit"),
            "{failed}"
        );
    }
}
