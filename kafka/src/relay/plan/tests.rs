//! Cases and a simulation of [`plan`](super::plan).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{BLOCK_IDS, Damage, Gap, Next, Plan, Read, Slot, plan};

/// All rows of one block.
fn block(number: i64, rows: i32) -> Vec<Slot> {
    (1..=i64::from(rows)).map(|ordinal| Slot { id: number * BLOCK_IDS + ordinal, tx_rows: rows }).collect()
}

fn read(slots: &[Slot], xmin: u64) -> Read<'_> {
    Read { slots, xmin, truncated: false }
}

#[test]
fn whole_blocks_go_out_up_to_the_first_missing_one() {
    let now = Instant::now();
    let slots = [block(4, 2), block(5, 1), block(7, 3)].concat();
    let plan = plan(3, None, read(&slots, 1), now).unwrap();
    assert_eq!(
        plan,
        Plan { emit: 3, dead: 0, gap: Some(Gap { block: 6, since: now, barrier: None, warned: false }), next: Next::Gap, stalled: false }
    );
}

#[test]
fn nothing_is_missing_above_the_last_visible_block() {
    let done = plan(3, None, read(&[], 1), Instant::now()).unwrap();
    assert_eq!((done.emit, done.gap, done.next), (0, None, Next::Wait));
}

#[test]
fn a_gap_is_settled_by_an_xid_of_our_own_and_by_nothing_less() {
    let start = Instant::now();
    let slots = [block(5, 1), block(8, 2)].concat();
    let young = plan(3, None, read(&slots, 90), start).unwrap();
    assert_eq!((young.emit, young.next), (0, Next::Gap));
    let old = plan(3, young.gap, read(&slots, 95), start + Duration::from_millis(10)).unwrap();
    assert_eq!((old.emit, old.next), (0, Next::Draw { seen: 8 }));
    let gap = old.gap.map(|gap| gap.settle(100, 8));
    let reached = plan(3, gap, read(&slots, 100), start + Duration::from_millis(11)).unwrap();
    assert_eq!((reached.emit, reached.next, reached.dead), (0, Next::Gap, 0));
    let passed = plan(3, reached.gap, read(&slots, 101), start + Duration::from_millis(12)).unwrap();
    assert_eq!((passed.emit, passed.next, passed.dead), (3, Next::Wait, 3));
}

#[test]
fn a_settled_read_does_not_reach_past_the_block_seen_before_the_barrier() {
    let now = Instant::now();
    let gap = Gap { block: 4, since: now, barrier: None, warned: false }.settle(100, 5);
    let slots = [block(5, 1), block(8, 1)].concat();
    let passed = plan(3, Some(gap), read(&slots, 101), now).unwrap();
    assert_eq!((passed.emit, passed.dead), (1, 1));
    assert_eq!(passed.gap, Some(Gap { block: 6, since: now, barrier: None, warned: false }));
}

#[test]
fn a_late_commit_closes_the_gap_and_its_barrier_serves_the_next_one() {
    let now = Instant::now();
    let gap = Gap { block: 4, since: now, barrier: None, warned: true }.settle(100, 8);
    let slots = [block(4, 1), block(8, 1)].concat();
    let seen = plan(3, Some(gap), read(&slots, 50), now + Duration::from_secs(9)).unwrap();
    assert_eq!((seen.emit, seen.next), (1, Next::Gap));
    let next = seen.gap.unwrap();
    assert_eq!((next.block, next.barrier, next.warned), (5, gap.barrier, false));
}

#[test]
fn a_block_that_the_row_limit_cuts_waits_for_the_next_read() {
    let slots = [block(1, 2), block(2, 3)].concat();
    let cut = Read { slots: &slots[..4], xmin: 1, truncated: true };
    let plan_of_both = plan(0, None, cut, Instant::now()).unwrap();
    assert_eq!((plan_of_both.emit, plan_of_both.next), (2, Next::More));
    let cut = Read { slots: &slots[2..4], xmin: 1, truncated: true };
    let plan_of_one = plan(1, None, cut, Instant::now()).unwrap();
    assert_eq!((plan_of_one.emit, plan_of_one.next), (0, Next::Wider));
}

