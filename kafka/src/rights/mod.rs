//! What a service may do in Kafka, derived from the topics table and its routes, and given to its principal by `setup`.
//!
//! Each principal is named as its service. It writes its own topics and uses its own transactional ids, reads what its routes
//! read and what it wrote itself, and is a member of its own group; of other topics it learns no more than that they are there. Whoever takes over one
//! service can neither speak for another nor read what it need not.

mod admin;

use std::collections::BTreeSet;

use record::Topic;

use crate::cluster::Cluster;
use crate::relay;

pub use admin::Error;

/// What rights are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A consumer group; `*` is every group.
    Group(String),
    /// The id of a transactional producer.
    TransactionalId(String),
}

/// What may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Fetch records; be a member of a group.
    Read,
    /// Produce; begin and end transactions.
    Write,
    /// Learn that it is there: metadata, offsets, coordinators.
    Describe,
}

/// One right of one principal, from any host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The principal's name, without `User:`.
    pub principal: String,
    /// On what.
    pub resource: Resource,
    /// What.
    pub operation: Operation,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, name) = match &self.resource {
            Resource::Topic(name) => ("topic", name),
            Resource::Group(name) => ("group", name),
            Resource::TransactionalId(name) => ("transactional id", name),
        };
        write!(f, "{} {:?} {kind} {name}", self.principal, self.operation)
    }
}

/// What is known of a service before it is set up.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// Its name; its principal's, too.
    pub service: &'a str,
    /// Every topic of the system.
    pub topics: &'a [Topic],
    /// The topics its routes read.
    pub reads: &'a [&'a str],
    /// Its retry and dead-letter topics.
    pub failures: &'a [String],
}

impl Of<'_> {
    fn written(&self) -> impl Iterator<Item = String> {
        let own = self.topics.iter().filter(|topic| topic.owner == self.service).map(|topic| topic.name.to_owned());
        own.chain(self.failures.iter().cloned()).chain([crate::relay_topic(self.service)])
    }

    /// Exactly what the service's principal may.
    #[must_use]
    pub fn service(&self) -> BTreeSet<Right> {
        let right = |operation, resource| Right { principal: self.service.to_owned(), resource, operation };
        let mut rights = BTreeSet::new();
        rights.extend(self.written().map(|topic| right(Operation::Write, Resource::Topic(topic))));
        // The position is read at start, a timer when it runs out, everything it wrote when a lost database is rebuilt.
        let read = self.reads.iter().map(|topic| (*topic).to_owned()).chain(self.written());
        rights.extend(read.map(|topic| right(Operation::Read, Resource::Topic(topic))));
        // Every service checks the partition counts of all topics at start.
        let known = self.topics.iter().map(|topic| topic.name.to_owned()).chain(self.written());
        rights.extend(known.map(|topic| right(Operation::Describe, Resource::Topic(topic))));
        // The relay's reader never joins its group, but the client library looks for its coordinator.
        for group in [self.service.to_owned(), relay::reader_group(self.service)] {
            rights.extend([Operation::Read, Operation::Describe].map(|operation| right(operation, Resource::Group(group.clone()))));
        }
        for id in relay::transactional_ids(self.service) {
            rights.extend([Operation::Write, Operation::Describe].map(|operation| right(operation, Resource::TransactionalId(id.clone()))));
        }
        rights
    }

    /// What `reader` gains from this service: all it writes, to read. For checkers and lag tools.
    #[must_use]
    pub fn reader(&self, reader: &str) -> BTreeSet<Right> {
        let right = |operation, resource| Right { principal: reader.to_owned(), resource, operation };
        let topics =
            self.written().flat_map(|topic| [Operation::Read, Operation::Describe].map(|of| right(of, Resource::Topic(topic.clone()))));
        topics.chain([right(Operation::Describe, Resource::Group("*".to_owned()))]).collect()
    }
}

/// Makes the rights of a service's principal exactly those of [`Of::service`], and adds those of `reader`.
///
/// # Errors
/// [`Error`]; what was given before stays.
pub async fn grant(cluster: &Cluster, of: &Of<'_>, reader: &str) -> Result<(), Error> {
    let mut admin = admin::Connection::open(cluster).await?;
    let (wanted, found) = (of.service(), admin.rights_of(of.service).await?);
    let missing: Vec<&Right> = wanted.difference(&found).collect();
    let surplus: Vec<&Right> = found.difference(&wanted).collect();
    let readers = of.reader(reader);
    admin.give(&missing.into_iter().chain(&readers).collect::<Vec<_>>()).await?;
    admin.take(&surplus).await
}

/// The rights of `principal` as the brokers have them.
///
/// # Errors
/// [`Error`].
pub async fn list(cluster: &Cluster, principal: &str) -> Result<BTreeSet<Right>, Error> {
    admin::Connection::open(cluster).await?.rights_of(principal).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry;

    const TOPICS: &[Topic] = &[
        Topic { name: "a.events", owner: "a", key: "", records: &[] },
        Topic { name: "b.events", owner: "b", key: "", records: &[] },
        Topic { name: "b.commands", owner: "b", key: "", records: &[] },
    ];

    #[test]
    fn a_service_writes_its_own_reads_what_it_handles_and_knows_of_the_rest() {
        let failures = retry::topic_names("a", &retry::Tiers::parse("5000", None).unwrap());
        let of = Of { service: "a", topics: TOPICS, reads: &["b.events"], failures: &failures };
        let lines: Vec<String> = of.service().iter().map(ToString::to_string).collect();
        let of_kind = |kind: &str| lines.iter().filter_map(|line| line.strip_prefix(kind)).collect::<Vec<_>>();
        assert_eq!(of_kind("a Write topic "), ["a.dlq", "a.dlq.decisions", "a.events", "a.relay.position", "a.retry.5s"]);
        assert_eq!(of_kind("a Read topic "), ["a.dlq", "a.dlq.decisions", "a.events", "a.relay.position", "a.retry.5s", "b.events"]);
        assert_eq!(of_kind("a Write transactional id "), ["a.relay.0", "a.relay.1"]);
        assert_eq!(of_kind("a Read group "), ["a", "a.relay"]);
        assert!(lines.contains(&"a Describe topic b.commands".to_owned()));
        assert!(of.reader("reader").iter().all(|right| right.operation != Operation::Write));
    }
}
