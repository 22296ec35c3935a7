//! kafka-python: a client of another language, with an implementation of the protocol of its own.

use crate::{program, run, start};

#[tokio::test(flavor = "multi_thread")]
async fn kafka_python_administers_appends_and_reads_what_it_wrote() {
    let Some(python) = program("RSKAFKA_FOREIGN_PYTHON") else {
        return;
    };
    let (cluster, addresses) = start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/client.py");
    let printed = run(&python, &[script, &addresses], "").await;
    assert!(printed.ends_with("all is as it was written\n"), "{printed}");
    let records = cluster.log("python", 1).unwrap().records().unwrap();
    assert_eq!(records.len(), 300, "each once");
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record.value.as_deref(), Some(format!("value {n}").as_bytes()));
        assert_eq!(record.timestamp, 1_700_000_000_000 + n as i64);
    }
}
