//! CORS preflight requests, which pass to the source.

use std::sync::Arc;

use http::StatusCode;
use http::header;

use crate::caching::cache_status::{CacheStatus, ForwardReason, Forwarding};
use crate::gateway::outcome::body::ReplyBody;
use crate::gateway::outcome::{GatewayError, Outcome, Reply};
use crate::gateway::request::Request;
use crate::gateway::{Shared, forward};
use crate::source::trace::SourceTrace;

impl Shared {
    /// Forwards a CORS preflight request to the source. Its answer is not stored: browsers cache it themselves
    /// (`Access-Control-Max-Age`).
    pub(super) async fn preflight(&self, request: &Request, trace: &Arc<SourceTrace>) -> Outcome {
        let asked = forward::preflight(request, &self.policy).traced(trace);
        let mut forwarding = Forwarding::new(ForwardReason::Method);
        let reply = match self.source.preflight(&request.key.object, &asked).await {
            Ok(meta) => {
                let mut headers = meta.into_headers();
                // The reply has no body, so these fields of the source's document are dropped.
                headers.remove(header::CONTENT_LENGTH);
                headers.remove(header::CONTENT_TYPE);
                Ok(Reply { status: StatusCode::OK, headers, body: ReplyBody::Empty })
            }
            Err(error) => {
                forwarding.status = error.status();
                Err(GatewayError::Source(error))
            }
        };
        Outcome { handling: CacheStatus::Forwarded(forwarding), reply }
    }
}
