//! Kafka's own tools.

use rskafka_fake::{FakeCluster, StoredRecord};
use rskafka_protocol::records::Compression;
use serde_json::Value;

use crate::{program, run, start};

const JAVA: &str = "RSKAFKA_FOREIGN_JAVA";

/// Java, and the addresses of a cluster.
struct Tools {
    java: String,
    addresses: String,
}

impl Tools {
    async fn start() -> Option<(Self, FakeCluster)> {
        let java = program(JAVA)?;
        let (cluster, addresses) = start().await;
        Some((Self { java, addresses }, cluster))
    }

    /// Runs a tool with these arguments, separated by spaces, and gives what it printed.
    async fn run(&self, class: &str, args: &str, stdin: &str) -> String {
        let mut all = vec![class, "--bootstrap-server", &self.addresses];
        all.extend(args.split(' '));
        run(&self.java, &all, stdin).await
    }

    async fn consume(&self, topic: &str, records: usize, properties: &str) -> Vec<String> {
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let args =
            format!("--topic {topic} --partition 0 --offset earliest --max-messages {records}{properties}");
        self.run(class, &args, "").await.lines().map(str::to_owned).collect()
    }
}

fn records(cluster: &FakeCluster, topic: &str, partition: i32) -> Vec<StoredRecord> {
    cluster.log(topic, partition).unwrap().records().unwrap()
}

