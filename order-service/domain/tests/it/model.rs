//! The order saga against modelled participants: every interleaving of deliveries, outcomes, one cancel and two deadlines. Channels keep the order of
//! each topic's key and are not ordered between each other, as topics are.

use std::collections::{HashSet, VecDeque};

use order_domain::{AUTHORIZE, CAPTURE, COMMIT, HOLD, Order, command, decide, evolve, order_saga};
use saga::{Action, Answer, Decision, Definition, Input, Outcome, State, Status, advance};

const LATE: i64 = i64::MAX / 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Hold {
    None,
    Held,
    Rejected,
    Committed,
    Released,
    /// The create died: the fence of a step given up.
    Failed,
}

/// The payment as its service sees it; `Failed` is the fence of a step given up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Payment {
    None,
    Authorized,
    Captured,
    Declined,
    Failed,
    Voided,
    Refunded,
}

/// What the provider holds of the customer's money, whether or not the service knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Money {
    Free,
    Authorized,
    Taken,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    saga: State,
    decisions: Vec<Decision>,
    undone: bool,
    hold: Hold,
    payment: Payment,
    money: Money,
    order_placed: bool,
    to_inventory: VecDeque<&'static str>,
    to_payments: VecDeque<&'static str>,
    from_inventory: VecDeque<Input>,
    from_payments: VecDeque<Input>,
    cancels: u8,
    deadlines: u8,
    resumes: u8,
}

fn done(step: &str) -> Input {
    Input::reply(step, Answer::Done)
}

impl World {
    fn new(definition: &Definition) -> Self {
        let empty = Self {
            saga: State::default(),
            decisions: Vec::new(),
            undone: false,
            hold: Hold::None,
            payment: Payment::None,
            money: Money::Free,
            order_placed: true,
            to_inventory: VecDeque::new(),
            to_payments: VecDeque::new(),
            from_inventory: VecDeque::new(),
            from_payments: VecDeque::new(),
            cancels: 1,
            deadlines: 2,
            resumes: 1,
        };
        empty.orders(definition, &Input::Start)
    }

    fn orders(&self, definition: &Definition, input: &Input) -> Self {
        let mut next = self.clone();
        let now = if matches!(input, Input::Deadline { .. }) { LATE } else { 0 };
        let turn = advance(definition, next.saga, input, now);
        next.saga = turn.state;
        for action in turn.actions {
            match action {
                Action::Send { command, compensation, .. } => {
                    next.undone |= compensation;
                    if command.contains("Payment") { &mut next.to_payments } else { &mut next.to_inventory }.push_back(command);
                }
                Action::Decide(decision) => next.decisions.push(decision),
            }
        }
        next
    }

    /// Every world one step on.
    fn next(&self, definition: &Definition) -> Vec<Self> {
        let mut worlds = Vec::new();
        if self.cancels > 0 {
            worlds.push(Self { cancels: self.cancels - 1, ..self.clone() }.orders(definition, &Input::cancel("cancelled_by_customer")));
        }
        if let Some(armed) = self.saga.armed().filter(|_| self.deadlines > 0) {
            worlds.push(Self { deadlines: self.deadlines - 1, ..self.clone() }.orders(definition, &Input::deadline(armed.step)));
        }
        if self.saga.status() == Status::Stuck && self.resumes > 0 {
            worlds.push(Self { resumes: self.resumes - 1, ..self.clone() }.orders(definition, &Input::resume("ann", "mended")));
        }
        for from_inventory in [true, false] {
            let mut next = self.clone();
            let channel = if from_inventory { &mut next.from_inventory } else { &mut next.from_payments };
            if let Some(reply) = channel.pop_front() {
                worlds.push(next.orders(definition, &reply));
            }
        }
        worlds.extend(self.inventory());
        worlds.extend(self.payments());
        worlds
    }

    fn inventory(&self) -> Vec<Self> {
        let mut rest = self.clone();
        let Some(command) = rest.to_inventory.pop_front() else { return Vec::new() };
        let to = |hold, replies: &[Input]| {
            let mut next = Self { hold, ..rest.clone() };
            next.from_inventory.extend(replies.iter().cloned());
            next
        };
        match (command, self.hold) {
            ("CreateInventoryHold", Hold::None) => vec![
                to(Hold::Held, &[done(HOLD)]),
                to(Hold::Rejected, &[Input::reply(HOLD, Answer::refused("out_of_stock"))]),
                to(Hold::Failed, &[Input::reply(HOLD, Answer::failed("gave_up"))]),
            ],
            // Undo wins: a create that comes after its release does nothing.
            ("CreateInventoryHold", hold) => vec![to(hold, &[])],
            ("CommitInventoryHold", Hold::Held) => vec![to(Hold::Committed, &[done(COMMIT)])],
            ("ReleaseInventoryHold", Hold::None | Hold::Held | Hold::Rejected | Hold::Failed) => {
                vec![to(Hold::Released, &[Input::undone(HOLD)])]
            }
            // Sent again by a person who resumed the saga: it was answered the first time.
            ("CommitInventoryHold", Hold::Committed) | ("ReleaseInventoryHold", Hold::Released) if self.resumes == 0 => {
                vec![to(self.hold, &[])]
            }
            (command, hold) => panic!("{command} for a hold that is {hold:?} in {self:?}"),
        }
    }

