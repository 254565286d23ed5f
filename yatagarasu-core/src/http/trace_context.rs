//! The trace that a request belongs to (W3C Trace Context).

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The trace of a request, and the span that has caused the request.
pub const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// The additions of tracing systems.
pub const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00, in bytes.
const BYTES: usize = 55;

/// The flag of a trace that is recorded.
pub const SAMPLED: u8 = 1;

/// The value of a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The number of the trace, not zero.
    pub trace_id: u128,
    /// The number of the span that has caused the request, not zero.
    pub parent_id: u64,
    /// The flags, of which the lowest says whether the caller records the trace.
    pub flags: u8,
}

impl TraceContext {
    /// Returns the context of a request, or `None` if it has none, an invalid one or several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACE_PARENT).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        Self::parse(value.as_bytes())
    }

    /// Parses a value of the form of version 00: version, trace, parent and flags in lower-case hexadecimal digits (3.2.2).
    /// Later versions that add to it at its end are not taken.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let is_dash = |index: usize| matches!(index, 2 | 35 | 52);
        let is_right = |(index, &byte): (usize, &u8)| {
            if is_dash(index) { byte == b'-' } else { matches!(byte, b'0'..=b'9' | b'a'..=b'f') }
        };
        if value.len() != BYTES || value.starts_with(b"ff") || !value.iter().enumerate().all(is_right) {
            return None;
        }
        let value = std::str::from_utf8(value).expect("digits and dashes");
        let trace_id = u128::from_str_radix(&value[3..35], 16).ok().filter(|id| *id != 0)?;
        let parent_id = u64::from_str_radix(&value[36..52], 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(&value[53..], 16).ok()?;
        Some(Self { trace_id, parent_id, flags })
    }

    /// Returns whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Returns the value of a `traceparent` of version 00.
    pub fn field(&self) -> HeaderValue {
        let mut value = String::with_capacity(BYTES);
        let Self { trace_id, parent_id, flags } = *self;
        write!(value, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}").expect("a string takes it");
        HeaderValue::try_from(value).expect("digits and dashes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_and_written() {
        let context = TraceContext::parse(VALUE.as_bytes()).expect("valid");
        assert_eq!(context.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((context.parent_id, context.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.field(), VALUE);
        for (flags, is_sampled) in [("-00", false), ("-03", true), ("-fe", false)] {
            let value = VALUE.replace("-01", flags);
            let context = TraceContext::parse(value.as_bytes()).expect("valid");
            assert_eq!(
                (context.is_sampled(), context.field().to_str().unwrap()),
                (is_sampled, value.as_str())
            );
        }
    }

    #[test]
    fn what_is_no_context_is_none() {
        for wrong in [
            "",
            &VALUE[..54],
            &format!("{VALUE}0"),
            &VALUE.replace("00-4", "ff-4"),
            &VALUE.replace("4bf", "4BF"),
            &VALUE.replace("00f067aa0ba902b7", "0000000000000000"),
            &VALUE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALUE.replace('-', "_"),
            &VALUE.replace("-01", "-+1"),
        ] {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong}");
        }
        let value = HeaderValue::from_static(VALUE);
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(TRACE_PARENT, value.clone());
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACE_PARENT, value);
        assert_eq!(TraceContext::of(&headers), None, "which one counts is not known");
    }
}
