//! What users of comparable software have reported in public: one module for each kind of trouble, one test for what
//! the user sees. Each test names a report.

mod browsers;
mod changes;
mod dialects;
mod faults;
mod limits;
mod requests;
mod sharing;
mod stores;
