//! Signs and sends the requests for one bucket, and mends what S3 refuses for the gateway's sake. Both backends use it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use http::header::{DATE, LOCATION, RANGE, USER_AGENT, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use yatagarasu_core::{Clock, ErrorKind, SourceError, Traffic, innermost};

use crate::client::address::Address;
use crate::client::classify::{Asked, What, failure, region};
use crate::client::error_document::{ERROR_BYTES_MAX, ErrorDocument};
use crate::client::sign::Signer;
use crate::client::skew::Skew;
use crate::config::AccessDenied;
use crate::credentials::Credentials;
use crate::http_client::Transport;
use crate::http_client::body::BodyReader;

/// The value that the gateway adds to `Via` (RFC 9110 7.6.3).
const PSEUDONYM: HeaderValue = HeaderValue::from_static("1.1 yatagarasu");

/// The value of `User-Agent`.
const PRODUCT: HeaderValue = HeaderValue::from_static(concat!("yatagarasu/", env!("CARGO_PKG_VERSION")));

/// Maximum number of times that one request is sent: once as it is, and once more for each [`Remedy`].
const TRIES_MAX: usize = 4;

/// Signs requests for one bucket and sends them.
#[derive(Debug)]
pub(crate) struct BucketClient {
    /// The place that requests go to. It changes if S3 names another region.
    pub(crate) address: RwLock<Arc<Address>>,
    pub(crate) credentials: Credentials,
    pub(crate) signer: Signer,
    pub(crate) transport: Transport,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) skew: Skew,
    /// The name of the bucket in log lines.
    pub(crate) name: Arc<str>,
    /// Fields that every request has.
    pub(crate) request_headers: HeaderMap,
    pub(crate) access_denied: AccessDenied,
}

/// A request as both backends describe it.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// The object's key, percent-encoded. Empty for a list.
    pub(crate) key: String,
    /// The query, percent-encoded.
    pub(crate) query: Option<Arc<str>>,
    pub(crate) headers: HeaderMap,
    pub(crate) traffic: Traffic,
}

/// A change after which a refused request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Sign with S3's time.
    Clock,
    /// Sign with credentials fetched anew.
    Credentials,
    /// Sign for the region that S3 names.
    Region,
    /// Send the request to the host of the same service that S3 names.
    Redirect,
}

/// A refusal of S3, read to its end.
struct Refusal {
    error: SourceError,
    headers: HeaderMap,
    region: Option<String>,
}

