//! Error codes: the table says what Kafka's says.

use rskafka_protocol::ErrorCode;
use serde_json::Value;

use crate::data;
use crate::tally::{Tally, same};

#[test]
fn every_error_code_has_its_name_and_kind() {
    let mut tally = Tally::new("error codes", &["found", "right"]);
    let golden: Vec<Value> = serde_json::from_str(&data::text("errors.json")).expect("JSON");
    for error in &golden {
        tally.count("found");
        let code = error["code"].as_i64().and_then(|code| i16::try_from(code).ok()).expect("a code");
        let ours = ErrorCode(code);
        let outcome = same("name", ours.name(), error["name"].as_str())
            .and_then(|()| same("retriable", Some(ours.is_retriable()), error["retriable"].as_bool()))
            .and_then(|()| {
                same("invalid_metadata", Some(ours.is_stale_metadata()), error["invalid_metadata"].as_bool())
            });
        tally.check("right", &code.to_string(), outcome);
    }
    if ErrorCode::ALL.len() != golden.len() {
        tally.fail(format!("the table has {} codes, golden {}", ErrorCode::ALL.len(), golden.len()));
    }
    tally.end();
}
