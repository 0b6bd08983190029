//! Stands in for grubby on a host below a root: it keeps the entries of the Boot Loader Specification and grub's
//! environment as grubby does, and prints what grubby prints. Stateful by these files alone. Must not be taken for the
//! real program: it isn't packaged for Debian, so nothing of it ran here.
//!
//! What is reproduced, by grubby(8) and what EL 8 to 10 print: `--default-kernel`, `--default-index`, `--default-title`,
//! `--info`, `--set-default`, `--set-default-index`, `--update-kernel` with `--args` and `--remove-args`. An argument that
//! is added replaces every value of its name; one that is removed by its name alone goes with every value.
//! What isn't: adding and removing kernels, zipl, devicetrees, templates from `/etc/default/grub`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the entries are.
const ENTRIES: &str = "boot/loader/entries";
/// grub's environment: `saved_entry` is the default.
const ENVIRONMENT: &str = "boot/grub2/grubenv";
/// grub's environment begins so, and has 1024 bytes, filled up with `#`.
const ENVIRONMENT_HEAD: &str = "# GRUB Environment Block\n";
/// Its size.
const ENVIRONMENT_SIZE: usize = 1024;

/// What the program printed, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The exit code.
    pub code: u8,
}

/// An entry: its file and its lines.
#[derive(Clone, Debug)]
struct Entry {
    file: PathBuf,
    id: String,
    values: BTreeMap<String, String>,
    /// The keys in their order in the file.
    order: Vec<String>,
}

/// Why it fails: the words on stderr.
struct Refused(String);

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self(format!("grubby: {error}"))
    }
}

/// Runs it.
pub fn run(root: &Path, arguments: &[String]) -> Printed {
    match act(root, arguments) {
        Ok(stdout) => Printed {
            stdout,
            ..Printed::default()
        },
        Err(Refused(words)) => Printed {
            stderr: format!("{words}\n"),
            code: 1,
            ..Printed::default()
        },
    }
}

/// The options, each with its value or without.
#[derive(Default)]
struct Options {
    show_default: Option<&'static str>,
    info: Option<String>,
    set_default: Option<String>,
    update: Option<String>,
    args: String,
    remove_args: String,
}

fn parsed(arguments: &[String]) -> Result<Options, Refused> {
    if arguments.is_empty() {
        return Err(Refused("no action specified".into()));
    }
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let mut value = || {
            value
                .clone()
                .or_else(|| rest.next().cloned())
                .ok_or_else(|| Refused(format!("grubby: option '{option}' requires an argument")))
        };
        match option {
            "--default-kernel" => options.show_default = Some("kernel"),
            "--default-index" => options.show_default = Some("index"),
            "--default-title" => options.show_default = Some("title"),
            "--info" => options.info = Some(value()?),
            "--set-default" | "--set-default-index" => options.set_default = Some(value()?),
            "--update-kernel" => options.update = Some(value()?),
            "--args" => options.args = value()?,
            "--remove-args" => options.remove_args = value()?,
            "--grub2" => {}
            _ => return Err(Refused(format!("grubby: unrecognized option '{option}'"))),
        }
    }
    Ok(options)
}

fn act(root: &Path, arguments: &[String]) -> Result<String, Refused> {
    let options = parsed(arguments)?;
    let mut entries = entries(root)?;
    let default = default_index(root, &entries);
    let entry = default.and_then(|index| entries.get(index));
    if let Some(what) = options.show_default {
        let shown = match what {
            "kernel" => entry.map(Entry::kernel),
            "index" => default.map(|index| index.to_string()),
            _ => entry.map(|entry| entry.value("title").to_owned()),
        };
        // Without an entry it prints an empty line, and all is well.
        return Ok(format!("{}\n", shown.unwrap_or_default()));
    }
    let find = |parameter: &str| {
        let found = found(parameter, &entries, default);
        if found.is_empty() {
            Err(Refused(format!("The param {parameter} is incorrect")))
        } else {
            Ok(found)
        }
    };
    if let Some(parameter) = &options.info {
        let mut text = String::new();
        for index in find(parameter)? {
            entries[index].describe(index, &mut text);
        }
        return Ok(text);
    }
    if let Some(parameter) = &options.set_default {
        let index = find(parameter)?[0];
        let entry = &entries[index];
        save_default(root, &entry.id)?;
        let file = Path::new("/").join(entry.file.strip_prefix(root).unwrap_or(&entry.file));
        return Ok(format!(
            "The default is {} with index {index} and kernel {}\n",
            file.display(),
            entry.kernel()
        ));
    }
    let Some(parameter) = &options.update else {
        return Err(Refused("no action specified".into()));
    };
    for index in find(parameter)? {
        let entry = &mut entries[index];
        let line = changed(entry.value("options"), &options.remove_args, &options.args);
        entry.set("options", line);
        entry.save()?;
    }
    Ok(String::new())
}