fn value(record: &StoredRecord) -> String {
    String::from_utf8(record.value.as_deref().unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_console_producer_writes_the_console_consumer_reads() {
    let Some((tools, cluster)) = Tools::start().await else {
        return;
    };
    cluster.create_topic("console", 1, 3).unwrap();
    let lines: Vec<String> = (0..200).map(|n| format!("key {n}\tvalue {n} \u{e4}\u{2713}")).collect();
    let args = "--topic console --reader-property parse.key=true";
    tools.run("org.apache.kafka.tools.ConsoleProducer", args, &(lines.join("\n") + "\n")).await;
    let stored = records(&cluster, "console", 0);
    let key = |record: &StoredRecord| String::from_utf8(record.key.as_deref().unwrap().to_vec()).unwrap();
    let stored: Vec<String> = stored.iter().map(|one| format!("{}\t{}", key(one), value(one))).collect();
    assert_eq!(stored, lines);
    assert_eq!(tools.consume("console", lines.len(), " --formatter-property print.key=true").await, lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verifiable_producers_records_are_where_it_was_told() {
    let Some((tools, cluster)) = Tools::start().await else {
        return;
    };
    cluster.create_topic("verifiable", 3, 3).unwrap();
    let args = "--topic verifiable --max-messages 1000 --acks -1";
    let printed = tools.run("org.apache.kafka.tools.VerifiableProducer", args, "").await;
    let lines = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let sent: Vec<Value> = lines.filter(|line| line["name"] == "producer_send_success").collect();
    assert_eq!(sent.len(), 1000);
    let logs: Vec<_> = (0..3).map(|partition| records(&cluster, "verifiable", partition)).collect();
    assert_eq!(logs.iter().map(Vec::len).sum::<usize>(), 1000, "each once");
    for line in sent {
        let (partition, offset) = (line["partition"].as_u64().unwrap(), line["offset"].as_u64().unwrap());
        let record = &logs[partition as usize][offset as usize];
        assert_eq!(
            (record.offset as u64, value(record)),
            (offset, line["value"].as_str().unwrap().to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_producer_performance_compresses_with_each_codec_is_stored_so_and_read_back() {
    const RECORDS: usize = 300;
    let Some((tools, cluster)) = Tools::start().await else {
        return;
    };
    cluster.create_topic("codecs", 1, 3).unwrap();
    let codecs = [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    for (place, (name, codec)) in codecs.into_iter().enumerate() {
        let args = format!(
            "--topic codecs --num-records {RECORDS} --throughput -1 --payload-monotonic --command-property \
             acks=all compression.type={name} linger.ms=20"
        );
        let printed = tools.run("org.apache.kafka.tools.ProducerPerformance", &args, "").await;
        assert!(printed.contains(&format!("{RECORDS} records sent")), "{printed}");
        let log = cluster.log("codecs", 0).unwrap();
        assert_eq!(log.end_offset as usize, (place + 1) * RECORDS);
        assert_eq!(log.decoded().unwrap().last().unwrap().compression(), codec);
    }
    let expected: Vec<String> = (0..codecs.len() * RECORDS).map(|n| (n % RECORDS).to_string()).collect();
    let stored: Vec<String> = records(&cluster, "codecs", 0).iter().map(value).collect();
    assert_eq!(stored, expected);
    assert_eq!(tools.consume("codecs", expected.len(), "").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_configs_are_what_the_tools_make_of_them() {
    let Some((tools, cluster)) = Tools::start().await else {
        return;
    };
    let topics = "org.apache.kafka.tools.TopicCommand";
    let create = "--create --topic made --partitions 3 --replication-factor 2 --config retention.ms=60000";
    tools.run(topics, create, "").await;
    assert!(cluster.leader("made", 2).unwrap().is_some() && cluster.leader("made", 3).is_err());
    let configs = "org.apache.kafka.tools.ConfigCommand";
    let topic = "--entity-type topics --entity-name made";
    let alter = format!("--alter {topic} --add-config max.message.bytes=2000 --delete-config retention.ms");
    tools.run(configs, &alter, "").await;
    let expected = [("max.message.bytes".to_owned(), "2000".to_owned())];
    assert_eq!(cluster.topic_configs("made").unwrap(), expected.into());
    let described = tools.run(configs, &format!("--describe {topic}"), "").await;
    assert!(described.contains("max.message.bytes=2000 "), "{described}");
    let brokers = "--entity-type brokers --entity-default";
    tools.run(configs, &format!("--alter {brokers} --add-config log.cleaner.threads=2"), "").await;
    let described = tools.run(configs, &format!("--describe {brokers}"), "").await;
    assert!(described.contains("log.cleaner.threads=2 "), "{described}");
    let described = tools.run(topics, "--describe --topic made", "").await;
    assert!(
        described.contains("PartitionCount: 3") && described.contains("ReplicationFactor: 2"),
        "{described}"
    );
    assert_eq!(described.matches("Isr: ").count(), 3, "{described}");
    tools.run(topics, "--delete --topic made", "").await;
    assert!(cluster.topic_id("made").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_what_the_tools_ask_for_and_records_are_deleted_before_them() {
    let Some((tools, cluster)) = Tools::start().await else {
        return;
    };
    cluster.create_topic("offsets", 2, 3).unwrap();
    for partition in [0, 1] {
        let values = (0..7 + partition).map(|n| format!("{n}"));
        cluster.append_in_transaction("offsets", partition, (7, 0), values).unwrap();
        // The marker is an offset of its own.
        cluster.end_transaction("offsets", partition, (7, 0), true).unwrap();
    }
    let offsets = "org.apache.kafka.tools.GetOffsetShell";
    assert_eq!(tools.run(offsets, "--topic offsets --time -1", "").await, "offsets:0:8\noffsets:1:9\n");
    let file = std::env::temp_dir().join(format!("rskafka-foreign-{}.json", std::process::id()));
    let partition = r#"{"topic":"offsets","partition":1,"offset":8}"#;
    std::fs::write(&file, format!(r#"{{"partitions":[{partition}],"version":1}}"#)).unwrap();
    let delete = format!("--offset-json-file {}", file.display());
    let deleted = tools.run("org.apache.kafka.tools.DeleteRecordsCommand", &delete, "").await;
    std::fs::remove_file(&file).unwrap();
    assert!(deleted.contains("partition: offsets-1\tlow_watermark: 8"), "{deleted}");
    assert_eq!(cluster.log("offsets", 1).unwrap().log_start_offset, 8);
    assert_eq!(tools.run(offsets, "--topic offsets --time -2", "").await, "offsets:0:0\noffsets:1:8\n");
}
