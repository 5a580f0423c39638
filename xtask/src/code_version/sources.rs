//! Which sources an experiment's numbers come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::tokens::{Stripped, strip};
use super::{files_under, relative};

/// The crate that holds the experiments.
const FINDINGS: &str = "headwater-findings";

/// Crates of which an experiment depends on the modules that it uses, not on the whole.
const BY_MODULE: [&str; 2] = [FINDINGS, "headwater-tasks"];

/// Crates that run experiments and show what they found; of them only what a cell computes with
/// counts.
const RUNNERS: [(&str, Option<&str>); 2] =
    [("headwater-protocol", Some("src/context.rs")), ("headwater-report", None)];

/// The sources of a checkout, each read once.
pub(crate) struct Sources {
    workspace: PathBuf,
    stripped: BTreeMap<PathBuf, Stripped>,
    /// By crate, its manifest.
    manifests: BTreeMap<String, Table>,
    /// `profile` and `workspace.dependencies` of the root manifest.
    root: String,
    lock: Lock,
}

impl Sources {
    pub(crate) fn of(workspace: &Path) -> anyhow::Result<Self> {
        let mut manifests = BTreeMap::new();
        let crates = workspace.join("crates");
        let entries =
            fs::read_dir(&crates).with_context(|| format!("reading {}", crates.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", crates.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            manifests.insert(name, manifest(&entry.path().join("Cargo.toml"))?);
        }
        let root = manifest(&workspace.join("Cargo.toml"))?;
        let dependencies = root.get("workspace").and_then(|table| table.get("dependencies"));
        let parts = [root.get("profile"), dependencies];
        Ok(Self {
            workspace: workspace.to_owned(),
            stripped: BTreeMap::new(),
            manifests,
            root: format!("{parts:?}"),
            lock: Lock::read(&workspace.join("Cargo.lock"))?,
        })
    }

    /// Name and content of everything that the numbers of an experiment come from.
    pub(crate) fn of_experiment(&mut self, id: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let own =
            self.home(FINDINGS).join("experiments").join(format!("{}.rs", id.replace('-', "_")));
        if !own.is_file() {
            bail!("the experiment `{id}` has no file {}", relative(&self.workspace, &own));
        }
        let mut content = BTreeMap::new();
        let mut crates = BTreeSet::new();
        let mut ahead = vec![own];
        let mut files = BTreeSet::new();
        while let Some(module) = ahead.pop() {
            for file in self.module_files(&module)? {
                if !files.insert(file.clone()) {
                    continue;
                }
                let Stripped { code, paths, .. } = self.stripped(&file)?.clone();
                content.insert(relative(&self.workspace, &file), code);
                let home = self.home_of(&file);
                for mut path in paths {
                    let named = path[0].replace('_', "-");
                    if BY_MODULE.contains(&named.as_str()) {
                        path[0] = "crate".to_owned();
                        match resolved(&self.home(&named), &file, &path) {
                            Some(module) => ahead.push(module),
                            None => _ = crates.insert(named),
                        }
                    } else if named.starts_with("headwater-") {
                        crates.insert(named);
                    } else {
                        ahead.extend(resolved(&home, &file, &path));
                    }
                }
            }
        }
        for name in self.with_dependencies(crates) {
            self.add_crate(&name, &mut content)?;
        }
        let external = BY_MODULE.iter().flat_map(|name| self.dependencies(name));
        let external = external.filter(|name| !name.starts_with("headwater-"));
        let external: BTreeSet<String> = external.map(str::to_owned).collect();
        let named = content.keys().filter_map(|name| name.strip_prefix("manifest of "));
        let packages = named.map(str::to_owned).chain(external);
        content.insert("locked".to_owned(), self.lock.reached(packages.collect()));
        content.insert("root manifest".to_owned(), self.root.clone());
        Ok(content)
    }

    fn home(&self, name: &str) -> PathBuf {
        self.workspace.join("crates").join(name).join("src")
    }

    /// The `src` of the crate that a file belongs to.
    fn home_of(&self, file: &Path) -> PathBuf {
        let homes = BY_MODULE.iter().map(|name| self.home(name));
        homes.into_iter().find(|home| file.starts_with(home)).unwrap_or_else(|| self.home(FINDINGS))
    }

    /// Crates with those that they depend on, without those that only run and show.
    fn with_dependencies(&self, crates: BTreeSet<String>) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut ahead: Vec<String> = crates.into_iter().collect();
        while let Some(name) = ahead.pop() {
            if all.insert(name.clone()) && !is_runner(&name) {
                ahead.extend(self.dependencies(&name).map(str::to_owned));
            }
        }
        all.retain(|name| self.manifests.contains_key(name));
        all
    }

    /// What a crate's manifest names, but for its tests.
    fn dependencies(&self, name: &str) -> impl Iterator<Item = &str> {
        let manifest = self.manifests.get(name);
        let tables = manifest.and_then(|manifest| manifest.get("dependencies"));
        tables.and_then(Value::as_table).into_iter().flat_map(Table::keys).map(String::as_str)
    }

