//! What each service may do in Kafka, and that the rest is denied, on brokers whose services have ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{env, fs, path::Path};

use kafka::config::Secret;
use kafka::{Cluster, Login, retry, rights};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use schemas::topics;
use stack::Stack;

/// What each service reads of others', as the table of the design has it: not taken from the routes that the rights are made of.
const READS: [(&str, &[&str]); 3] = [
    (topics::ORDERS, &[topics::INVENTORY_EVENTS, topics::PAYMENTS_EVENTS]),
    (topics::INVENTORY, &[topics::INVENTORY_COMMANDS, topics::ORDERS_EVENTS]),
    (topics::PAYMENTS, &[topics::PAYMENTS_COMMANDS, topics::ORDERS_EVENTS]),
];
const SLOW: Duration = Duration::from_secs(30);

fn failures(service: &str) -> Vec<String> {
    retry::topic_names(service, &retry::Tiers::default())
}

fn writes(service: &str) -> BTreeSet<String> {
    let own = topics::owned_by(service).map(|topic| topic.name.to_owned());
    own.chain(failures(service)).chain([kafka::relay_topic(service)]).collect()
}

fn everything() -> BTreeSet<String> {
    topics::SERVICES.iter().flat_map(|service| writes(service)).collect()
}

fn client(stack: &Stack, login: Option<(String, String)>) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", stack.kafka_bootstrap()).set("log_level", "0").set("allow.auto.create.topics", "false");
    if let Some((user, password)) = login {
        client.set("security.protocol", "SASL_PLAINTEXT").set("sasl.mechanism", "SCRAM-SHA-512");
        client.set("sasl.username", user).set("sasl.password", password);
    }
    client
}

/// What became of the last record.
#[derive(Default)]
struct Fate(std::sync::Mutex<Option<Option<RDKafkaErrorCode>>>);

impl ClientContext for Fate {}

impl ProducerContext for Fate {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let code = result.as_ref().err().map(|(error, _)| error.rdkafka_error_code().unwrap());
        *self.0.lock().unwrap() = Some(code);
    }
}

/// `None` when the record was written.
fn produce(producer: &BaseProducer<Fate>, topic: &str) -> Option<RDKafkaErrorCode> {
    *producer.context().0.lock().unwrap() = None;
    // Once the library knows that a topic is forbidden, it says so at once.
    if let Err((error, _)) = producer.send(BaseRecord::to(topic).partition(0).key("k").payload("planted")) {
        return Some(error.rdkafka_error_code().unwrap());
    }
    let began = Instant::now();
    loop {
        producer.poll(Duration::from_millis(20));
        if let Some(fate) = *producer.context().0.lock().unwrap() {
            return fate;
        }
        assert!(began.elapsed() < SLOW, "{topic}: no answer");
    }
}

/// `None` when a record planted there was read. The library wants a group, though none is joined: `group` is one that may be described.
fn consume(client: &ClientConfig, group: &str, topic: &str) -> Option<RDKafkaErrorCode> {
    let consumer: BaseConsumer = client.clone().set("group.id", group).create().unwrap();
    // Of a topic that may not even be described the library says nothing while it consumes.
    let metadata = consumer.fetch_metadata(Some(topic), SLOW).unwrap();
    if let Some(error) = metadata.topics()[0].error() {
        return Some(error.into());
    }
    let mut at = TopicPartitionList::new();
    at.add_partition_offset(topic, 0, Offset::Offset(0)).unwrap();
    consumer.assign(&at).unwrap();
    let (began, mut seen) = (Instant::now(), Vec::new());
    while began.elapsed() < SLOW {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(_)) => return None,
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return error.rdkafka_error_code();
            }
            Some(Err(error)) => seen.push(error),
            None => {}
        }
    }
    panic!("{topic}: neither a record nor a refusal in {SLOW:?}: {seen:?}");
}

