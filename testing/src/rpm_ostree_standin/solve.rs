//! From requests and packages to a tree: which overrides are active, what is layered, which kernel is left. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::origin::{Origin, name_of};
use super::package::{Capability, Package};
use super::state::Version;

/// Where packages may come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Metadata of repositories, by id.
    pub repositories: Vec<(String, Vec<Package>)>,
    /// What the merge deployment has layered: taken first when nothing may be resolved anew.
    pub layered: Vec<Package>,
    /// Imported packages.
    pub pkgcache: BTreeMap<String, Package>,
    /// Nothing is resolved anew.
    pub offline: bool,
    /// Removals that shall stay without effect.
    pub inactive: BTreeSet<String>,
    /// Names that shall not be found.
    pub hidden: BTreeSet<String>,
}

/// The result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Solution {
    /// Base packages that go.
    pub removed: Vec<Package>,
    /// Packages that come, with the repository they are from; `@commandline` for files.
    pub added: Vec<(Package, String)>,
    /// New and old, from files.
    pub replaced_local: Vec<(Package, Package)>,
    /// New and old, from repositories, by `repo=id`.
    pub replaced_remote: BTreeMap<String, Vec<(Package, Package)>>,
    /// Requested and without effect: names.
    pub inactive_removals: Vec<String>,
    /// Requested and without effect: NEVRAs.
    pub inactive_replacements: Vec<String>,
    /// By-name requests with effect.
    pub active_requests: BTreeSet<String>,
    /// All packages of the result, sorted.
    pub packages: Vec<Package>,
}

impl Solution {
    /// Whether the result is the base itself.
    pub fn is_base(&self) -> bool {
        self.removed.is_empty()
            && self.added.is_empty()
            && self.replaced_local.is_empty()
            && self.replaced_remote.is_empty()
    }

    /// How many overrides are applied.
    pub fn overrides(&self) -> usize {
        self.removed.len()
            + self.replaced_local.len()
            + self.replaced_remote.values().map(Vec::len).sum::<usize>()
    }

    fn replacements(&self) -> impl Iterator<Item = &(Package, Package)> {
        self.replaced_local
            .iter()
            .chain(self.replaced_remote.values().flatten())
    }

    /// Whether the kernel's files are touched, so that the initramfs is built anew.
    pub fn changes_kernel(&self) -> bool {
        self.removed.iter().any(Package::is_kernel)
            || self.added.iter().any(|(one, _)| one.is_kernel())
            || self.replacements().any(|(one, _)| one.is_kernel())
    }

    /// The one kernel of the tree. Removing any package that is "the kernel" takes the base's kernel files away.
    pub fn kernel(&self) -> Result<String, String> {
        let wiped = self.removed.iter().any(Package::is_kernel)
            || self.replacements().any(|(_, old)| old.is_kernel());
        let brought: BTreeSet<String> = self
            .added
            .iter()
            .map(|(one, _)| one.nevra())
            .chain(self.replacements().map(|(new, _)| new.nevra()))
            .collect();
        let kernels: Vec<&str> = self
            .packages
            .iter()
            .filter(|one| !wiped || brought.contains(&one.nevra()))
            .filter_map(|one| one.kernel.as_deref())
            .collect();
        match kernels.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err("/usr/lib/modules is empty".to_owned()),
            several => Err(format!(
                "Multiple kernels (vmlinuz) found in: usr/lib/modules: {}",
                several.join(" ")
            )),
        }
    }
}

/// Solves. The error is rpm-ostree's text after `error: `.
pub fn solve(
    base: &[Package],
    origin: &Origin,
    sources: &Sources,
    version: Version,
) -> Result<Solution, String> {
    let mut solution = Solution::default();
    apply_overrides(base, origin, sources, &mut solution)?;
    let gone: BTreeSet<String> = solution
        .removed
        .iter()
        .chain(solution.replacements().map(|(_, old)| old))
        .map(Package::nevra)
        .collect();
    let mut kept: Vec<Package> = base
        .iter()
        .filter(|one| !gone.contains(&one.nevra()))
        .cloned()
        .collect();
    kept.extend(solution.replacements().map(|(new, _)| new.clone()));
    let wanted = choose_requested(&kept, origin, sources, &mut solution)?;
    let solver = Solver {
        base,
        kept: &kept,
        sources,
        version,
    };
    solution.added = solver.with_dependencies(wanted)?;
    kept.extend(solution.added.iter().map(|(one, _)| one.clone()));
    kept.sort_by_key(Package::nevra);
    solution.added.sort_by_key(|(one, _)| one.nevra());
    solution.removed.sort_by_key(Package::nevra);
    solution.packages = kept;
    Ok(solution)
}