impl BucketClient {
    /// Sends a request and returns its response once the head has arrived: a success or a 304. The request has the
    /// fields of `outgoing` and of the configuration, the signature, `User-Agent`, `Via` and `Host`.
    ///
    /// A refusal that S3 explains with the gateway's clock, credentials or region is answered by the [`Remedy`], once
    /// each, and the request is sent again: S3 has not carried it out.
    ///
    /// # Errors
    ///
    /// Returns any other refusal as an error.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Response<BodyReader>, SourceError> {
        let mut asked = Asked::of(&outgoing.method, &outgoing.headers, outgoing.query.as_deref());
        if outgoing.key.is_empty() {
            asked.method = What::List;
        }
        let mut address = self.address();
        let (mut tried, mut explaining) = (Vec::new(), true);
        loop {
            let signing = self.credentials.current().await?;
            let signed_at = self.skew.corrected(self.clock.date());
            let request = self.request(&outgoing, &address, signing.as_ref(), signed_at)?;
            let response = self.transport.send(request, outgoing.traffic).await?;
            if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
                self.credentials.accepted();
                return Ok(response);
            }
            let refusal = read(asked, response).await;
            let remedy = remedy(&refusal, &address, signing.as_ref().map(|_| signed_at));
            let mended = match remedy.filter(|remedy| !tried.contains(remedy) && tried.len() < TRIES_MAX) {
                None => false,
                Some(Remedy::Clock) => self.skew.learn(&self.name, &refusal.headers, self.clock.date()),
                Some(Remedy::Credentials) => self.renew(&refusal.error, signing.as_ref()).await,
                Some(Remedy::Region) => self.relocate(&refusal, &mut address),
                Some(Remedy::Redirect) => follow(&refusal, &mut address),
            };
            if mended {
                tried.extend(remedy);
                continue;
            }
            let bare = refusal.error.kind() == ErrorKind::Unexplained(StatusCode::BAD_REQUEST);
            if !(bare && asked.method == What::Head && explaining) {
                return Err(self.as_configured(asked, refusal.error));
            }
            explaining = false;
            match self.explained(&outgoing).await {
                Some(error) => return Err(self.as_configured(asked, error)),
                // It could be mended on the way.
                None => address = self.address(),
            }
        }
    }

    pub(crate) fn address(&self) -> Arc<Address> {
        Arc::clone(&self.address.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the region that requests are signed for.
    pub(crate) fn region(&self) -> String {
        self.address().region().to_owned()
    }

    fn request(
        &self,
        outgoing: &Outgoing,
        address: &Address,
        signing: Option<&AwsCredentials>,
        signed_at: SystemTime,
    ) -> Result<Request<()>, SourceError> {
        let uri = address.locate(&outgoing.key, outgoing.query.as_deref());
        let uri = uri.map_err(|error| {
            let reason = format!("the request has no valid URI: {error}");
            SourceError::new(ErrorKind::Invalid(StatusCode::BAD_REQUEST)).because(reason)
        })?;
        let mut request = Request::new(());
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = outgoing.headers.clone();
        for (name, value) in &self.request_headers {
            request.headers_mut().insert(name, value.clone());
        }
        if let Some(signing) = signing {
            self.signer.sign_for(&mut request, signing, address, signed_at).map_err(|error| {
                let reason = format!("the request cannot be signed: {}", innermost(&error));
                SourceError::new(ErrorKind::Misconfigured).because(reason).caused_by(Arc::new(error))
            })?;
        }
        let headers = request.headers_mut();
        headers.entry(USER_AGENT).or_insert(PRODUCT);
        headers.append(VIA, PSEUDONYM);
        Ok(request)
    }

    /// Fetches credentials in the place of those that S3 refused. Returns `true` if there are others now.
    async fn renew(&self, refusal: &SourceError, signing: Option<&AwsCredentials>) -> bool {
        match signing {
            Some(signing) => self.credentials.refused(signing, refusal).await,
            None => false,
        }
    }

    /// Signs for the region that S3 names from now on. Returns `false` if the configuration names another one.
    fn relocate(&self, refusal: &Refusal, address: &mut Arc<Address>) -> bool {
        let Some(relocated) = refusal.region.as_deref().and_then(|region| address.in_region(region)) else {
            return false;
        };
        let found = address.region().to_owned();
        *address = Arc::new(relocated);
        let mut shared = self.address.write().unwrap_or_else(PoisonError::into_inner);
        // Other requests that were on their way are refused as well.
        if shared.region() != address.region() {
            let region = address.region();
            tracing::warn!(
                bucket = &*self.name,
                found,
                region,
                "the bucket is in another region, which is used from now on: set `s3.region` to it"
            );
            *shared = Arc::clone(address);
        }
        true
    }

    /// Learns the reason of a bare 400 to a HEAD, which has no document, from a GET of the first byte. Returns `None` if
    /// the GET is not refused.
    async fn explained(&self, head: &Outgoing) -> Option<SourceError> {
        let mut get = Outgoing { method: Method::GET, ..head.clone() };
        get.headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        Box::pin(self.send(get)).await.err()
    }

    /// Applies `access_denied`. A list that is refused is not an object that is missing.
    fn as_configured(&self, asked: Asked, error: SourceError) -> SourceError {
        if asked.method == What::List {
            return error;
        }
        match (self.access_denied, error.kind()) {
            (AccessDenied::NotFound, ErrorKind::Denied)
                if error.response().is_some_and(|response| response.code == "AccessDenied") =>
            {
                error.of_kind(ErrorKind::NotFound)
            }
            (AccessDenied::NotFound, ErrorKind::Unexplained(StatusCode::FORBIDDEN)) => {
                error.of_kind(ErrorKind::Unexplained(StatusCode::NOT_FOUND))
            }
            (AccessDenied::NotFound | AccessDenied::Forbidden, _) => error,
        }
    }
}

/// Returns the remedy for a refusal, if there is one. `signed_at` is the time that the request was signed with, if it was.
fn remedy(refusal: &Refusal, address: &Address, signed_at: Option<SystemTime>) -> Option<Remedy> {
    match refusal.error.kind() {
        // A HEAD's refusal has no code: S3's time tells.
        ErrorKind::Unauthenticated | ErrorKind::Unexplained(_)
            if signed_at.is_some_and(|signed_at| Skew::explains(&refusal.headers, signed_at)) =>
        {
            Some(Remedy::Clock)
        }
        ErrorKind::Unauthenticated => Some(Remedy::Credentials),
        ErrorKind::Misconfigured | ErrorKind::Unexplained(_)
            if refusal.region.as_deref().is_some_and(|region| region != address.region()) =>
        {
            Some(Remedy::Region)
        }
        ErrorKind::Misconfigured if refusal.headers.contains_key(LOCATION) => Some(Remedy::Redirect),
        _ => None,
    }
}

/// Sends this request to the host of the same service that S3 names, as for a bucket created some minutes ago.
fn follow(refusal: &Refusal, address: &mut Arc<Address>) -> bool {
    let location = refusal.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(moved) = location.and_then(|location| address.redirected(location)) else { return false };
    *address = Arc::new(moved);
    true
}

/// Reads a refusal to its end, up to [`ERROR_BYTES_MAX`].
async fn read(asked: Asked, response: Response<BodyReader>) -> Refusal {
    let (head, content) = response.into_parts();
    let document = crate::client::response::document(content).await;
    debug_assert!(document.len() <= ERROR_BYTES_MAX);
    let error = failure(asked, head.status, &head.headers, &document);
    let region = region(&head.headers, &ErrorDocument::parse(&document).region);
    Refusal { error, headers: head.headers, region }
}

/// Returns the time that S3 says a response was sent at.
pub(crate) fn sent_at(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}
