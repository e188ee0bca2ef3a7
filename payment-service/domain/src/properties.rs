//! Arbitrary orders, repeats and losses of messages, calls and answers against a model of the effect worker and the provider.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;
use values::{Currency, Money};

use crate::{
    Account, Ask, Asked, Card, Cause, Command, Decision, Effects, Event, Fact, Outcome, Payment, Progress, Step, complete, decide, entries,
    evolve,
};

const AMOUNT: Money = Money::new(500, Currency::USD);
const PLACED: usize = 0;
const CAPTURE: usize = 1;
const VOID: usize = 2;
const REFUND: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// A message is delivered, perhaps again.
    Message(usize),
    /// A message dies after its last attempt.
    Dies(usize),
    /// The worker claims the next call, commits, and calls.
    Call,
    /// The answer of the claimed call is recorded.
    Record,
    /// The answer is lost: the call will be made again.
    Lose,
    /// The caller dies after its call; its answer turns up later.
    Die,
    /// An answer of a caller that was taken for dead turns up.
    LateAnswer,
    /// A call of a caller that was taken for dead reaches the provider only now.
    LateCall(usize),
    /// The database is rebuilt: effects are lost, all messages are read again.
    Rebuild,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0_usize..4).prop_map(Happening::Message),
        1 => (PLACED..=CAPTURE).prop_map(Happening::Dies),
        6 => Just(Happening::Call),
        6 => Just(Happening::Record),
        2 => Just(Happening::Lose),
        2 => Just(Happening::Die),
        2 => Just(Happening::LateAnswer),
        2 => (0_usize..2).prop_map(Happening::LateCall),
        1 => Just(Happening::Rebuild),
    ]
}

/// What the card and the provider are like.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Fine,
    Declines,
    RefusesAuthorization,
    RefusesCapture,
}

/// The provider's books for one key.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Books {
    #[default]
    Unknown,
    Declined,
    Authorized,
    Captured,
    Voided,
    Refunded,
}

#[derive(Debug)]
struct Row {
    ask: Ask,
    asked: Asked,
    answer: Option<Outcome>,
}

#[derive(Debug)]
struct World {
    mood: Mood,
    card_on_order: Card,
    state: Payment,
    history: Vec<Fact>,
    rows: Vec<Row>,
    late: Vec<Outcome>,
    books: Books,
    delivered: Vec<usize>,
    died: Vec<usize>,
    published_before_void: Option<usize>,
}

impl World {
    fn new(mood: Mood, card_on_order: Card) -> Self {
        let (state, history, rows, late, books) = (Payment::default(), Vec::new(), Vec::new(), Vec::new(), Books::default());
        Self {
            mood,
            card_on_order,
            state,
            history,
            rows,
            late,
            books,
            delivered: Vec::new(),
            died: Vec::new(),
            published_before_void: None,
        }
    }

    fn effects(&self) -> Effects {
        let mut effects = Effects::default();
        for row in &self.rows {
            effects.set(row.ask.step(), row.asked);
        }
        effects
    }

    fn apply(&mut self, cause: Cause, decision: Decision) {
        for step in decision.drop {
            for row in self.rows.iter_mut().filter(|row| row.ask.step() == step) {
                assert!(matches!(row.asked.progress, Progress::Pending | Progress::Unknown), "only waiting calls are dropped");
                row.asked.progress = Progress::Dropped;
            }
        }
        for ask in decision.ask {
            assert!(self.rows.iter().all(|row| row.ask.step() != ask.step()), "a step is asked for once: {ask:?}");
            self.rows.push(Row { ask, asked: Asked { cause, progress: Progress::Pending }, answer: None });
        }
        for fact in decision.facts {
            let booked: i64 = entries(&self.state, &fact.event).iter().map(|entry| entry.amount.minor()).sum();
            assert_eq!(booked, 0, "{fact:?}");
            let before = self.state.clone();
            self.state = evolve(before.clone(), &fact);
            assert_ne!(self.state, before, "every published event of the happy model changes something: {fact:?}");
            self.history.push(fact);
        }
    }

    fn deliver(&mut self, message: usize) {
        let command = match message {
            PLACED => Command::OrderPlaced { total: AMOUNT, card: self.card_on_order },
            CAPTURE => Command::Capture { amount: AMOUNT, card: Card::Given },
            VOID | REFUND => Command::Void,
            other => panic!("no message {other}"),
        };
        if !self.delivered.contains(&message) {
            self.delivered.push(message);
        }
        if matches!(command, Command::Void) && self.published_before_void.is_none() {
            self.published_before_void = Some(self.history.len());
        }
        let cause = cause(message);
        let decision = decide(&self.state, &self.effects(), cause, &command);
        self.apply(cause, decision);
    }

    /// A message that was handled cannot die any more.
    fn die(&mut self, message: usize) {
        if self.delivered.contains(&message) {
            return;
        }
        let code = "died".to_owned();
        let command = if message == PLACED { Command::GiveUpAuthorize { code } } else { Command::GiveUpCapture { code } };
        self.died.push(message);
        let decision = decide(&self.state, &self.effects(), cause(message), &command);
        self.apply(cause(message), decision);
    }

