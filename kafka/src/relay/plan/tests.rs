//! Cases and a simulation of [`plan`](super::plan).