fn apply_overrides(
    base: &[Package],
    origin: &Origin,
    sources: &Sources,
    solution: &mut Solution,
) -> Result<(), String> {
    for name in &origin.removals {
        match base.iter().find(|one| one.name == *name) {
            Some(package) if !sources.inactive.contains(name) => {
                solution.removed.push(package.clone());
            }
            _ => solution.inactive_removals.push(name.clone()),
        }
    }
    for nevra in origin.replacements.keys() {
        let old = base.iter().find(|one| one.name == name_of(nevra));
        match (old, sources.pkgcache.get(nevra)) {
            (Some(old), Some(new)) if old.nevra() != *nevra => {
                solution.replaced_local.push((new.clone(), old.clone()));
            }
            _ => solution.inactive_replacements.push(nevra.clone()),
        }
    }
    for (source, names) in &origin.remote_replacements {
        let id = source.strip_prefix("repo=").unwrap_or(source);
        for name in names {
            let layered = sources
                .layered
                .iter()
                .filter(|one| sources.offline && one.name == *name);
            let listed = sources
                .repositories
                .iter()
                .filter(|(one, _)| one == id)
                .flat_map(|(_, list)| list);
            let new = layered
                .chain(listed.filter(|one| one.name == *name))
                .max_by(|a, b| a.compare(b))
                .ok_or_else(|| format!("No matches for '{name}' in repo '{id}'"))?;
            if let Some(old) = base.iter().find(|one| one.name == *name)
                && old.nevra() != new.nevra()
            {
                solution
                    .replaced_remote
                    .entry(source.clone())
                    .or_default()
                    .push((new.clone(), old.clone()));
            }
        }
    }
    Ok(())
}

/// The requested packages, without dependencies.
fn choose_requested(
    kept: &[Package],
    origin: &Origin,
    sources: &Sources,
    solution: &mut Solution,
) -> Result<Vec<(Package, String)>, String> {
    let mut wanted: Vec<(Package, String)> = Vec::new();
    for nevra in origin.requested_local.keys() {
        if kept.iter().any(|one| one.nevra() == *nevra) {
            return Err(format!("Package '{nevra}' is already in the base"));
        }
        if let Some(package) = sources.pkgcache.get(nevra) {
            wanted.push((package.clone(), "@commandline".to_owned()));
        }
    }
    let mut missing = Vec::new();
    for request in &origin.requested {
        if kept.iter().any(|one| one.matches(request)) {
            continue;
        }
        if wanted.iter().any(|(one, _)| one.matches(request)) {
            solution.active_requests.insert(request.clone());
            continue;
        }
        let best = best(sources, |one| one.matches(request));
        match best {
            Some(found) if !sources.hidden.contains(request) => {
                solution.active_requests.insert(request.clone());
                if !wanted.iter().any(|(one, _)| one.nevra() == found.0.nevra()) {
                    wanted.push(found);
                }
            }
            _ => missing.push(request.as_str()),
        }
    }
    if missing.is_empty() {
        Ok(wanted)
    } else {
        Err(format!("Packages not found: {}", missing.join(", ")))
    }
}

/// The newest package that fits; offline, what is layered already.
fn best(sources: &Sources, fits: impl Fn(&Package) -> bool) -> Option<(Package, String)> {
    if sources.offline
        && let Some(found) = sources.layered.iter().find(|one| fits(one))
    {
        return Some((found.clone(), "@commandline".to_owned()));
    }
    let listed = sources
        .repositories
        .iter()
        .flat_map(|(id, list)| list.iter().map(move |one| (one, id.as_str())));
    let cached = sources
        .pkgcache
        .values()
        .filter(|_| sources.offline)
        .map(|one| (one, "@commandline"));
    listed
        .chain(cached)
        .filter(|(one, _)| fits(one) && !sources.hidden.contains(&one.name))
        .max_by(|(a, _), (b, _)| a.compare(b))
        .map(|(one, id)| (one.clone(), id.to_owned()))
}

