//! The public front end: connections, routing, and responses.

mod activity;
mod answering;
mod body;
mod connection;
mod desk;
mod executor;
mod express;
mod front;
mod limits;
mod opening;
mod outlet;
mod problem;
mod request_id;
mod response;
mod route;
mod sending;
mod stream;
mod sweeper;
mod watched;

pub(crate) use connection::serve;
pub(crate) use desk::Desk;
pub use front::{Bucket, Front};
pub(crate) use limits::ConnectionLimits;
pub(crate) use request_id::RequestId;
pub(crate) use route::Route;
pub(crate) use sweeper::Sweeper;
