//! The commands that change a host, and their argv. Running them is the daemon's; nothing here runs.

/// A command that changes a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `rpm-ostree …`, whole argv after the program.
    RpmOstree(Vec<String>),
    /// `ostree admin pin [--unpin] INDEX`.
    Pin {
        /// Index in the list as it is now.
        index: usize,
        /// Take the pin off.
        unpin: bool,
    },
    /// `dnf …`.
    Dnf(Vec<String>),
    /// `grubby …`.
    Grubby(Vec<String>),
}

impl Command {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<String> {
        let (program, arguments): (&[&str], Vec<String>) = match self {
            Self::RpmOstree(arguments) => (&["rpm-ostree"], arguments.clone()),
            Self::Pin { index, unpin } => {
                let mut arguments = Vec::new();
                if *unpin {
                    arguments.push("--unpin".to_owned());
                }
                arguments.push(index.to_string());
                (&["ostree", "admin", "pin"], arguments)
            }
            Self::Dnf(arguments) => (&["dnf"], arguments.clone()),
            Self::Grubby(arguments) => (&["grubby"], arguments.clone()),
        };
        program
            .iter()
            .map(|word| (*word).to_owned())
            .chain(arguments)
            .collect()
    }

    /// The command line, words joined by blanks: for people and for comparing, never for a shell.
    pub fn line(&self) -> String {
        self.argv().join(" ")
    }
}