    fn payments(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        let to = |rest: &Self, payment, money, replies: &[Input]| {
            let mut next = Self { payment, money, ..rest.clone() };
            next.from_payments.extend(replies.iter().cloned());
            next
        };
        let declined = [Input::reply(AUTHORIZE, Answer::refused("payment_declined"))];
        let failed = |step| [Input::reply(step, Answer::failed("gave_up"))];
        if self.order_placed {
            let rest = Self { order_placed: false, ..self.clone() };
            match self.payment {
                Payment::None => worlds.extend([
                    to(&rest, Payment::Authorized, Money::Authorized, &[]),
                    to(&rest, Payment::Declined, Money::Free, &declined),
                    to(&rest, Payment::Failed, Money::Authorized, &failed(AUTHORIZE)),
                    to(&rest, Payment::Failed, Money::Free, &failed(AUTHORIZE)),
                ]),
                Payment::Authorized | Payment::Captured | Payment::Declined | Payment::Failed | Payment::Voided | Payment::Refunded => {
                    worlds.push(to(&rest, self.payment, self.money, &[]));
                }
            }
        }
        let mut rest = self.clone();
        match (rest.to_payments.pop_front(), self.payment) {
            (None, _) => {}
            (Some("CapturePayment"), Payment::None | Payment::Authorized) => worlds.extend([
                to(&rest, Payment::Captured, Money::Taken, &[done(CAPTURE)]),
                to(&rest, Payment::Declined, Money::Free, &declined),
                to(&rest, Payment::Failed, Money::Taken, &failed(CAPTURE)),
                to(&rest, Payment::Failed, Money::Authorized, &failed(CAPTURE)),
            ]),
            (Some("CapturePayment"), payment) => worlds.push(to(&rest, payment, self.money, &[])),
            (Some("VoidPayment"), Payment::Voided | Payment::Refunded) if self.resumes == 0 => {
                worlds.push(to(&rest, self.payment, self.money, &[]));
            }
            (Some("VoidPayment"), Payment::Captured) => worlds.push(to(&rest, Payment::Refunded, Money::Free, &[Input::undone(AUTHORIZE)])),
            (Some("VoidPayment"), Payment::Declined) => worlds.push(to(&rest, Payment::Declined, Money::Free, &[Input::undone(AUTHORIZE)])),
            (Some("VoidPayment"), Payment::None | Payment::Authorized | Payment::Failed) => {
                worlds.push(to(&rest, Payment::Voided, Money::Free, &[Input::undone(AUTHORIZE)]));
            }
            (Some(command), payment) => panic!("{command} for a payment that is {payment:?} in {self:?}"),
        }
        worlds
    }

    fn check(&self) {
        assert!(self.decisions.len() <= 1, "{self:?}");
        if self.decisions.first() == Some(&Decision::Confirmed) {
            assert!(!self.undone, "confirmed and undone: {self:?}");
            assert!(self.hold == Hold::Held || self.hold == Hold::Committed, "confirmed without stock: {self:?}");
            assert_eq!((self.payment, self.money), (Payment::Captured, Money::Taken), "confirmed without money: {self:?}");
        }
        if self.saga.status() == Status::Ended(Outcome::Cancelled) {
            assert_ne!(self.hold, Hold::Held, "ended with stock set aside: {self:?}");
            assert_eq!(self.money, Money::Free, "ended with money: {self:?}");
        }
    }

    /// Everything was delivered and nobody acts any more.
    fn check_end(&self) {
        let Status::Ended(outcome) = self.saga.status() else { panic!("not ended: {self:?}") };
        let order = self
            .decisions
            .iter()
            .fold(Order::Pending { total: values::Money::zero(values::Currency::USD), payment_token: None }, |order, decision| {
                decide(&order, &command(decision, 0)).unwrap().iter().fold(order, evolve)
            });
        match outcome {
            Outcome::Confirmed => assert_eq!((order, self.hold, self.money), (Order::Confirmed, Hold::Committed, Money::Taken)),
            Outcome::Cancelled => {
                assert!(matches!(order, Order::Cancelled { .. }));
                assert!(matches!(self.hold, Hold::Released | Hold::Rejected | Hold::Failed) && self.money == Money::Free, "{self:?}");
            }
        }
    }
}

#[test]
fn stock_and_money_are_right_in_every_interleaving() {
    let definition = order_saga().unwrap();
    let first = World::new(&definition);
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    let mut ends = 0;
    while let Some(world) = open.pop() {
        world.check();
        let next = world.next(&definition);
        if next.iter().all(|next| next.saga == world.saga && next.cancels < world.cancels) {
            ends += 1;
            world.check_end();
        }
        open.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    assert!(seen.len() > 1_000 && ends > 20, "{} worlds, {ends} ends", seen.len());
}