impl Entry {
    fn read(file: &Path) -> Result<Self, Refused> {
        let mut values = BTreeMap::new();
        let mut order = Vec::new();
        for line in std::fs::read_to_string(file)?.lines() {
            let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            if !key.is_empty() && !key.starts_with('#') {
                order.push(key.to_owned());
                values.insert(key.to_owned(), value.trim().to_owned());
            }
        }
        let id = file.file_stem().unwrap_or_default();
        Ok(Self {
            id: id.to_string_lossy().into_owned(),
            file: file.to_owned(),
            values,
            order,
        })
    }

    fn value(&self, key: &str) -> &str {
        self.values.get(key).map_or("", String::as_str)
    }

    fn set(&mut self, key: &str, value: String) {
        if self.values.insert(key.to_owned(), value).is_none() {
            self.order.push(key.to_owned());
        }
    }

    fn save(&self) -> Result<(), Refused> {
        let mut text = String::new();
        for key in &self.order {
            // Writing into a String can't fail.
            let _ = writeln!(text, "{key} {}", self.value(key));
        }
        let new = self.file.with_extension("conf.new");
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(new, &self.file)?)
    }

    /// Seen from the host: entries name their files from the root of `/boot`'s own file system.
    fn kernel(&self) -> String {
        below_boot(self.value("linux"))
    }

    fn describe(&self, index: usize, text: &mut String) {
        let mut root = "";
        let mut rest = Vec::new();
        for word in self.value("options").split_whitespace() {
            match word.strip_prefix("root=") {
                Some(device) => root = device,
                None => rest.push(word),
            }
        }
        let _ = writeln!(
            text,
            "index={index}\nkernel=\"{}\"\nargs=\"{}\"",
            self.kernel(),
            rest.join(" ")
        );
        if !root.is_empty() {
            let _ = writeln!(text, "root=\"{root}\"");
        }
        let _ = writeln!(
            text,
            "initrd=\"{}\"\ntitle=\"{}\"\nid=\"{}\"",
            below_boot(self.value("initrd")),
            self.value("title"),
            self.id
        );
    }
}

fn below_boot(path: &str) -> String {
    if path.starts_with("/boot/") || path.is_empty() {
        path.to_owned()
    } else {
        format!("/boot{path}")
    }
}

/// The entries as they stand in the menu: by their files' names, versions compared, the newest first.
fn entries(root: &Path) -> Result<Vec<Entry>, Refused> {
    let folder = root.join(ENTRIES);
    let Ok(listed) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let mut entries = Vec::new();
    for file in listed {
        let file = file?.path();
        if file.extension().is_some_and(|ending| ending == "conf") {
            entries.push(Entry::read(&file)?);
        }
    }
    entries.sort_by(|left, right| by_version(&right.id, &left.id));
    Ok(entries)
}

/// Compares names as `ls -v` does: runs of digits as numbers, all else byte by byte.
fn by_version(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    loop {
        let digits = |text: &str| {
            text.find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len())
        };
        let (l, r) = (digits(left), digits(right));
        if l > 0 && r > 0 {
            let (a, b) = (
                left[..l].trim_start_matches('0'),
                right[..r].trim_start_matches('0'),
            );
            let order = a.len().cmp(&b.len()).then_with(|| a.cmp(b));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (&left[l..], &right[r..]);
            continue;
        }
        match (left.chars().next(), right.chars().next()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(a), Some(b)) if a != b => return a.cmp(&b),
            (Some(a), Some(_)) => (left, right) = (&left[a.len_utf8()..], &right[a.len_utf8()..]),
        }
    }
}

/// The entry that boots next: what the environment names, by id, title or index; without one, the first.
fn default_index(root: &Path, entries: &[Entry]) -> Option<usize> {
    let environment = std::fs::read_to_string(root.join(ENVIRONMENT)).unwrap_or_default();
    let saved = environment
        .lines()
        .find_map(|line| line.strip_prefix("saved_entry="))
        .unwrap_or_default();
    let by_name = entries
        .iter()
        .position(|entry| entry.id == saved || entry.value("title") == saved);
    let by_index = saved.parse().ok().filter(|index| *index < entries.len());
    by_name
        .or(by_index)
        // What is named is gone: grub takes the first.
        .or((!entries.is_empty()).then_some(0))
}

fn save_default(root: &Path, id: &str) -> Result<(), Refused> {
    let path = root.join(ENVIRONMENT);
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let mut text = ENVIRONMENT_HEAD.to_owned();
    for line in old.lines() {
        if !line.starts_with('#') && !line.starts_with("saved_entry=") {
            text.push_str(line);
            text.push('\n');
        }
    }
    let _ = writeln!(text, "saved_entry={id}");
    let filler = ENVIRONMENT_SIZE.saturating_sub(text.len());
    text.push_str(&"#".repeat(filler));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, text)?)
}

/// Indexes of what a parameter names.
fn found(parameter: &str, entries: &[Entry], default: Option<usize>) -> Vec<usize> {
    match parameter {
        "ALL" => (0..entries.len()).collect(),
        "DEFAULT" => default.into_iter().collect(),
        _ => entries
            .iter()
            .enumerate()
            .filter(|(index, entry)| {
                entry.kernel() == parameter
                    || entry.value("linux") == parameter
                    || parameter.strip_prefix("TITLE=") == Some(entry.value("title"))
                    || parameter == index.to_string()
            })
            .map(|(index, _)| index)
            .collect(),
    }
}