    fn add_crate(
        &mut self,
        name: &str,
        content: &mut BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let runner = RUNNERS.iter().find(|(runner, _)| *runner == name);
        let folder = self.workspace.join("crates").join(name);
        let files = match runner {
            Some((_, None)) => return Ok(()),
            Some((_, Some(file))) => vec![folder.join(file)],
            None => {
                let manifest = &self.manifests[name];
                let parts = ["dependencies", "features", "lib"].map(|part| manifest.get(part));
                content.insert(format!("manifest of {name}"), format!("{parts:?}"));
                self.module_files(&folder.join("src"))?
            }
        };
        for file in files {
            let code = self.stripped(&file)?.code.clone();
            content.insert(relative(&self.workspace, &file), code);
        }
        Ok(())
    }

    /// The file of a module and those of the modules in it, without those for tests; or all of a
    /// folder.
    fn module_files(&mut self, module: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let folder = module.with_extension("");
        let mut files: Vec<PathBuf> = Vec::new();
        if module.is_file() {
            files.push(module.to_owned());
        }
        if folder.is_dir() {
            files.extend(files_under(&folder)?.into_iter().filter(|path| is_rust(path)));
        }
        files.sort();
        let mut left_out = Vec::new();
        for file in &files {
            let inside = submodules(file);
            for name in &self.stripped(file)?.test_modules {
                left_out.push(inside.join(name));
            }
        }
        files.retain(|file| !left_out.iter().any(|test| file.with_extension("").starts_with(test)));
        Ok(files)
    }

    fn stripped(&mut self, file: &Path) -> anyhow::Result<&Stripped> {
        if !self.stripped.contains_key(file) {
            let name = relative(&self.workspace, file);
            let text = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
            let stripped = strip(&text).with_context(|| format!("parsing {name}"))?;
            self.stripped.insert(file.to_owned(), stripped);
        }
        Ok(&self.stripped[file])
    }
}

fn is_runner(name: &str) -> bool {
    RUNNERS.iter().any(|(runner, _)| *runner == name)
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Where the modules lie that a file declares.
fn submodules(file: &Path) -> PathBuf {
    let is_root = ["lib.rs", "mod.rs", "main.rs"].iter().any(|root| file.ends_with(root));
    if is_root { file.parent().unwrap_or(file).to_owned() } else { file.with_extension("") }
}

/// The file of the innermost module that a path names, if it names one of the crate at `home`.
fn resolved(home: &Path, file: &Path, path: &[String]) -> Option<PathBuf> {
    // What a file is called is its module's path.
    let mut folder = match path[0].as_str() {
        "crate" => home.to_owned(),
        _ => submodules(file),
    };
    let mut found = None;
    for segment in path {
        match segment.as_str() {
            "crate" | "self" => {}
            "super" => {
                folder = folder.parent()?.to_owned();
                let module = folder.with_extension("rs");
                found = module.is_file().then_some(module);
            }
            name => {
                let module = folder.join(format!("{name}.rs"));
                let nested = folder.join(name).join("mod.rs");
                if module.is_file() {
                    found = Some(module);
                } else if !nested.is_file() {
                    break;
                } else {
                    found = None;
                }
                folder = folder.join(name);
            }
        }
    }
    found
}

fn manifest(path: &Path) -> anyhow::Result<Table> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.parse().with_context(|| format!("parsing {}", path.display()))
}

/// The locked packages: name with version and checksum, and what each depends on.
struct Lock(BTreeMap<String, (String, Vec<String>)>);

impl Lock {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let lock = manifest(path)?;
        let packages = lock.get("package").and_then(Value::as_array);
        let mut known: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for package in packages.into_iter().flatten() {
            let of = |field: &str| package.get(field).and_then(Value::as_str).unwrap_or_default();
            let line = format!("{} {} {}\n", of("name"), of("version"), of("checksum"));
            let needs = package.get("dependencies").and_then(Value::as_array);
            let needs = needs.into_iter().flatten().filter_map(Value::as_str);
            // Where two versions are locked it is `name version`; both are taken, which is no harm.
            let needs = needs.filter_map(|need| need.split(' ').next()).map(str::to_owned);
            let entry = known.entry(of("name").to_owned()).or_default();
            entry.0.push_str(&line);
            entry.1.extend(needs);
        }
        Ok(Self(known))
    }

    /// What is reached from these packages, a line each.
    fn reached(&self, from: Vec<String>) -> String {
        let mut seen = BTreeSet::new();
        let mut ahead = from;
        while let Some(name) = ahead.pop() {
            if let Some((_, needs)) = self.0.get(&name)
                && seen.insert(name)
            {
                ahead.extend(needs.iter().cloned());
            }
        }
        seen.iter().map(|name| self.0[name].0.as_str()).collect()
    }
}
