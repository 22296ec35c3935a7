//! A small workspace in git, on which commands can work.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::xtask;

/// It is removed when this is dropped.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
}

impl Tree {
    /// With a crate `one` of which a test demands that `one()` is 1.
    pub(crate) fn new(name: &str) -> Tree {
        let root = std::env::temp_dir().join(format!("xtask-tree-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let tree = Tree { root };
        tree.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"one\", \"xtask\"]\n");
        tree.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"one\"\nversion = \"0.0.0\"\n\n[[package]]\nname = \"xtask\"\nversion = \"0.0.0\"\n");
        tree.write(".gitignore", "/target\n");
        for package in ["one", "xtask"] {
            let manifest =
                format!("[package]\nname = \"{package}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n");
            tree.write(&format!("{package}/Cargo.toml"), &manifest);
        }
        tree.write(
            "one/src/lib.rs",
            "pub fn one() -> u8 {\n    1\n}\n\n#[test]\nfn it_is_one() {\n    assert_eq!(one(), 1);\n}\n",
        );
        tree.write("xtask/src/lib.rs", "");
        tree.git(&["init", "--quiet"]);
        tree.git(&["add", "--all"]);
        tree
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let file = self.root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Writes a script that can be run.
    pub(crate) fn script(&self, file: &str, text: &str) {
        self.write(file, text);
        fs::set_permissions(self.root.join(file), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap()
    }

    /// The program, told of this tree as `cargo run` tells it.
    pub(crate) fn xtask(&self) -> Command {
        let mut xtask = xtask();
        xtask.env("CARGO_MANIFEST_DIR", self.root.join("xtask"));
        xtask
    }

    fn git(&self, args: &[&str]) {
        assert!(
            Command::new("git").args(args).current_dir(Path::new(&self.root)).status().unwrap().success()
        );
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
