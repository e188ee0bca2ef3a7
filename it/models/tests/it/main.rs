use stateright::{Checker, Model};
use models::relay::*;
fn run(name:&str, m: Relay, threads: usize) {
    let t=std::time::Instant::now();
    let c = m.checker().threads(threads).spawn_bfs().join();
    println!("{name}: {:?} unique={} total={} depth={} in {:?}", m.switch, c.unique_state_count(), c.state_count(), c.max_depth(), t.elapsed());
    let mut d: Vec<_> = c.discoveries().into_iter().collect(); d.sort_by_key(|d| d.0);
    for (n,p) in d { let a=p.into_actions(); println!("   {n}: {} steps", a.len()); }
}
#[test]
fn count() {
    for (s, n) in [(TWO_AND_ONE,"2+1"),(THREE_OF_ONE,"1+1+1")] {
        for (starts, held_up) in [(2,1),(3,1)] {
            println!("starts {starts} held {held_up}");
            run(n, Relay{switch:Switch::None, scenario:s, starts, held_up}, 2);
        }
    }
}
#[test]
fn broken() {
    for switch in [Switch::NaiveIdOrder, Switch::XidOrder, Switch::SnapshotBarrier, Switch::NoDoubtRule, Switch::PositionOutside] {
    for (s, n) in [(TWO_AND_ONE,"2+1"),(THREE_OF_ONE,"1+1+1")] {
            run(n, Relay{switch, scenario:s, starts:2, held_up:1}, 2);
    }}
}
