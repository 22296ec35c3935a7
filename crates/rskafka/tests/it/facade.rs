//! What a user meets in a public signature can be written down with a name from the facade.
//!
//! The compiler checks that each name of `every_name` is there. That no name is missing is read from the source: it sees what
//! rustfmt has formatted, and neither what other macros than `awaited!` make nor two types of one name.

use std::collections::BTreeSet;
use std::path::Path;

use rskafka::bytes::Bytes;
use rskafka::time::OffsetDateTime;

use super::public_api::rust_files_below;

/// The crates of which the facade names single types; of the protocol crate it has all.
const CRATES: [&str; 3] = ["rskafka-client", "rskafka-cluster", "rskafka-transport"];

/// Names from the standard library, and of type parameters and associated types.
const OTHERS: [&str; 27] = [
    "Arc",
    "AsRef",
    "BTreeMap",
    "Box",
    "Clone",
    "Duration",
    "Err",
    "ExactSizeIterator",
    "Fn",
    "Fut",
    "Future",
    "Instant",
    "Into",
    "IntoIterator",
    "Item",
    "Iterator",
    "Option",
    "Output",
    "Path",
    "Pin",
    "Range",
    "Self",
    "Send",
    "SocketAddr",
    "String",
    "Sync",
    "Vec",
];

/// Each type that a user may want to name, by its name in the facade.
fn every_name() {
    fn named<T: ?Sized>() {}
    fn named_trait<T: rskafka::record::Payload + ?Sized>() {}
    fn named_trait_too<T: rskafka::record::RecordHeaders>() {}
    {
        use rskafka::client::*;
        let _ = (
            named::<Acks>,
            named::<Client>,
            named::<ClientBuilder>,
            named::<Compression>,
            named::<CreateTopic>,
        );
        let _ = (named::<ConfigEntry>, named::<DurabilityFinding>, named::<DurabilityKind>);
        let _ = (named::<Fetch>, named::<Fetched>, named::<FoundOffset>, named::<OffsetAt>);
        let _ = (named::<Partition>, named::<PartitionClient>, named::<PartitionClientBuilder>);
        let _ = (named::<Produce>, named::<Produced>, named::<Severity>, named::<Topic>);
        let _ = (named::<ClientCertificate>, named::<Tls>, named::<TlsConfigError>);
        let _ = (named::<rustls::ClientConfig>, named::<Credentials>, named::<OauthToken>, named::<Sasl>);
        let _ = (named::<Endpoint>, named::<ParseEndpointError>, named::<Socks5>);
        let _ = named::<dyn Provider<Credentials>>;
    }
    {
        use rskafka::client::consumer::*;
        let _ = (named::<BatchStream>, named::<FetchedBatch>, named::<IntoRecords>, named::<IsolationLevel>);
        let _ = (named::<OutOfRange>, named::<ParsePositionError>, named::<Position>, named::<Ranges>);
        let _ =
            (named::<ReadBuilder<StartAt>>, named::<RecordStream>, named::<Replay>, named::<ReplayProgress>);
        let _ = (named::<Resolution>, named::<StartAt>);
    }
    {
        use rskafka::client::env::*;
        let _ = (named::<BoxFuture<'static, ()>>, named::<BoxStream>, named::<dyn Connector>, named::<Env>);
        let _ = (named::<EnvBuilder>, named::<dyn Resolver>, named::<dyn Stream>);
    }
    {
        use rskafka::client::error::*;
        let _ = (
            named::<BoxError>,
            named::<Error>,
            named::<ErrorClass>,
            named::<ErrorKind>,
            named::<Outcome>,
            named::<Result<()>>,
        );
    }
    {
        use rskafka::client::stats::*;
        let _ = (named::<BrokerStats>, named::<Latency>, named::<Stats>, named::<StatsOfBroker>);
        assert!(!LATENCY_BOUNDS.is_empty());
    }
    {
        use rskafka::record::*;
        let _ = (named::<Headers>, named::<Record>, named::<RecordAndOffset>);
        let _ = (named::<NewRecord<'_>>, named::<RecordBatchBuilder>);
        let _ = (named_trait::<dyn Payload>, named_trait_too::<Headers>);
    }
    {
        use rskafka::client::PartitionClientBuilder;
        use rskafka::client::consumer::ReadBuilder;
        use rskafka::wal::*;
        let _ = (named::<Append>, named::<Appended>, named::<Claim>, named::<Dead>, named::<Entry>);
        let _ = (named::<Item>, named::<Items>, named::<Kind>, named::<Passed>, named::<Position>);
        let _ = (named::<PartitionClientBuilder<Wal>>, named::<ReadBuilder<Start>>, named::<Reader>);
        let _ = (
            named::<Reclaimed>,
            named::<Recovery>,
            named::<RecoveryProgress>,
            named::<Stamp>,
            named::<Start>,
        );
        let _ = (named::<Wal>, named::<Writer>);
    }
    let _ = (named::<rskafka::protocol::Uuid>, named::<rskafka::protocol::ErrorCode>);
    {
        use rskafka::protocol::records::*;
        let _ = (named::<BatchHeader>, named::<RecordView<'_>>);
    }
    let _ = (named::<rskafka::protocol::ApiKey>, named::<Bytes>, named::<OffsetDateTime>);
}

#[test]
fn every_type_in_a_public_signature_has_a_name_in_the_facade() {
    every_name();
    let (_, listed) = include_str!("facade.rs").split_once("fn every_name").unwrap();
    let listed = names(listed.split_once("\n}\n").unwrap().0);
    let files = CRATES.map(|of| Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of).join("src"));
    let mut signatures = 0;
    for file in files.iter().flat_map(|folder| rust_files_below(folder)) {
        let source = std::fs::read_to_string(&file).unwrap();
        for item in items(&source).iter().filter(|item| listed.contains(item.name())) {
            for signature in item.signatures() {
                signatures += 1;
                let missing: Vec<&str> = names(&signature)
                    .into_iter()
                    .filter(|name| !listed.contains(name) && !OTHERS.contains(name))
                    .collect();
                assert!(missing.is_empty(), "{missing:?} in {}: {signature}", file.display());
            }
        }
    }
    assert!(signatures >= 150, "{signatures}");
}

/// The words that are names of types.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(char::is_uppercase) && word.contains(char::is_lowercase)).collect()
}

/// A public type or trait, an `impl`, or the `awaited!` that makes one: its lines, without blanks around each.
struct Item<'a>(Vec<&'a str>);

