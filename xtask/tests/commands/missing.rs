//! What is missing on a machine is said in one line, at once, with what to do, and the command fails.

use std::fs;

use crate::tree::Tree;
use crate::{text, xtask};

/// Runs a command where no program is found but cargo, or with these variables.
fn said(tree: &Tree, args: &[&str], variables: &[(&str, &str)]) -> String {
    let nothing = tree.root.join("nothing");
    fs::create_dir_all(&nothing).unwrap();
    let output = tree
        .xtask()
        .args(args)
        .env("PATH", nothing)
        .env_remove("JAVA_HOME")
        .envs(variables.to_vec())
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
    let text = text(&output);
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    text
}

#[test]
fn without_java_every_command_that_needs_it_says_so_before_it_builds_anything() {
    let tree = Tree::new("no-java");
    for args in
        [&["env", "up", "kafka"][..], &["demo", "--env", "kafka"], &["chaos"], &["test", "--env", "kafka"]]
    {
        let text = said(&tree, args, &[]);
        assert!(text.starts_with("error: no Java: java cannot be run"), "{args:?}: {text}");
        assert!(text.contains("apt-get install openjdk-17-jre-headless maven"), "{args:?}: {text}");
    }
    let text = said(&tree, &["env", "up", "kafka"], &[("JAVA_HOME", "/nowhere")]);
    assert!(text.contains("/nowhere/bin/java cannot be run"), "{text}");
}

#[test]
fn without_maven_the_command_says_so() {
    let tree = Tree::new("no-maven");
    let home = tree.root.join("java");
    tree.script("java/bin/java", "#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n");
    let text = said(&tree, &["env", "up", "kafka"], &[("JAVA_HOME", home.to_str().unwrap())]);
    assert!(text.starts_with("error: no Maven: mvn cannot be run"), "{text}");
}

#[test]
fn without_docker_the_command_says_so_and_names_what_needs_none() {
    let tree = Tree::new("no-docker");
    for command in ["up", "down", "status"] {
        let text = said(&tree, &["env", command, "docker-kafka"], &[]);
        assert!(text.contains("needs Docker Compose"), "{text}");
        assert!(text.contains("`cargo xtask env up fake` need no Docker"), "{text}");
    }
}

#[test]
fn help_needs_nothing() {
    let output = xtask().args(["chaos", "--help"]).env("PATH", "").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