    fn provider(&mut self, ask: Ask) -> Outcome {
        let (books, outcome) = match (ask, self.books, self.mood) {
            (Ask::Authorize { .. }, Books::Unknown, Mood::Declines) => {
                (Books::Declined, Outcome::Declined { code: "card_declined".to_owned() })
            }
            (Ask::Authorize { .. }, Books::Declined, _) => (Books::Declined, Outcome::Declined { code: "card_declined".to_owned() }),
            (Ask::Authorize { .. }, Books::Unknown, Mood::RefusesAuthorization) => {
                (Books::Unknown, Outcome::AuthorizeFailed { code: "refused".to_owned() })
            }
            (Ask::Authorize { amount }, Books::Unknown, _) => (Books::Authorized, Outcome::Authorized { amount }),
            (Ask::Authorize { amount }, Books::Authorized | Books::Captured, _) => (self.books, Outcome::Authorized { amount }),
            (Ask::Authorize { .. }, Books::Voided | Books::Refunded, _) => {
                (self.books, Outcome::AuthorizeFailed { code: "voided".to_owned() })
            }
            (Ask::Capture { .. }, Books::Authorized, Mood::RefusesCapture) => {
                (Books::Authorized, Outcome::CaptureFailed { code: "refused".to_owned() })
            }
            (Ask::Capture { amount }, Books::Authorized | Books::Captured, _) => (Books::Captured, Outcome::Captured { amount }),
            (Ask::Capture { .. }, Books::Unknown | Books::Declined | Books::Voided | Books::Refunded, _) => {
                (self.books, Outcome::CaptureFailed { code: "not_authorized".to_owned() })
            }
            (Ask::Void, Books::Captured | Books::Refunded, _) => (Books::Refunded, Outcome::Refunded { amount: AMOUNT }),
            (Ask::Void, Books::Unknown | Books::Declined | Books::Authorized | Books::Voided, _) => (Books::Voided, Outcome::Voided),
        };
        self.books = books;
        outcome
    }

    /// The row the worker may claim: the first that is open, one at a time.
    fn next_row(&self) -> Option<usize> {
        self.rows.iter().position(|row| matches!(row.asked.progress, Progress::Pending | Progress::Unknown | Progress::Calling))
    }

    fn call(&mut self) -> bool {
        let Some(index) = self.next_row() else { return false };
        self.rows[index].asked.progress = Progress::Calling;
        let answer = self.provider(self.rows[index].ask);
        self.rows[index].answer = Some(answer);
        true
    }

    fn record(&mut self) {
        let Some(index) = self.rows.iter().position(|row| row.answer.is_some()) else { return };
        let Some(outcome) = self.rows[index].answer.take() else { return };
        self.complete(&outcome);
        self.rows[index].asked.progress = Progress::Done;
    }

