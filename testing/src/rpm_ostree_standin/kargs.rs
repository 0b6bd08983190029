//! Kernel arguments: the modifiers of `rpm-ostree kargs`, in the measured order. Pure.

/// What `rpm-ostree kargs` is asked to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Changes {
    /// `--delete`.
    pub delete: Vec<String>,
    /// `--replace`.
    pub replace: Vec<String>,
    /// `--append`.
    pub append: Vec<String>,
    /// `--append-if-missing`.
    pub append_if_missing: Vec<String>,
    /// `--delete-if-present`.
    pub delete_if_present: Vec<String>,
}

impl Changes {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies them. The error is the text that rpm-ostree prints after `error: `.
    ///
    /// 1. delete, 2. replace, 3. append, 4. append if missing, 5. delete if present: the last two compare whole
    ///    `KEY=VALUE` strings, and the last looks at the arguments from before.
    pub fn apply(&self, original: &[String]) -> Result<Vec<String>, String> {
        let mut args = original.to_vec();
        for wanted in &self.delete {
            let index = find_to_delete(&args, wanted)?;
            args.remove(index);
        }
        for wanted in &self.replace {
            replace(&mut args, wanted)?;
        }
        args.extend(self.append.iter().cloned());
        for wanted in &self.append_if_missing {
            if !args.contains(wanted) {
                args.push(wanted.clone());
            }
        }
        for wanted in &self.delete_if_present {
            if original.contains(wanted)
                && let Some(index) = args.iter().position(|one| one == wanted)
            {
                args.remove(index);
            }
        }
        Ok(args)
    }
}

fn split(arg: &str) -> (&str, Option<&str>) {
    match arg.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (arg, None),
    }
}

fn of_key<'a>(args: &'a [String], key: &'a str) -> impl Iterator<Item = usize> + 'a {
    args.iter()
        .enumerate()
        .filter(move |(_, arg)| split(arg).0 == key)
        .map(|(index, _)| index)
}

fn find_to_delete(args: &[String], wanted: &str) -> Result<usize, String> {
    let (key, value) = split(wanted);
    let found: Vec<usize> = of_key(args, key).collect();
    if found.is_empty() {
        return Err(format!("No key '{key}' found"));
    }
    if value.is_none() && found.len() > 1 {
        return Err(format!("Multiple values for key '{key}' found"));
    }
    if value.is_none() {
        // One value: a key alone means it, whatever it is.
        return found
            .first()
            .copied()
            .ok_or_else(|| format!("No key '{key}' found"));
    }
    args.iter()
        .position(|arg| arg == wanted)
        .ok_or_else(|| format!("No karg '{wanted}' found"))
}

fn replace(args: &mut [String], wanted: &str) -> Result<(), String> {
    let (key, value) = split(wanted);
    let found: Vec<usize> = of_key(args, key).collect();
    if found.is_empty() {
        return Err(format!("No key '{key}' found"));
    }
    // KEY=OLD=NEW, when there is KEY=OLD.
    let old_and_new = value.and_then(|value| value.split_once('='));
    if let Some((old, new)) = old_and_new {
        let old = format!("{key}={old}");
        let index = args.iter().position(|arg| *arg == old);
        return match index.and_then(|index| args.get_mut(index)) {
            Some(arg) => {
                *arg = format!("{key}={new}");
                Ok(())
            }
            None => Err(format!("No karg '{old}' found")),
        };
    }
    if found.len() > 1 {
        return Err(format!("Multiple values for key '{key}' found"));
    }
    if let Some(arg) = found.first().and_then(|index| args.get_mut(*index)) {
        wanted.clone_into(arg);
    }
    Ok(())
}

/// Puts the right `ostree=` where one is, or at the end.
pub fn set_ostree(args: &mut Vec<String>, path: &str) {
    let value = format!("ostree={path}");
    match args.iter_mut().find(|arg| arg.starts_with("ostree=")) {
        Some(arg) => *arg = value,
        None => args.push(value),
    }
}

/// Splits a command line as the kernel does: a value may be quoted and then hold spaces.
pub fn split_line(line: &str) -> Vec<String> {
    let mut args = Vec::new();
    let (mut current, mut quoted) = (String::new(), false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                current.push(c);
            }
            c if c.is_whitespace() && !quoted => {
                if !current.is_empty() {
                    args.push(std::mem::take(&mut current));
                }
            }
            c => current.push(c),
        }
    }
    if !current.is_empty() {
        args.push(current);
    }
    args
}
