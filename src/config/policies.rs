//! The policies a configuration names: files, folders, or policies written in it.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    decide::{self, Part, PolicySet},
    diagnostic::{Diagnostics, Location, Source},
    yaml::{self, Kind, Node},
};

use super::{Surroundings, values::names};

/// Policy files in all: each is up to a megabyte, and a folder of more is not a folder of policies.
const MAX_FILES: usize = 1000;

/// Policies, and what they were read from.
#[derive(Clone, Debug)]
pub struct Policies {
    pub set: Arc<PolicySet>,
    pub written: Written,
}

/// Policies as they were written, in their order.
#[derive(Clone, Debug, Default)]
pub struct Written(Vec<PolicySource>);

/// Policies, read but not compiled.
#[derive(Clone, Debug)]
enum PolicySource {
    /// A policy file.
    File(Node),
    /// One policy written in the configuration itself.
    Inline(Node),
    /// The condition on what counts as a root.
    Root(Node),
}

/// Reads and compiles what `policies` lists, in its order; a folder stands for its `*.yaml` and `*.yml` in byte order of path.
/// `root` is the condition on what counts as a root. With the files and folders that were named.
pub(super) fn read(
    node: &Node,
    root: Option<&Node>,
    around: &Surroundings<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<(Policies, Vec<PathBuf>)> {
    let before = diagnostics.0.len();
    let (mut sources, mut paths) = (Vec::new(), Vec::new());
    let entries = match &node.kind {
        Kind::Seq(entries) => entries.as_slice(),
        Kind::Map(_) => node.as_seq("`policies`", diagnostics)?,
        Kind::Scalar { .. } => std::slice::from_ref(node),
    };
    for entry in entries {
        if let Kind::Map(_) = &entry.kind {
            sources.push(PolicySource::Inline(entry.clone()));
            continue;
        }
        for (name, at) in names(entry, "`policies`", diagnostics).unwrap_or_default() {
            let path = around.path(&name, &at);
            open(&path, &at, &mut sources, diagnostics)?;
            paths.push(path);
        }
    }
    if sources.is_empty() && diagnostics.0.len() == before {
        diagnostics.error(&node.at, "no policies").hint(super::POLICIES);
    }
    if diagnostics.0.len() > before {
        return None;
    }
    sources.extend(root.cloned().map(PolicySource::Root));
    Some((compile(sources, diagnostics)?, paths))
}

/// Reads and compiles files and folders that were named on the command line. `root` is the condition on what counts as a root,
/// which was checked before.
///
/// # Errors
/// Every mistake in them.
pub fn load(paths: &[PathBuf], root: Option<&str>) -> Result<Policies, Diagnostics> {
    let (mut sources, mut diagnostics) = (Vec::new(), Diagnostics::default());
    for path in paths {
        let source = Arc::new(Source { name: "the command line".into(), text: path.display().to_string() });
        let at = Location { range: 0..source.text.len(), source };
        if open(path, &at, &mut sources, &mut diagnostics).is_none() {
            return Err(diagnostics);
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    sources.extend(root.map(|root| {
        let source = Arc::new(Source { name: "completion.root".into(), text: root.into() });
        PolicySource::Root(Node::plain(Location { range: 0..root.len(), source }, root))
    }));
    compile(sources, &mut diagnostics).ok_or(diagnostics)
}

fn compile(sources: Vec<PolicySource>, diagnostics: &mut Diagnostics) -> Option<Policies> {
    let written = Written(sources);
    let set = Arc::new(PolicySet::compile(&written.parts(), diagnostics)?);
    Some(Policies { set, written })
}

/// A hash of what files hold, and those of folders: another one tells that something was changed. It is good in this process.
///
/// Whatever the way it is brought there, by a write, a rename or, in a folder that Kubernetes mounts, the swap of a link two
/// folders above, it is seen; times and numbers of files tell some of them only.
pub fn contents(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        let mut files = if path.is_dir() { list(path).unwrap_or_default() } else { vec![path.clone()] };
        files.sort();
        for file in files {
            file.hash(&mut hasher);
            // What is no file, as a pipe, can be read once only.
            if file.is_file() {
                yaml::open(&file).map(|source| source.text.clone()).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

/// Reads a file, or those of a folder; None where there are too many.
fn open(path: &Path, at: &Location, sources: &mut Vec<PolicySource>, diagnostics: &mut Diagnostics) -> Option<()> {
    for path in files(path, at, diagnostics) {
        if sources.len() == MAX_FILES {
            diagnostics.error(at, format!("more than {MAX_FILES} policy files"));
            return None;
        }
        match yaml::open(&path) {
            Ok(source) => sources.extend(yaml::parse(source, diagnostics).map(PolicySource::File)),
            Err(message) => {
                diagnostics.error(at, message);
            }
        }
    }
    Some(())
}

/// A path itself, or the policy files in it. Empty, and an error, where there are none.
fn files(path: &Path, at: &Location, diagnostics: &mut Diagnostics) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut files = match list(path) {
        Ok(files) => files,
        Err(error) => {
            diagnostics.error(at, format!("cannot read {}: {error}", path.display()));
            return Vec::new();
        }
    };
    if files.is_empty() {
        diagnostics
            .error(at, format!("{} holds no policy file", path.display()))
            .hint("policy files are its *.yaml and *.yml; folders in it are not looked into");
    }
    files.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    files
}

/// One more than is allowed at most, so that the caller sees it.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        // Hidden files are an editor's; a folder mounted from Kubernetes has links to files, which are followed.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if yaml && !hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            break;
        }
    }
    Ok(files)
}

// === impl Written ===

impl Written {
    /// The roots of the policy files.
    pub fn files(&self) -> impl Iterator<Item = &Node> {
        self.0.iter().filter_map(|source| match source {
            PolicySource::File(node) => Some(node),
            PolicySource::Inline(_) | PolicySource::Root(_) => None,
        })
    }

    /// What they say and can hardly mean.
    pub fn lint(&self) -> Diagnostics {
        decide::lint(&self.parts())
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let parts = self.0.iter().map(|source| match source {
            PolicySource::File(node) => Part::File(node),
            PolicySource::Inline(node) => Part::Policy(node),
            PolicySource::Root(node) => Part::Root(node),
        });
        parts.collect()
    }
}