    fn complete(&mut self, outcome: &Outcome) {
        let decision = complete(&self.state, &self.effects(), outcome).expect("the model's provider agrees with our books");
        let cause = self.effects().get(outcome.step()).map_or(cause(9), |asked| asked.cause);
        self.apply(cause, decision);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Message(message) => self.deliver(message),
            Happening::Dies(message) => self.die(message),
            Happening::Call => drop(self.call()),
            Happening::Record => self.record(),
            Happening::Lose => {
                for row in self.rows.iter_mut().filter(|row| row.answer.is_some()) {
                    row.answer = None;
                    row.asked.progress = Progress::Unknown;
                }
            }
            Happening::Die => {
                let answers = self.rows.iter_mut().filter_map(|row| row.answer.take());
                self.late.extend(answers);
            }
            Happening::LateAnswer => {
                if let Some(outcome) = self.late.pop() {
                    let calling = self.effects().get(outcome.step()).is_some_and(|asked| asked.progress == Progress::Calling);
                    self.complete(&outcome);
                    // The runtime records an answer only while the row says `calling`, and then marks it done.
                    if calling {
                        for row in self.rows.iter_mut().filter(|row| row.ask.step() == outcome.step()) {
                            (row.asked.progress, row.answer) = (Progress::Done, None);
                        }
                    }
                }
            }
            Happening::LateCall(row) => {
                if let Some(ask) = self.rows.get(row).filter(|row| row.asked.progress != Progress::Pending).map(|row| row.ask) {
                    drop(self.provider(ask));
                }
            }
            Happening::Rebuild => {
                self.state = self.history.iter().fold(Payment::default(), evolve);
                self.rows.clear();
                self.late.clear();
                for message in self.delivered.clone() {
                    self.deliver(message);
                }
            }
        }
    }

    fn settle(&mut self) {
        while self.call() {
            self.record();
        }
    }

    fn published(&self, wanted: impl Fn(&Fact) -> bool) -> usize {
        self.history.iter().filter(|fact| wanted(fact)).count()
    }

    fn balances(&self) -> BTreeMap<Account, i64> {
        let mut balances = BTreeMap::new();
        let mut state = Payment::default();
        for fact in &self.history {
            for entry in entries(&state, &fact.event) {
                let balance: &mut i64 = balances.entry(entry.account).or_default();
                *balance = balance.strict_add(entry.amount.minor());
            }
            state = evolve(state, fact);
        }
        balances
    }

    fn check(&self) {
        assert_eq!(self.history.iter().fold(Payment::default(), evolve), self.state, "the state is the fold of the history");
        let sum = |wanted: fn(&Event) -> Option<Money>| -> i64 {
            self.history.iter().filter_map(|fact| wanted(&fact.event)).map(|amount| amount.minor()).sum()
        };
        let authorized = sum(|event| if let Event::Authorized { amount } = event { Some(*amount) } else { None });
        let captured = sum(|event| if let Event::Captured { amount } = event { Some(*amount) } else { None });
        let refunded = sum(|event| if let Event::Refunded { amount } = event { Some(*amount) } else { None });
        assert!(0 <= refunded && refunded <= captured && captured <= authorized, "{:?}", self.history);
        let answers = self.published(|fact| matches!(fact.event, Event::Voided | Event::Refunded { .. }));
        assert!(answers <= 1, "a payment has one end: {:?}", self.history);
        if let Some(before) = self.published_before_void {
            let after = self.history.iter().skip(before);
            let kept: Vec<_> = after.filter(|fact| !matches!(fact.event, Event::Voided | Event::Refunded { .. })).collect();
            assert!(kept.is_empty(), "published after the void was asked for: {kept:?}");
        }
    }

    fn check_settled(&self) {
        self.check();
        let balances = self.balances();
        if self.published_before_void.is_some() {
            let answers = self.published(|fact| matches!(fact.event, Event::Voided | Event::Refunded { .. }));
            assert_eq!(answers, 1, "every void is answered: {:?}", self.history);
            assert!(matches!(self.books, Books::Voided | Books::Refunded), "nothing stays at the provider: {:?}", self.books);
            assert!(balances.values().all(|balance| *balance == 0), "nothing stays in our books: {balances:?}");
            return;
        }
        let told = self.published(|fact| fact.cause == cause(CAPTURE) && !matches!(fact.event, Event::Authorized { .. }));
        let expected = usize::from(self.delivered.contains(&CAPTURE) || self.died.contains(&CAPTURE));
        assert_eq!(told, expected, "every capture is answered once: {:?}", self.history);
        let taken = if self.books == Books::Captured { AMOUNT.minor() } else { 0 };
        assert_eq!(
            balances.get(&Account::Captured).copied().unwrap_or_default(),
            taken,
            "our books are the provider's: {:?}",
            self.history
        );
    }
}

fn cause(message: usize) -> Cause {
    Cause(Uuid::from_u128(u128::try_from(message).unwrap()))
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![3 => Just(Mood::Fine), 1 => Just(Mood::Declines), 1 => Just(Mood::RefusesAuthorization), 1 => Just(Mood::RefusesCapture)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_payment_ends_once_and_conserves_money(
        mood in mood(),
        card in prop_oneof![4 => Just(Card::Given), 1 => Just(Card::Missing)],
        happenings in prop::collection::vec(happening(), 0..40),
    ) {
        let mut world = World::new(mood, card);
        for happening in happenings {
            world.happen(happening);
            world.check();
        }
        world.settle();
        world.check_settled();
    }

    #[test]
    fn without_faults_a_captured_order_is_paid(order in prop::sample::select(vec![[PLACED, CAPTURE], [CAPTURE, PLACED]]), calls in 0_usize..4) {
        let mut world = World::new(Mood::Fine, Card::Given);
        world.deliver(order[0]);
        for _ in 0..calls {
            world.happen(Happening::Call);
            world.happen(Happening::Record);
        }
        world.deliver(order[1]);
        world.settle();
        world.check_settled();
        prop_assert_eq!(world.state, Payment::Captured { authorized: AMOUNT, captured: AMOUNT });
    }

    #[test]
    fn any_history_replays(steps in prop::collection::vec((0_usize..4, 0_usize..7), 0..20)) {
        let mut state = Payment::default();
        for (message, kind) in steps {
            let event = match kind {
                0 => Event::Authorized { amount: AMOUNT },
                1 => Event::Captured { amount: AMOUNT },
                2 => Event::Declined { code: "x".to_owned() },
                3 => Event::Voided,
                4 => Event::Refunded { amount: AMOUNT },
                5 => Event::StepFailed { step: Step::Authorize.as_str().to_owned(), code: "x".to_owned() },
                _ => Event::StepFailed { step: Step::Capture.as_str().to_owned(), code: "x".to_owned() },
            };
            let undone = state.is_undone();
            let next = evolve(state.clone(), &Fact { cause: cause(message), event });
            prop_assert!(!undone || next == state, "nothing changes an undone payment");
            state = next;
        }
        let json = serde_json::to_string(&state).unwrap();
        prop_assert_eq!(serde_json::from_str::<Payment>(&json).unwrap(), state);
    }
}