/// The items of a file.
fn items(source: &str) -> Vec<Item<'_>> {
    const STARTS: [&str; 7] =
        ["pub struct ", "pub enum ", "pub trait ", "pub type ", "impl ", "impl<", "awaited!("];
    let lines: Vec<&str> = source.lines().collect();
    let starts = (0..lines.len()).filter(|at| STARTS.iter().any(|start| lines[*at].starts_with(start)));
    let item = |at: usize| {
        let is_one_line = lines[at].ends_with([';', '}']);
        let length = lines[at..].iter().position(|line| is_one_line || line.starts_with('}'));
        Item(lines[at..=at + length.unwrap()].iter().map(|line| line.trim()).collect())
    };
    starts.map(item).collect()
}

impl Item<'_> {
    /// Of the type or trait that it is, or that it is an `impl` of.
    fn name(&self) -> &str {
        let head = self.0[0].rsplit_once(" for ").map_or(self.0[0], |(_, of)| of);
        // After the parameters of an `impl`.
        let head = if head.starts_with("impl<") { head.split_once("> ").unwrap().1 } else { head };
        names(head).into_iter().min_by_key(|name| head.find(name)).unwrap_or_default()
    }

    /// What a user may read of it: the types of fields, of variants, of methods.
    fn signatures(&self) -> Vec<String> {
        let lines = || self.0.iter().filter(|line| !line.starts_with(['/', '#']));
        let after = |line: &str, mark| line.split_once(mark).map(|(_, types)| types.to_owned());
        match self.0[0] {
            head if head.starts_with("pub type ") || head.starts_with("awaited!(") => vec![head.to_owned()],
            head if head.starts_with("pub struct ") => {
                lines().filter(|line| line.starts_with("pub ")).map(|line| (*line).to_owned()).collect()
            }
            head if head.starts_with("pub enum ") => {
                let in_variant = |line: &&str| after(line, '(').or_else(|| after(line, ':'));
                lines().filter_map(in_variant).collect()
            }
            head => {
                let starts: &[&str] = match head.starts_with("pub trait ") {
                    true => &["fn ", "async fn ", "type "],
                    false => &["pub fn ", "pub const fn ", "pub async fn ", "type "],
                };
                let is_start = |at: &usize| starts.iter().any(|start| self.0[*at].starts_with(start));
                let whole = |at: usize| {
                    let length =
                        self.0[at..].iter().position(|line| line.ends_with(['{', '}', ';'])).unwrap();
                    let text = self.0[at..=at + length].join(" ");
                    // Behind the second is what an option of `options!` sets.
                    let ends = ["{", "=>"].map(|end| text.find(end).unwrap_or(text.len()));
                    text[..ends[0].min(ends[1])].to_owned()
                };
                (0..self.0.len()).filter(is_start).map(whole).collect()
            }
        }
    }
}

#[test]
fn signatures_are_read_from_source() {
    let source = "\
impl<K: Key> Log<K> {
    /// A Ghost.
    pub fn one(&self, a: Alpha) -> Beta { Gamma::new() }
    fn none(&self, hidden: Delta) {}
    pub async fn two(
        &self,
        b: Vec<Epsilon>,
    ) -> Zeta
    where
        K: Eta,
    {
        Theta::new()
    }
}

pub enum Kind {
    Plain,
    With(Iota),
}

struct Private {
    pub field: Kappa,
}

awaited!(Kind, run, Nu);

impl From<Lambda> for Kind {
    type Output = Mu;
}
";
    let items = items(source);
    assert_eq!(items.iter().map(Item::name).collect::<Vec<_>>(), ["Log", "Kind", "Kind", "Kind"]);
    let read: Vec<String> = items.iter().flat_map(Item::signatures).collect();
    assert_eq!(
        names(&read.join(" ")).into_iter().collect::<Vec<_>>(),
        ["Alpha", "Beta", "Epsilon", "Eta", "Iota", "Kind", "Mu", "Nu", "Output", "Vec", "Zeta"]
    );
}
