//! What the tests of the server share: a gateway with its servers, clients, and sources that do as a test says.

pub(crate) mod origin;
pub(crate) mod scripted;
pub(crate) mod site;
