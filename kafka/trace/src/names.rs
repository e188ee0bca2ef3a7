//! The one list of span names and attributes. Messaging conventions as of 1.45, with the older `messaging.system` beside
//! the newer name until backends follow. Source: open-telemetry/semantic-conventions, docs/messaging and docs/http.
//!
//! | step | span | kind | parent | links |
//! |---|---|---|---|---|
//! | a request is served | `POST /v1/orders` | server | the caller | |
//! | the gateway asks a service | `POST` | client | its server span | |
//! | a message is written to the outbox | `create orders.events` | producer | what decided it | |
//! | the relay publishes a transaction | `send orders.events`, one a topic | client | the one message's `create`; of several: none | each `create` |
//! | a record is decided | `process orders.events` | consumer | its `create`, also when it is tried again or sent back | its `create` |
//! | an outside call | `call authorize` | client | the `process` that asked for it | |
//! | a deadline runs out | `deadline authorize` | internal | what armed it | |
//!
//! There is no `poll` and no `commit`: records are gathered ahead of the batch that decides them, and what settles them is
//! the commit that ends `process`.

/// Where these names are defined.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";

/// Operations on messages: `messaging.operation.name`, the first word of a span's name, and `messaging.operation.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A message is made.
    Create,
    /// A batch is handed to the broker.
    Send,
    /// A record is decided.
    Process,
}

impl Operation {
    /// Its name, which is also its type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Send => "send",
            Self::Process => "process",
        }
    }
}

#[expect(missing_docs, reason = "each constant is the attribute of that name")]
pub mod attribute {
    pub const SYSTEM: &str = "messaging.system";
    pub const SYSTEM_NAME: &str = "messaging.system.name";
    pub const OPERATION_NAME: &str = "messaging.operation.name";
    pub const OPERATION_TYPE: &str = "messaging.operation.type";
    pub const DESTINATION: &str = "messaging.destination.name";
    pub const PARTITION: &str = "messaging.destination.partition.id";
    pub const GROUP: &str = "messaging.consumer.group.name";
    pub const MESSAGE_ID: &str = "messaging.message.id";
    pub const CONVERSATION: &str = "messaging.message.conversation_id";
    pub const BATCH_COUNT: &str = "messaging.batch.message_count";
    pub const OFFSET: &str = "kafka.offset";
    pub const KEY: &str = "kafka.message.key";
    pub const ERROR_TYPE: &str = "error.type";
    pub const METHOD: &str = "http.request.method";
    pub const ROUTE: &str = "http.route";
    pub const STATUS: &str = "http.response.status_code";
    pub const SERVER: &str = "server.address";
    /// Ours: failed tries before this one, on a message that was parked.
    pub const ATTEMPT: &str = "message.attempt";
    /// Ours: the saga step of a call or deadline.
    pub const STEP: &str = "saga.step";
}

/// The system whose messages these are.
pub const KAFKA: &str = "kafka";
