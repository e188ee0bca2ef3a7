//! Random histories and garbage: totality, determinism, and that noise moves nothing.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use saga::{Event, Input, Outcome, State, StepState, actions, advance, awaited, decide, evolve};

use crate::support::{inputs, linear, parallel, wide};

fn any_definition() -> impl Strategy<Value = saga::Definition> {
    select(vec![parallel(), linear(), wide()])
}

fn any_state() -> impl Strategy<Value = StepState> {
    select(StepState::ALL.to_vec())
}

fn any_event() -> impl Strategy<Value = Event> {
    let step = prop_oneof!["(hold|authorize|capture|commit)", "[a-z]{0,3}"];
    prop_oneof![
        (step.clone(), any::<i64>(), any::<i64>()).prop_map(|(step, deadline_at, started_at)| Event::Started {
            definition: "parallel".to_owned(),
            shape_version: 3,
            step,
            deadline_at,
            started_at,
        }),
        (step, any_state(), proptest::option::of("[a-z]{0,5}"), proptest::option::of("[a-z]{0,5}"), any::<Option<i64>>(), any::<i64>())
            .prop_map(|(step, state, reason, by, deadline_at, recorded_at)| Event::StepRecorded {
                step,
                state,
                reason,
                by,
                deadline_at,
                recorded_at
            }),
        (any::<bool>(), any::<i64>()).prop_map(|(confirmed, ended_at)| Event::Ended {
            outcome: if confirmed { Outcome::Confirmed } else { Outcome::Cancelled },
            ended_at,
        }),
    ]
}

proptest! {
    /// Any stored history folds, and any input in what it folds to is decided without a panic.
    #[test]
    fn any_history_folds_and_any_input_is_decided(events in vec(any_event(), 0..20), now: i64) {
        let state = events.iter().fold(State::default(), evolve);
        for definition in [parallel(), linear(), wide()] {
            for input in inputs(&definition) {
                let turn = advance(&definition, state.clone(), &input, now);
                prop_assert_eq!(turn.actions, actions(&definition, &state, &turn.events));
                drop(awaited(&definition, &turn.state));
            }
        }
    }

    /// A run with repeats and noise between its inputs records the same events as the run without them, decisions taken at the same instants.
    #[test]
    fn inputs_repeated_at_once_record_nothing(definition in any_definition(), picks in vec((any::<prop::sample::Index>(), 0_i64..5_000_000_000), 0..40)) {
        let inputs = inputs(&definition);
        let mut state = advance(&definition, State::default(), &Input::Start, 0).state;
        let mut now = 0_i64;
        for (pick, elapsed) in picks {
            now += elapsed;
            let input = pick.get(&inputs);
            let events = decide(&definition, &state, input, now);
            prop_assert_eq!(&events, &decide(&definition, &state, input, now));
            state = events.iter().fold(state, evolve);
            prop_assert_eq!(decide(&definition, &state, input, now), vec![]);
        }
    }

    /// Time only matters to deadlines: shifting every instant shifts every recorded instant.
    #[test]
    fn instants_come_only_from_the_caller(definition in any_definition(), picks in vec(any::<prop::sample::Index>(), 0..20), shift in 0_i64..1_000_000_000_000) {
        let inputs = inputs(&definition);
        let (mut here, mut there) = (State::default(), State::default());
        for pick in std::iter::once(Input::Start).chain(picks.iter().map(|pick| pick.get(&inputs).clone())) {
            here = advance(&definition, here, &pick, 7).state;
            there = advance(&definition, there, &pick, 7 + shift).state;
            prop_assert_eq!(here.status(), there.status());
            prop_assert_eq!(here.armed().map(|armed| (armed.at + shift, armed.step)), there.armed().map(|armed| (armed.at, armed.step)));
        }
    }
}