/// A command line after a change.
fn changed(line: &str, remove: &str, add: &str) -> String {
    let name = |word: &str| word.split('=').next().unwrap_or(word).to_owned();
    let mut words: Vec<&str> = line.split_whitespace().collect();
    for gone in remove.split_whitespace() {
        // With a value: that value. Without: the name, whatever its value.
        words.retain(|word| *word != gone && (gone.contains('=') || name(word) != gone));
    }
    for new in add.split_whitespace() {
        words.retain(|word| name(word) != name(new));
    }
    words.extend(add.split_whitespace());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str = "5.14.0-427.13.1.el9_4.x86_64";
    const REALTIME: &str = "5.14.0-427.13.1.el9_4.x86_64+rt";

    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(ENTRIES)).unwrap();
        for release in [STOCK, REALTIME] {
            let text = format!(
                "title Linux ({release})\nversion {release}\nlinux /vmlinuz-{release}\ninitrd /initramfs-{release}.img\noptions root=UUID=0 ro quiet\n"
            );
            let file = root
                .path()
                .join(ENTRIES)
                .join(format!("0123-{release}.conf"));
            std::fs::write(file, text).unwrap();
        }
        root
    }

    fn of(root: &tempfile::TempDir, words: &[&str]) -> Printed {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        run(root.path(), &words)
    }

    #[test]
    fn the_default_is_kept() {
        let root = host();
        let realtime = format!("/boot/vmlinuz-{REALTIME}\n");
        let stock = format!("/boot/vmlinuz-{STOCK}");
        assert_eq!(of(&root, &["--default-kernel"]).stdout, realtime);
        let set = of(&root, &["--set-default", &stock]);
        assert_eq!(
            set.stdout,
            format!(
                "The default is /boot/loader/entries/0123-{STOCK}.conf with index 1 and kernel {stock}\n"
            )
        );
        assert_eq!(of(&root, &["--default-kernel"]).stdout.trim(), stock);
        assert_eq!(of(&root, &["--default-index"]).stdout, "1\n");
        let environment = std::fs::read(root.path().join(ENVIRONMENT)).unwrap();
        assert_eq!(environment.len(), ENVIRONMENT_SIZE);
        let wrong = of(&root, &["--set-default=/boot/vmlinuz-none"]);
        assert_eq!(
            (wrong.code, wrong.stderr.as_str()),
            (1, "The param /boot/vmlinuz-none is incorrect\n")
        );
        // The default's entry is gone: the first is taken.
        std::fs::remove_file(root.path().join(ENTRIES).join(format!("0123-{STOCK}.conf"))).unwrap();
        assert_eq!(of(&root, &["--default-kernel"]).stdout, realtime);
    }

    #[test]
    fn arguments_of_one_entry() {
        let root = host();
        let kernel = format!("--update-kernel=/boot/vmlinuz-{REALTIME}");
        let update = |words: &[&str]| of(&root, &[&[kernel.as_str()], words].concat());
        let info = |which: &str| of(&root, &[&format!("--info={which}")]).stdout;
        assert_eq!(
            update(&["--args=isolcpus=2-3 nohz=on", "--remove-args=quiet"]),
            Printed::default()
        );
        assert_eq!(
            info("DEFAULT"),
            format!(
                "index=0\nkernel=\"/boot/vmlinuz-{REALTIME}\"\nargs=\"ro isolcpus=2-3 nohz=on\"\nroot=\"UUID=0\"\n\
                 initrd=\"/boot/initramfs-{REALTIME}.img\"\ntitle=\"Linux ({REALTIME})\"\nid=\"0123-{REALTIME}\"\n"
            )
        );
        assert!(info("1").contains("args=\"ro quiet\""));
        update(&[
            "--args",
            "isolcpus=2-7 hugepagesz=2M hugepages=4 hugepagesz=1G hugepages=2",
        ]);
        assert!(info("0").contains(
            "\"ro nohz=on isolcpus=2-7 hugepagesz=2M hugepages=4 hugepagesz=1G hugepages=2\""
        ));
        update(&["--remove-args=isolcpus=2 hugepagesz hugepages"]);
        assert!(info("0").contains("\"ro nohz=on isolcpus=2-7\""));
        assert_eq!(info("ALL").matches("index=").count(), 2);
        assert_eq!(of(&root, &["--update-kernel=ALL", "--bogus"]).code, 1);
        assert_eq!(of(&root, &[]).stderr, "no action specified\n");
    }

    #[test]
    fn names_are_sorted_by_their_versions() {
        assert_eq!(by_version("a-9", "a-10"), Ordering::Less);
        assert_eq!(
            by_version("a-5.14.0-427+rt", "a-5.14.0-427"),
            Ordering::Greater
        );
    }
}