/// `None` when the group let this member in.
fn join(client: &ClientConfig, group: &str, topic: &str) -> Option<RDKafkaErrorCode> {
    let consumer: BaseConsumer = client.clone().set("group.id", group).create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let began = Instant::now();
    while began.elapsed() < SLOW {
        if let Some(Err(error)) = consumer.poll(Duration::from_millis(50))
            && error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed)
        {
            return error.rdkafka_error_code();
        }
        if consumer.assignment().unwrap().count() > 0 {
            return None;
        }
    }
    panic!("{group}: neither joined nor refused in {SLOW:?}");
}

fn begin(client: &ClientConfig, id: &str) -> Option<RDKafkaErrorCode> {
    let producer: BaseProducer<Fate> = client.clone().set("transactional.id", id).create_with_context(Fate::default()).unwrap();
    producer.init_transactions(SLOW).err().map(|error| error.rdkafka_error_code().unwrap())
}

/// Every service against every topic, group and transactional id of every service, and everybody who has no name.
pub(crate) fn each_may_its_own_and_nothing_else(stack: &Stack) {
    let operator = client(stack, stack.kafka_login("setup"));
    let planter: BaseProducer<Fate> = operator.create_with_context(Fate::default()).unwrap();
    for topic in everything() {
        assert_eq!(produce(&planter, &topic), None, "{topic}");
    }
    for (service, reads) in READS {
        let client = client(stack, stack.kafka_login(service));
        let own = writes(service);
        // What it wrote it reads again when its database is lost.
        let read: BTreeSet<String> = reads.iter().map(|topic| (*topic).to_owned()).chain(own.clone()).collect();
        let producer: BaseProducer<Fate> = client.create_with_context(Fate::default()).unwrap();
        for topic in everything() {
            let denied = Some(RDKafkaErrorCode::TopicAuthorizationFailed);
            assert_eq!(produce(&producer, &topic), if own.contains(&topic) { None } else { denied }, "{service} writes {topic}");
            assert_eq!(consume(&client, service, &topic), if read.contains(&topic) { None } else { denied }, "{service} reads {topic}");
        }
        for other in topics::SERVICES {
            let mine = *other == service;
            for number in 0..2 {
                let denied = Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed);
                let began = begin(&client, &format!("{other}.relay.{number}"));
                assert_eq!(began, if mine { None } else { denied }, "{service} uses {other}.relay.{number}");
            }
            let denied = Some(RDKafkaErrorCode::GroupAuthorizationFailed);
            assert_eq!(join(&client, other, reads[0]), if mine { None } else { denied }, "{service} joins {other}");
        }
        assert!(begin(&client, "anything").is_some(), "{service} uses an id of its own making");
        assert!(join(&client, "anything", reads[0]).is_some(), "{service} joins a group of its own making");
    }
    let reader = client(stack, stack.kafka_login("reader"));
    let producer: BaseProducer<Fate> = reader.create_with_context(Fate::default()).unwrap();
    for topic in everything() {
        assert_eq!(consume(&reader, "reader", &topic), None, "the reader reads {topic}");
        assert_eq!(produce(&producer, &topic), Some(RDKafkaErrorCode::TopicAuthorizationFailed), "the reader writes {topic}");
    }
    for nobody in [None, Some(("orders".to_owned(), "guessed".to_owned())), Some(("mallory".to_owned(), "guessed".to_owned()))] {
        let consumer: BaseConsumer = client(stack, nobody.clone()).create().unwrap();
        assert!(consumer.fetch_metadata(None, Duration::from_secs(3)).is_err(), "{nobody:?} was let in");
    }
}

/// The rights are the agreed ones, read from the brokers.
pub(crate) async fn are_the_agreed_ones(stack: &Stack) {
    let (user, password) = stack.kafka_login("setup").unwrap();
    let cluster = Cluster { login: Some(Login { user, password: Secret::new(password) }), ..Cluster::open(stack.kafka_bootstrap()) };
    for principal in [topics::ORDERS, topics::INVENTORY, topics::PAYMENTS, "reader"] {
        let now: String = rights::list(&cluster, principal).await.unwrap().iter().map(|right| format!("{right}\n")).collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/rights/{principal}.txt"));
        if env::var_os("WRITE_GOLDEN").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &now).unwrap();
        }
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(now, agreed, "rights of {principal}: give knowingly, then WRITE_GOLDEN=1 cargo test -p it door");
    }
}
