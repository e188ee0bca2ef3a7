//! Failed messages: their key waits in order, other keys do not; what is given up is listed, and can be sent back.

mod decisions;
mod order;
mod trouble;
mod world;