/// Found by the simulation below: the barrier was dropped with the gap, so the relay drew another one for ever.
#[test]
fn a_cut_block_behind_a_settled_gap_keeps_the_barrier_for_the_wider_read() {
    let now = Instant::now();
    let gap = Gap { block: 1, since: now, barrier: None, warned: false }.settle(100, 2);
    let slots = block(2, 3);
    let cut = plan(0, Some(gap), Read { slots: &slots[..1], xmin: 101, truncated: true }, now).unwrap();
    assert_eq!((cut.emit, cut.next), (0, Next::Wider));
    let wide = plan(0, cut.gap, read(&slots, 101), now).unwrap();
    assert_eq!((wide.emit, wide.next, wide.gap), (3, Next::Wait, None));
}

#[test]
fn damage_is_named_and_never_published_past() {
    let now = Instant::now();
    let below = plan(5, None, read(&block(5, 1), 1), now).unwrap_err();
    assert_eq!(below.block, 5);
    let short = plan(0, None, read(&block(1, 3)[..2], 1), now).unwrap_err();
    assert_eq!(short, Damage { block: 1, what: "its last rows are missing" });
    let hole = plan(0, None, read(&[block(1, 3)[0], block(1, 3)[2]], 1), now).unwrap_err();
    assert_eq!(hole, Damage { block: 1, what: "rows of it are missing or disagree about its size" });
    let truncated = Read { slots: &block(1, 3)[1..], xmin: 1, truncated: true };
    assert_eq!(plan(0, None, truncated, now).unwrap_err().block, 1);
}

#[test]
fn the_oldest_writer_is_named_once_after_a_second() {
    let start = Instant::now();
    let slots = block(5, 1);
    let mut gap = None;
    let mut warnings = 0;
    for millis in (0..3_000).step_by(100) {
        let plan = plan(3, gap, read(&slots, 1), start + Duration::from_millis(millis)).unwrap();
        warnings += u32::from(plan.stalled);
        gap = plan.gap.map(|gap| if matches!(plan.next, Next::Draw { .. }) { gap.settle(7, 5) } else { gap });
    }
    assert_eq!(warnings, 1);
}

/// What a writer or the relay does next. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Op {
    /// A transaction begins; `early` ones write something first and so have an xid long before their block.
    Begin { early: bool },
    /// One of the running transactions draws its xid if it has none, then its block, and inserts rows.
    Append { choice: usize, rows: i32 },
    /// One of the running transactions ends.
    End { choice: usize, commit: bool },
    /// The relay does its next step: a read, or the xid that the last read asked for.
    Relay,
    /// Time passes.
    Tick { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => any::<bool>().prop_map(|early| Op::Begin { early }),
        4 => (any::<usize>(), 1..=5).prop_map(|(choice, rows)| Op::Append { choice, rows }),
        4 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(choice, commit)| Op::End { choice, commit }),
        4 => Just(Op::Relay),
        1 => (1_u64..20).prop_map(|millis| Op::Tick { millis }),
    ]
}

#[derive(Debug, Default, Clone, Copy)]
struct Writer {
    xid: Option<u64>,
    block: Option<(i64, i32)>,
}

/// A database with its writers, and a relay that obeys [`plan`].
#[derive(Debug)]
struct World {
    xid: u64,
    sequence: i64,
    running: Vec<Writer>,
    committed: BTreeMap<i64, i32>,
    now: Instant,
    cursor: i64,
    gap: Option<Gap>,
    draw: Option<i64>,
    /// Rows of the next read; the largest transaction has 5.
    limit: usize,
    small: usize,
    published: Vec<i64>,
    given_up: BTreeSet<i64>,
}

