//! A patch with a header that `git apply` passes over: `bug:`, what is wrong, and `caught-by:`, the test that fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::net::Net;
use crate::{children, workspace};

/// Where they are.
pub(crate) const FOLDER: &str = "xtask/planted";

/// One bug.
#[derive(Debug)]
pub(crate) struct Patch {
    /// The name of its file, without `.patch`.
    pub(crate) name: String,
    pub(crate) bug: String,
    pub(crate) net: Net,
    file: PathBuf,
}

/// All patches of a tree, by name.
pub(crate) fn all(root: &Path) -> Result<Vec<Patch>> {
    let folder = root.join(FOLDER);
    let mut files = workspace::files_below(&folder)?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch"));
    ensure!(!files.is_empty(), "there is no patch in {FOLDER}");
    files.into_iter().map(Patch::read).collect()
}

impl Patch {
    fn read(file: PathBuf) -> Result<Patch> {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let (bug, net) = header(&text).with_context(|| format!("{FOLDER}/{name}.patch"))?;
        Ok(Patch { name, bug, net, file })
    }

    /// Whether it applies to the tree.
    pub(crate) fn check(&self, tree: &Path) -> Result<()> {
        self.git_apply(tree, &["--check"])
    }

    /// `git apply` with these arguments.
    pub(crate) fn git_apply(&self, tree: &Path, args: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        git.arg("apply").args(args).arg(&self.file).current_dir(tree);
        // Within a repository's folder that is not its root, git would pass over all files of the patch.
        if let Some(above) = tree.canonicalize()?.parent() {
            git.env("GIT_CEILING_DIRECTORIES", above);
        }
        children::succeed(&mut git, &format!("{FOLDER}/{}.patch does not apply", self.name))
    }
}

/// What stands before the first line of the diff.
fn header(text: &str) -> Result<(String, Net)> {
    let lines = || text.lines().take_while(|line| !line.starts_with("diff ") && !line.starts_with("--- "));
    let field = |name: &str| {
        let value = lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        value.filter(|value| !value.is_empty()).with_context(|| format!("no line `{name} …` before the diff"))
    };
    Ok((field("bug:")?.to_owned(), Net::parse(field("caught-by:")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-one\n+two\n";

    fn patch(folder: &Path, text: &str) -> Result<Patch> {
        let file = folder.join("planted.patch");
        fs::write(&file, text).unwrap();
        Patch::read(file)
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_patch_without_its_header_is_refused() {
        let folder = folder("header");
        let good = format!("bug: one\ncaught-by: -p xtask\n{DIFF}");
        assert_eq!(patch(&folder, &good).unwrap().bug, "one");
        for text in [
            DIFF.to_owned(),
            format!("bug: one\n{DIFF}"),
            format!("bug:\ncaught-by: -p xtask\n{DIFF}"),
            format!("{DIFF}bug: one\ncaught-by: -p xtask\n"),
        ] {
            let error = format!("{:#}", patch(&folder, &text).unwrap_err());
            assert!(error.contains("planted.patch") && error.contains("before the diff"), "{error}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_patch_that_no_longer_applies_is_named() {
        let folder = folder("applies");
        let patch = patch(&folder, &format!("bug: one\ncaught-by: -p xtask\n{DIFF}")).unwrap();
        fs::write(folder.join("a"), "one\n").unwrap();
        patch.check(&folder).unwrap();
        patch.git_apply(&folder, &[]).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "two\n");
        let error = patch.check(&folder).unwrap_err().to_string();
        assert!(error.contains("xtask/planted/planted.patch does not apply"), "{error}");
        patch.git_apply(&folder, &["--reverse"]).unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "one\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
