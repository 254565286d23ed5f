//! Tests of clients that are many, slow or hostile: each has a bound, and hurts nobody else.

mod content;
mod heads;
mod limits;
mod memory;
mod proxies;