impl World {
    fn new(small: usize) -> Self {
        Self {
            xid: 100,
            sequence: 0,
            running: Vec::new(),
            committed: BTreeMap::new(),
            now: Instant::now(),
            cursor: 0,
            gap: None,
            draw: None,
            limit: small,
            small,
            published: Vec::new(),
            given_up: BTreeSet::new(),
        }
    }

    fn draw_xid(&mut self) -> u64 {
        self.xid += 1;
        self.xid
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Begin { early } => {
                let xid = early.then(|| self.draw_xid());
                self.running.push(Writer { xid, block: None });
            }
            Op::Append { choice, rows } => {
                let open: Vec<usize> = (0..self.running.len()).filter(|index| self.running[*index].block.is_none()).collect();
                if let Some(index) = open.get(choice % open.len().max(1)) {
                    let xid = self.running[*index].xid.unwrap_or_else(|| self.draw_xid());
                    self.sequence += 1;
                    self.running[*index] = Writer { xid: Some(xid), block: Some((self.sequence, rows)) };
                }
            }
            Op::End { choice, commit } => {
                if !self.running.is_empty() {
                    let writer = self.running.swap_remove(choice % self.running.len());
                    if commit && let Some((block, rows)) = writer.block {
                        assert!(!self.given_up.contains(&block), "block {block} was given up and then became visible");
                        self.committed.insert(block, rows);
                    }
                }
            }
            Op::Relay => self.relay(),
            Op::Tick { millis } => self.now += Duration::from_millis(millis),
        }
    }

    fn relay(&mut self) {
        if let Some(seen) = self.draw.take() {
            let xid = self.draw_xid();
            self.gap = self.gap.map(|gap| gap.settle(xid, seen));
            return;
        }
        let xmin = self.running.iter().filter_map(|writer| writer.xid).min().unwrap_or(self.xid + 1);
        let above = self.cursor / BLOCK_IDS;
        let mut slots: Vec<Slot> = self.committed.range(above + 1..).flat_map(|(number, rows)| block(*number, *rows)).collect();
        let truncated = slots.len() >= self.limit;
        slots.truncate(self.limit);
        let plan = plan(above, self.gap, Read { slots: &slots, xmin, truncated }, self.now).expect("the rows are sound");
        let emitted = &slots[..plan.emit];
        assert!(
            emitted.last().is_none_or(|last| last.id % BLOCK_IDS == i64::from(last.tx_rows)),
            "a Kafka transaction cuts a database transaction"
        );
        if let Some(last) = emitted.last() {
            let seen: BTreeSet<i64> = emitted.iter().map(|slot| slot.block()).collect();
            self.given_up.extend((above + 1..last.block()).filter(|number| !seen.contains(number)));
            self.cursor = last.id;
        }
        self.published.extend(emitted.iter().map(|slot| slot.id));
        self.gap = plan.gap;
        self.limit = if plan.next == Next::Wider { 6 } else { self.small };
        if let Next::Draw { seen } = plan.next {
            self.draw = Some(seen);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever the interleaving: every committed row once, in the order of ids, blocks whole, and no block given up that
    /// later becomes visible. Once all writers have ended the relay needs a bounded number of steps.
    #[test]
    fn every_committed_block_goes_out_once_whole_and_in_order(ops in prop::collection::vec(op(), 0..250), small in 1_usize..8) {
        let mut world = World::new(small);
        for op in &ops {
            world.apply(op);
        }
        while !world.running.is_empty() {
            world.apply(&Op::End { choice: 0, commit: !world.running.len().is_multiple_of(3) });
        }
        let steps = 10 + 6 * world.committed.len();
        for _ in 0..steps {
            world.apply(&Op::Tick { millis: 11 });
            world.apply(&Op::Relay);
        }
        let expected: Vec<i64> = world.committed.iter().flat_map(|(number, rows)| block(*number, *rows)).map(|slot| slot.id).collect();
        prop_assert_eq!(world.published, expected);
    }
}
