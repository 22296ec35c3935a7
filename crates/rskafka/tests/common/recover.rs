use rskafka::client::error::Result;
use rskafka::client::{OffsetAt, PartitionClient};
use rskafka::record::RecordAndOffset;

/// Hands every record that is in the log by now to `apply`; gives the offset to go on from.
pub async fn recover(log: &PartitionClient, mut apply: impl FnMut(RecordAndOffset)) -> Result<i64> {
    let end = log.get_offset(OffsetAt::Latest).await?.offset;
    let mut next = log.get_offset(OffsetAt::Earliest).await?.offset;
    while next < end {
        let fetched = log.fetch(next).await?;
        next = fetched.next_offset();
        for record in fetched.into_records() {
            apply(record?);
        }
    }
    Ok(next)
}
