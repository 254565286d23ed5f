//! The public front end: connections, routes, responses.

mod activity;
mod body;
mod connection;
mod front;
mod limits;
mod problem;
mod request_id;
mod response;
mod route;
mod watched;

pub use body::ResponseBody;
pub(crate) use connection::serve;
pub use front::{Bucket, Front};
pub(crate) use limits::ConnectionLimits;
pub(crate) use route::Route;