struct Solver<'a> {
    base: &'a [Package],
    kept: &'a [Package],
    sources: &'a Sources,
    version: Version,
}

impl Solver<'_> {
    fn with_dependencies(
        &self,
        wanted: Vec<(Package, String)>,
    ) -> Result<Vec<(Package, String)>, String> {
        let mut problems = self.same_name(&wanted);
        let mut chosen = wanted;
        let mut index = 0;
        while let Some((package, from)) = chosen.get(index).cloned() {
            index += 1;
            if let Some(conflict) = self.conflict(&package, &from) {
                problems.push(conflict);
            }
            for requirement in &package.requires {
                let has = |one: &Package| one.satisfies(requirement);
                if self.kept.iter().any(has) || chosen.iter().any(|(one, _)| has(one)) {
                    continue;
                }
                if let Some(found) = best(self.sources, has) {
                    chosen.push(found);
                    continue;
                }
                problems.push(self.missing(&package, &from, requirement));
                break;
            }
        }
        if let Some(problem) = self.broken_base(&chosen) {
            problems = vec![problem];
        }
        match problems.as_slice() {
            [] => Ok(chosen),
            [one] => Err(format!(
                "Could not depsolve transaction; 1 problem detected:\n Problem: {one}"
            )),
            several => {
                let list: Vec<String> = several
                    .iter()
                    .enumerate()
                    .map(|(index, problem)| format!(" Problem {}: {problem}", index + 1))
                    .collect();
                Err(format!(
                    "Could not depsolve transaction; {} problems detected:\n{}",
                    several.len(),
                    list.join("\n")
                ))
            }
        }
    }

    fn named(&self, package: &Package, from: &str) -> String {
        match self.version {
            Version::V2023_2 => package.nevra(),
            Version::V2024_7 => format!("{} from {from}", package.nevra()),
        }
    }

    fn same_name(&self, wanted: &[(Package, String)]) -> Vec<String> {
        let mut problems = Vec::new();
        for (index, (one, from)) in wanted.iter().enumerate() {
            for (other, other_from) in wanted.iter().skip(index + 1) {
                if one.name == other.name {
                    let mut both = [(one, from), (other, other_from)];
                    both.sort_by(|(a, _), (b, _)| b.compare(a));
                    let [newer, older] = both.map(|(package, from)| self.named(package, from));
                    problems.push(format!(
                        "cannot install both {newer} and {older}\n  - conflicting requests"
                    ));
                }
            }
        }
        problems
    }

    fn conflict(&self, package: &Package, from: &str) -> Option<String> {
        package.conflicts.iter().find_map(|conflict| {
            let other = self.kept.iter().find(|one| one.satisfies(conflict))?;
            Some(format!(
                "package {} conflicts with {conflict} provided by {}\n  - conflicting requests",
                self.named(package, from),
                self.named(other, "@System")
            ))
        })
    }

    fn missing(&self, package: &Package, from: &str, requirement: &Capability) -> String {
        let package = self.named(package, from);
        if self.base.iter().any(|one| one.satisfies(requirement)) {
            format!(
                "package {package} requires {requirement}, but none of the providers can be installed\n  - \
                 conflicting requests"
            )
        } else {
            format!("conflicting requests\n  - nothing provides {requirement} needed by {package}")
        }
    }

    /// A package of the base that lost what it requires; of several the last by name is reported.
    fn broken_base(&self, chosen: &[(Package, String)]) -> Option<String> {
        self.base
            .iter()
            // One that stays by a fault is unknown to the solver, as in the reports of inactive removals.
            .filter(|one| self.kept.contains(one) && !self.sources.inactive.contains(&one.name))
            .filter_map(|package| {
                let lost = package.requires.iter().find(|requirement| {
                    let has = |one: &Package| one.satisfies(requirement);
                    self.base.iter().any(has)
                        && !self.kept.iter().any(has)
                        && !chosen.iter().any(|(one, _)| has(one))
                })?;
                Some((package, lost))
            })
            .max_by_key(|(package, _)| package.name.clone())
            .map(|(package, requirement)| self.missing(package, "@System", requirement))
    }
}
