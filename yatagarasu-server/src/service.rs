//! What a request gets: the service between client connections and the gateways of the buckets.
//!
//! The [`target`] of a request names its host. The [`router`] decodes a path and finds the [bucket](buckets) and the key, by
//! the host too: the [`destination`]. The [`handler`] of a thread asks the bucket's gateway, at once or in a [`task`], and
//! turns its outcome into a [`response`] with a [`body`], or into a [`problem`] document.
//!
//! A [`site`] says what is served in the place of an object that is not there, for example a [`listing`]. Of objects that are
//! there in content codings, too, clients get those that are [`precompressed`]. The [`client_address`] is that of a client
//! behind proxies. Some paths have answers of the gateway's [`own`]. [`explain`] says what a request would get.

pub(crate) mod body;
pub mod buckets;
pub mod client_address;
pub(crate) mod content_types;
mod destination;
mod download;
pub mod explain;
pub(crate) mod handler;
pub(crate) mod listing;
pub mod own;
mod precompressed;
pub(crate) mod problem;
pub(crate) mod response;
pub(crate) mod router;
pub(crate) mod site;
pub(crate) mod target;
pub(crate) mod task;
