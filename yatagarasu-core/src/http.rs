//! RFC 9110: pure functions over header fields, shared by every other folder.
//!
//! [`method`] and [`fields`] say what the gateway knows of methods and field names. [`validator`] reads entity tags and
//! dates, [`conditional`] evaluates conditions against them (13), [`range`] and [`content_range`] select bytes (14),
//! and [`multipart`] lays several ranges out in one body (14.6). [`cors`] answers pages of other origins,
//! [`coding`] reads content codings and which of them a client accepts (8.4, 12.5.3), [`encoded_word`] decodes text that
//! S3 encoded because it is not ASCII, and [`response_fields`] changes the fields of responses. Nothing here knows
//! caches, sources or time.

pub mod coding;
pub mod conditional;
pub mod content_range;
pub mod cors;
pub mod encoded_word;
pub mod fields;
pub mod method;
pub mod multipart;
pub mod range;
pub mod response_fields;
pub mod trace_context;
pub mod validator;
