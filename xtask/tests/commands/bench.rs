//! What `cargo xtask bench` makes of what its targets measure, with scripts in the place of cargo and of the targets.

use crate::text;
use crate::tree::Tree;

/// There is one package with a target of each kind; it builds the scripts below.
const CARGO: &str = r#"#!/bin/sh
target() {
    echo '{"name":"'$1'","kind":["bench"]}'
}
case "$*" in
metadata*) echo '{"packages":[{"name":"one","manifest_path":"ROOT/one/Cargo.toml","publish":null,"features":{},"dependencies":[],"targets":['$(target limits),$(target speed)']}]}' ;;
*--bench*) echo '{"reason":"compiler-artifact","manifest_path":"ROOT/one/Cargo.toml","target":{"name":"'$5'"},"profile":{"test":true},"executable":"ROOT/'$5'"}' ;;
esac
"#;
const LIMITS: &str = r#"#!/bin/sh
echo '{"name":"held","what":"appends","allocations":[3,3]}'
echo '{"name":"MISS","what":"fetches","allocations":[3,COUNT]}'
printf '%s\n' '{"section":"machine","text":"'"$MACHINE"'\n"}'
printf '%s\n' '{"section":"calls","text":"what calls take\n"}'
"#;
const SPEED: &str = r#"#!/bin/sh
new="$CRITERION_HOME/compress/lz4/new"
/bin/mkdir -p "$new"
echo '{"group_id":"compress","function_id":"lz4","value_str":null,"throughput":{"Bytes":1000}}' > "$new/benchmark.json"
echo '{"median":{"point_estimate":10}}' > "$new/estimates.json"
"#;

/// Whether the command is content, and what it says, if a count is this where 3 is the most.
fn bench(tree: &Tree, count: &str, args: &[&str]) -> (bool, String) {
    let root = tree.root.to_str().unwrap();
    tree.script("cargo", &CARGO.replace("ROOT", root));
    tree.script("limits", &LIMITS.replace("COUNT", count));
    tree.script("speed", SPEED);
    let sections = ["machine", "limits", "calls", "records", "codecs", "messages"];
    let page = sections.map(|name| format!("<!-- measured: {name} -->\nold\n<!-- end: {name} -->\n"));
    tree.write("docs/benchmarks.md", &page.concat());
    // Without a path there is no Java.
    let mut xtask = tree.xtask();
    let output = xtask.arg("bench").args(args).env("CARGO", tree.root.join("cargo")).env("PATH", "").output();
    let output = output.unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn a_limit_that_is_missed_is_named_and_fails_a_check() {
    let tree = Tree::new("bench");
    let (is_content, said) = bench(&tree, "3", &[]);
    assert!(is_content && said.contains("all 2 limits are held"), "{said}");
    assert!(said.contains("NOTHING IS MEASURED ON A REAL BROKER: no Java"), "{said}");
    let (is_content, said) = bench(&tree, "4", &[]);
    assert!(is_content && said.contains("1 of 2 limits are missed: MISS"), "{said}");
    assert!(said.contains("| fetches |  |  | 4 | 3 |  |  | MISSED (count) |"), "{said}");
    let (is_content, said) = bench(&tree, "4", &["--check"]);
    assert!(!is_content && said.contains("error: limits are missed"), "{said}");
    let (is_content, said) = bench(&tree, "3", &["--check"]);
    assert!(!is_content && said.contains("error: not all limits were measured: Kafka"), "{said}");
}

#[test]
fn what_was_measured_is_written_into_the_page() {
    let tree = Tree::new("bench-docs");
    let (is_content, said) = bench(&tree, "3", &["--write-docs"]);
    assert!(is_content, "{said}");
    let page = tree.read("docs/benchmarks.md");
    assert!(
        page.contains(" cores of ") && !page.contains("old\n") && page.contains("what calls take\n"),
        "{page}"
    );
    assert!(page.contains("| appends |  |  | 3 | 3 |  |  | held (count) |"), "{page}");
    assert!(page.contains("| lz4 | 100000 MB/s |"), "{page}");
}
