//! `cargo xtask env up fake`, with scripts in the place of cargo and of the verifier.

use crate::text;
use crate::tree::Tree;

/// Writes down what it was called with, and says where it serves, as the verifier does.
const VERIFIER: &str = "#!/bin/sh
echo \"$@\" > \"$0.args\"
echo KAFKA_CONNECT=127.0.0.1:7,127.0.0.1:8
";

/// Builds nothing.
const CARGO: &str = "#!/bin/sh
case \"$1\" in metadata) echo '{\"packages\":[]}' ;; esac
";

#[test]
fn the_fake_gets_the_options_of_env_up() {
    let tree = Tree::new("playing");
    tree.script("cargo", CARGO);
    tree.script("target/release/rskafka-verifier", VERIFIER);
    let up = |options: &[&str]| {
        let mut xtask = tree.xtask();
        let output =
            xtask.args(["env", "up", "fake"]).args(options).env("CARGO", tree.root.join("cargo")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains("\nKAFKA_CONNECT=127.0.0.1:7,127.0.0.1:8\n"), "{}", text(&output));
        tree.read("target/release/rskafka-verifier.args")
    };
    assert_eq!(up(&[]), "fake\n");
    let options = ["--topic", "wal:3:2", "--brokers", "2", "--topic", "other:1", "--profile", "kafka-3.9"];
    let expected = "fake --brokers=2 --profile=kafka-3.9 --topic=wal:3:2 --topic=other:1\n";
    assert_eq!(up(&options), expected);
}
