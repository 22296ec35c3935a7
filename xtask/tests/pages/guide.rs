//! What the guide says of recovery is what the tests run, on every cluster.

use crate::read;
use crate::readme::{marked_blocks, same};

const PAGE: &str = "docs/write-ahead-log.md";
const TEST: &str = "crates/rskafka/tests/common/guide.rs";

#[test]
fn the_ways_to_recover_of_the_guide_are_those_of_the_tests() {
    let page = read(PAGE);
    let recovery = page.split_once("## Recovery with").expect("the page has these parts").1;
    let blocks = recovery.split("```rust\n").skip(1).filter_map(|part| Some(part.split_once("```")?.0));
    let (blocks, tested) = (Vec::from_iter(blocks), marked_blocks(&read(TEST), PAGE).unwrap());
    assert_eq!((blocks.len(), tested.len()), (4, 4));
    for (block, tested) in blocks.iter().zip(&tested) {
        same(block, tested).unwrap();
    }
}
