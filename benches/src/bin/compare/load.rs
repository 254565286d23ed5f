//! The load: clients, mostly on one thread, that check the status and the length of every response.

mod batches;
mod closed;
mod connection;
mod head;
mod multiplexed;
mod open;
mod prober;
mod response;
mod wanted;
mod window;

pub(crate) use batches::batches;
pub(crate) use closed::closed;
pub(crate) use connection::{Connection, READ_BYTES_MAX};
pub(crate) use multiplexed::multiplexed;
pub(crate) use open::open;
pub(crate) use prober::Prober;
pub(crate) use response::{Checking, Response};
pub(crate) use wanted::{Pick, Wanted};
pub(crate) use window::{Spent, Window, spent};
