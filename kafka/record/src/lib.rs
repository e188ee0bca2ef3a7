//! What a message type says of itself: its Avro schema and the one topic it is published to. Pure, so that generated
//! types can implement [`Record`] without depending on the runtime.

use serde::{Serialize, de::DeserializeOwned};

/// A message type with a frozen Avro schema. One record type travels on one topic only, so the topic is part of the type.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Avro full name, `<namespace>.<Name>`; also the `ce_type` header.
    const FULL_NAME: &'static str;
    /// The writer schema as JSON, self-contained.
    const SCHEMA: &'static str;
    /// The topic it is published to.
    const TOPIC: &'static str;
}

/// One topic of the system: who writes it and how it is keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// Kafka's name of the topic.
    pub name: &'static str,
    /// The only service that writes it; its name is the part of the `src` header before the slash.
    pub owner: &'static str,
    /// What the key is, in words, for the generated tables.
    pub key: &'static str,
    /// The record types on it, by full name.
    pub records: &'static [&'static str],
}

/// The partition Java clients choose for `key`: `murmur2(key) & 0x7fffffff mod partitions`.
///
/// `partitions` must be positive; 0 is read as 1.
///
/// Source: `org.apache.kafka.clients.producer.internals.BuiltInPartitioner#partitionForKey`.
#[must_use]
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    let hash = murmur2::murmur2(key, murmur2::KAFKA_SEED) & 0x7fff_ffff;
    let partitions = u32::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(hash % partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    /// Source: Kafka's `UtilsTest#testMurmur2` (`"21"` hashes to -973932308, `"foobar"` to -790332482).
    #[test]
    fn agrees_with_the_java_partitioner() {
        for (key, hash) in [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)] {
            assert_eq!(partition_for(key.as_bytes(), 7), (hash & 0x7fff_ffff) % 7, "{key}");
        }
    }
}
