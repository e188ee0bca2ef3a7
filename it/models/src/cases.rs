//! What is searched: the protocols as they are, and each of them without one defence.

use crate::consumer::{Consumer, Defences, NOT_REFUSED, ONCE, ONLY_THE_OWNER, PLAIN, REWOUND};
use crate::relay::{CHAIN, NOT_LOST, NOT_TWICE, ONE_BY_ONE, ORDER, Relay, Switch, THREE_OF_ONE, TWO_AND_ONE, WHOLE};
use crate::story::{Story, shortest};

/// The relay as it is: every promise must hold in every state.
pub const RELAY: [Relay; 3] = [
    Relay { switch: Switch::None, scenario: TWO_AND_ONE, starts: 3, held_up: 1, only: None },
    Relay { switch: Switch::None, scenario: TWO_AND_ONE, starts: 2, held_up: 2, only: None },
    Relay { switch: Switch::None, scenario: THREE_OF_ONE, starts: 2, held_up: 1, only: None },
];

/// The consumer as it is.
pub const CONSUMER: [Consumer; 2] = [
    Consumer { defences: Defences::ALL, log: PLAIN, takes: 4, only: None },
    Consumer { defences: Defences::ALL, log: REWOUND, takes: 4, only: None },
];

/// A protocol without one defence, and the promise that goes with it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Heading of the page.
    pub name: &'static str,
    /// What is switched off, in a sentence.
    pub without: &'static str,
    /// The model that shows it.
    pub model: Broken,
}

/// The model of a case.
#[derive(Debug, Clone, Copy)]
pub enum Broken {
    /// Of the relay.
    Relay(Relay),
    /// Of the consumer.
    Consumer(Consumer),
}

impl Case {
    /// The shortest counterexample, or `None`: then the defence is not needed for this promise.
    #[must_use]
    pub fn shortest(&self) -> Option<Story> {
        match self.model {
            Broken::Relay(model) => shortest(model),
            Broken::Consumer(model) => shortest(model),
        }
    }
}

/// Order by xid.
pub const XID_ORDER: Case = Case {
    name: "Xid order",
    without: "Rows are published in the order of (xid, id) below `xmin`, as many outboxes do. An xid is drawn at the first write, \
              the aggregate is locked later, so the order of xids is not the order of commits.",
    model: Broken::Relay(Relay { switch: Switch::XidOrder, scenario: THREE_OF_ONE, starts: 1, held_up: 0, only: Some(ORDER) }),
};

/// No doubt rule.
pub const NO_DOUBT_RULE: Case = Case {
    name: "No doubt rule",
    without: "A commit that succeeds late counts as done, and after one that fails the producer aborts and carries on, as \
              clients do when an error asks for an abort. A held-up request of the same epoch then ends a later transaction half way. \
              The same was seen on Kafka 4.1 with librdkafka 2.12.1.",
    model: Broken::Relay(Relay { switch: Switch::NoDoubtRule, scenario: TWO_AND_ONE, starts: 1, held_up: 2, only: Some(NOT_LOST) }),
};

/// The same, torn instead of lost.
pub const NO_DOUBT_RULE_TORN: Case = Case {
    name: "No doubt rule, torn",
    without: "As before, with a held-up commit instead of a held-up abort.",
    model: Broken::Relay(Relay { switch: Switch::NoDoubtRule, scenario: TWO_AND_ONE, starts: 1, held_up: 1, only: Some(WHOLE) }),
};

/// Half a doubt rule.
pub const SLOW_IS_GOOD: Case = Case {
    name: "Slow commits trusted",
    without: "A commit that fails is doubt, one that succeeds late is not: the first request may still be on its way.",
    model: Broken::Relay(Relay { switch: Switch::SlowIsGood, scenario: ONE_BY_ONE, starts: 2, held_up: 1, only: Some(NOT_TWICE) }),
};

/// Position outside the transaction.
pub const POSITION_OUTSIDE: Case = Case {
    name: "Position outside the transaction",
    without: "The position is written after the commit, like a mark or a delete in the database.",
    model: Broken::Relay(Relay { switch: Switch::PositionOutside, scenario: TWO_AND_ONE, starts: 2, held_up: 0, only: Some(NOT_TWICE) }),
};

/// The same, as readers see it.
pub const POSITION_OUTSIDE_CHAIN: Case = Case {
    name: "Position outside the transaction, chain",
    without: "As before; a repeat also breaks the chain, so readers notice.",
    model: Broken::Relay(Relay { switch: Switch::PositionOutside, scenario: TWO_AND_ONE, starts: 2, held_up: 0, only: Some(CHAIN) }),
};

/// `id > last`.
pub const NAIVE_ID_ORDER: Case = Case {
    name: "Naive id order",
    without: "Everything above the last id is published, whatever is missing below.",
    model: Broken::Relay(Relay { switch: Switch::NaiveIdOrder, scenario: TWO_AND_ONE, starts: 1, held_up: 0, only: Some(NOT_LOST) }),
};

/// The barrier from the snapshot.
pub const SNAPSHOT_BARRIER: Case = Case {
    name: "Snapshot barrier",
    without: "A gap is given up when `xmin` has passed the `xmax` of a snapshot, instead of an xid drawn for it.",
    model: Broken::Relay(Relay { switch: Switch::SnapshotBarrier, scenario: TWO_AND_ONE, starts: 1, held_up: 0, only: Some(NOT_LOST) }),
};

/// No epoch check.
pub const NO_EPOCH_CHECK: Case = Case {
    name: "No epoch check",
    without: "The progress row is moved whatever epoch it has.",
    model: Broken::Consumer(Consumer {
        defences: Defences { epoch: false, ..Defences::ALL },
        log: PLAIN,
        takes: 3,
        only: Some(ONLY_THE_OWNER),
    }),
};

/// Neither epoch nor offset is compared.
pub const NO_ROW_CHECK: Case = Case {
    name: "No row check",
    without: "The progress row is moved whatever epoch and offset it has.",
    model: Broken::Consumer(Consumer {
        defences: Defences { epoch: false, offset: false, ..Defences::ALL },
        log: PLAIN,
        takes: 3,
        only: Some(ONCE),
    }),
};

/// Start from Kafka's offsets.
pub const KAFKA_OFFSETS: Case = Case {
    name: "Start from Kafka's offsets",
    without: "A member starts at the offset committed to Kafka; the progress row is still compared.",
    model: Broken::Consumer(Consumer { defences: Defences { row: false, ..Defences::ALL }, log: PLAIN, takes: 3, only: Some(NOT_REFUSED) }),
};

/// Kafka's offsets are all there is.
pub const ONLY_KAFKA_OFFSETS: Case = Case {
    name: "Only Kafka's offsets",
    without: "A member starts at the offset committed to Kafka, and neither the row's offset nor the chain is compared.",
    model: Broken::Consumer(Consumer {
        defences: Defences { row: false, offset: false, chain: false, ..Defences::ALL },
        log: PLAIN,
        takes: 3,
        only: Some(ONCE),
    }),
};

/// No chain.
pub const NO_CHAIN: Case = Case {
    name: "No chain",
    without: "Records that were published twice are not recognised.",
    model: Broken::Consumer(Consumer { defences: Defences { chain: false, ..Defences::ALL }, log: REWOUND, takes: 3, only: Some(ONCE) }),
};

/// The cases told in docs/decisions/0008-models.md.
pub const TOLD: [Case; 3] = [XID_ORDER, NO_DOUBT_RULE, POSITION_OUTSIDE];
