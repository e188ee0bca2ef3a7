//! Kafka: whether it answers, whether it is the cluster the databases know, whether topics are as they were made.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::database::Facts;
use super::{Args, Check};

const PATIENCE: Duration = Duration::from_secs(5);
const MEND: &str = "./run status names Kafka's log and address; ./run starts it, in containers docker compose up -d kafka";

pub(super) async fn look(args: &Args, known: &[Facts]) -> Vec<Check> {
    let Some(bootstrap) = args.kafka.as_deref() else { return vec![Check::unknown("kafka", "KAFKA_BOOTSTRAP")] };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", "ops-doctor").set("log_level", "0");
    if let (Some(user), Some(password)) = (&args.kafka_user, &args.kafka_password) {
        config.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", "SCRAM-SHA-512");
        config.set("sasl.username", user).set("sasl.password", password);
    }
    let admin: Result<AdminClient<DefaultClientContext>, _> = config.create();
    let admin = match admin {
        Ok(admin) => admin,
        Err(error) => return vec![Check::away("kafka", error.to_string(), MEND)],
    };
    // The client's own calls block.
    let (admin, metadata, cluster) = match tokio::task::spawn_blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE);
        let cluster = if metadata.is_ok() { admin.inner().fetch_cluster_id(PATIENCE) } else { None };
        (admin, metadata, cluster)
    })
    .await
    {
        Ok(found) => found,
        Err(error) => return vec![Check::away("kafka", error.to_string(), MEND)],
    };
    let metadata = match metadata {
        Ok(metadata) => metadata,
        Err(error) => return vec![Check::away("kafka", format!("{bootstrap}: {error}"), MEND)],
    };
    let mut checks = vec![Check::good("kafka", format!("{bootstrap} answers, {} broker", metadata.brokers().len()))];
    let found: BTreeMap<&str, usize> = metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len())).collect();
    checks.push(same_cluster(cluster.as_deref(), known));
    checks.push(partitions(&found, known));
    checks.push(settings(&admin, &found, known).await);
    checks
}

fn same_cluster(cluster: Option<&str>, known: &[Facts]) -> Check {
    let other = known.iter().find(|facts| facts.cluster.is_some() && facts.cluster.as_deref() != cluster);
    match other {
        Some(facts) => Check::bad(
            "kafka cluster",
            format!(
                "the database {} belongs to cluster {}, this is {}",
                facts.service,
                facts.cluster.as_deref().unwrap_or_default(),
                cluster.unwrap_or_default()
            ),
            "point KAFKA_BOOTSTRAP at the cluster the databases were filled from: docs/errors/topic_replaced.md",
        ),
        None => Check::good("kafka cluster", "is the one the databases know"),
    }
}

fn partitions(found: &BTreeMap<&str, usize>, known: &[Facts]) -> Check {
    for facts in known {
        for (topic, partitions) in &facts.topics {
            let there = found.get(topic.as_str()).copied().unwrap_or_default();
            if there == 0 {
                return Check::bad(
                    "kafka topics",
                    format!("topic {topic} of {} is not there", facts.service),
                    format!("{} setup makes missing topics; if it held records, restore the broker's data first", facts.service),
                );
            }
            if i32::try_from(there) != Ok(*partitions) {
                return Check::bad(
                    "kafka topics",
                    format!("topic {topic} has {there} partitions, the database {} says {partitions}", facts.service),
                    "partitions can only be added: a key would change its place; restore the topic, or start with an empty system (./run reset)",
                );
            }
        }
    }
    Check::good("kafka topics", format!("{} topics, as many partitions as the databases say", found.len()))
}

/// Settings that lose messages or cut them off when they are wrong.
fn wanted(topic: &str) -> &'static [(&'static str, &'static str)] {
    if topic.ends_with(".relay.position") {
        &[("cleanup.policy", "compact"), ("retention.ms", "-1")]
    } else if topic.contains(".retry.") {
        &[("cleanup.policy", "delete"), ("retention.ms", "1209600000")]
    } else {
        &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]
    }
}

async fn settings(admin: &AdminClient<DefaultClientContext>, found: &BTreeMap<&str, usize>, known: &[Facts]) -> Check {
    let mut names: Vec<String> = known.iter().flat_map(|facts| facts.topics.iter().map(|(topic, _)| topic.clone())).collect();
    names.extend(known.iter().filter(|facts| !facts.topics.is_empty()).map(|facts| format!("{}.relay.position", facts.service)));
    names.sort();
    names.dedup();
    names.retain(|name| found.contains_key(name.as_str()));
    if names.is_empty() {
        return Check { ok: None, ..Check::good("kafka topic settings", "no database says which topics there must be") };
    }
    let asked: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answers = match admin.describe_configs(&asked, &options).await {
        Ok(answers) => answers,
        Err(error) => return Check::away("kafka topic settings", error.to_string(), MEND),
    };
    for (name, answer) in names.iter().zip(answers) {
        let config = match answer {
            Ok(config) => config
                .entry_map()
                .into_iter()
                .filter_map(|(key, entry)| Some((key.to_owned(), entry.value.clone()?)))
                .collect::<BTreeMap<_, _>>(),
            Err(code) => return Check::bad("kafka topic settings", format!("{name}: {code}"), MEND),
        };
        for (key, value) in wanted(name) {
            let is = config.get(*key).map_or("unset", String::as_str);
            if is != *value {
                return Check::bad(
                    "kafka topic settings",
                    format!("{name}: {key} is {is}, must be {value}"),
                    format!("kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic {name} --add-config {key}={value}"),
                );
            }
        }
    }
    Check::good("kafka topic settings", format!("{} topics keep what they must", names.len()))
}
