//! What is printed from the table of [`keys`](crate::config::keys): the effective configuration, the example, the JSON
//! Schema, and the tables of the documentation.
//!
//! The example is rendered when it is asked for. A copy is kept in `docs/src/example.yaml`, because the documentation
//! shows it and a reader of the repository finds it there. The documentation's tables are kept in
//! `docs/src/configuration.md`. The tests hold both equal to what is rendered here.

mod example;
mod schema;
mod show;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

pub use example::example;
pub use schema::schema;
pub(super) use show::caching;
pub use show::show;
