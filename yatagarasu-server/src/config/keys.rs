//! The table of configuration keys. Each key is written here, and nowhere else.
//!
//! A row says what its key means, its type, its default and its bounds. [`mod@rows`] turns the rows into the structs
//! that a file is deserialized into, and into [`Section`]s of [`Key`]s. The checks of single values, the messages,
//! `config show`, the example, the JSON Schema and the tables of the documentation are made from these.
//!
//! [`key`] describes a key and [`bounds`] the values that it takes. [`setting`] has a Rust type for each type of value,
//! and [`choice`] the values that are one of several names. A default is written as in a file, and deserialized as from
//! one. `null` stands for a key that is absent unless the file has it.

#[macro_use]
mod rows;
mod bounds;
mod choice;
mod key;
mod setting;

use serde::{Deserialize, Serialize};
use yatagarasu_cache::{CacheBackend, EvictionPolicy};
use yatagarasu_core::{ClientControl, ObjectControl};
use yatagarasu_s3::{AccessDenied, SourceBackend};

use crate::config::Secret;
use crate::config::units::{ByteSize, Decimal, Span};
use crate::service::client_address::AddressSource;
use crate::service::listing::ListingFormat;
use crate::tls::TlsVersion;
use bounds::Bounds;
use key::Absent::{Computed, Required};

pub(super) use choice::{Choice, CorsMode, RewriteStatus};
pub(super) use key::{Absent, Key, Kind, Section, Type};
pub(super) use setting::{Address, Again, Either, Fields, Lines, MASKED, Optional, Several};

/// The wildcard for all names. It must be the only entry of its list.
pub(super) const ALL: &str = "*";

/// A socket buffer. With less than a few packets a stream crawls. Operating systems take a C `int`.
const SOCKET_BUFFER: Bounds = Bounds::from(4 << 10).below(1 << 31).or_zero("to leave it to the system");

/// A time limit, in milliseconds. A smaller value is a mistaken unit, or a `0` that means "none" for other keys, and
/// breaks requests.
const TIME_LIMIT: Bounds = Bounds::from(10);

rows! {
    /// The configuration of the gateway.
    struct Settings, "the keys `server`, `admin`, `events`, `log`, `tracing` and `buckets`" {
        /// The listener for clients, and the resources that all buckets share.
        server: ServerSettings = {};
        /// The listener for operators.
        admin: AdminSettings = {};
        /// The notifications of changed objects.
        events: EventSettings = {};
        /// The log and the access log.
        log: LogSettings = {};
        /// The traces of requests, for OpenTelemetry.
        tracing: TracingSettings = {};
        /// The buckets to serve.
        buckets: Vec<BucketSettings> = [], else Required, bounds Bounds::rule("at least one");
    }

    /// The listener for clients, and the resources that all buckets share.
    struct ServerSettings, "the keys of `server`" {
        /// The address for clients: the short form of a listener without TLS. Port 0 takes a free port, which the log
        /// names.
        address: Option<Address> = null,
            else Computed("`127.0.0.1:8080`; none if there are `listeners`"), such as "127.0.0.1:8080",
            bounds Bounds::rule("`IP:PORT`, with IPv6 as `[::]:8080`; `localhost:PORT` means `127.0.0.1:PORT`");
        /// The listeners for clients, if one without TLS is not enough.
        listeners: Several<ListenerSettings> = [];
        /// The number of threads that serve clients. One more thread accepts connections and serves the admin API.
        threads: u16 = 0, bounds Bounds::ANY.or_zero("for one per core");
        /// The memory for objects while they are fetched into the caches, over all buckets. An object that does not
        /// fit into the free part is streamed and not stored.
        fill_memory: ByteSize = "256MB";
        /// The memory for objects that are still being sent although no cache holds them any more, as after an eviction
        /// or a purge. Beyond it, responses to clients that take nothing are ended, those that have waited longest first.
        response_memory: ByteSize = "256MB";
        /// How many unsent response bytes the kernel holds for a client, on Linux (`TCP_NOTSENT_LOWAT`). On other
        /// systems the key has no effect.
        notsent_lowat: ByteSize = "128KiB", bounds SOCKET_BUFFER;
        /// The budget for the sockets of all fast streams, of which each takes 8 MiB. It needs Linux and an
        /// `http://` endpoint.
        socket_memory: ByteSize = "128MiB", bounds Bounds::ANY.or_zero("for none");
        /// How many connections of clients may be open. When most are taken, idle ones are closed; beyond it clients
        /// get 503.
        connections_max: u32 = 0,
            bounds Bounds::ANY.or_zero("for half of the file descriptors that the process has left at its start");
        /// How many connections one client may have open: an IPv4 address, or an IPv6 network of 64 bits. Beyond it the
        /// client gets 429. Proxies in `client_address.trusted` are exempt.
        connections_per_client: u32 = 0, bounds Bounds::ANY.or_zero("for no limit");
        /// After how many requests a connection ends.
        requests_per_connection: u32 = 0, bounds Bounds::ANY.or_zero("for no limit");
        /// The longest request head. Beyond it clients get 431.
        header_size: ByteSize = "16KiB", bounds Bounds::from(8 << 10).below((1 << 20) + 1);
        /// How many streams a client may begin on one connection of HTTP/2 or HTTP/3 in a second. Beyond it the
        /// connection ends once its streams have.
        http2_streams_per_second: u32 = 0, bounds Bounds::ANY.or_zero("for no limit");
        /// How many streams of one connection of HTTP/2 or HTTP/3 a client may reset before it has their responses,
        /// unless they are fewer than half. Beyond it the connection is closed.
        http2_resets_max: u32 = 500, bounds Bounds::ANY.or_zero("for no limit");
        /// Where the address of a client comes from, for the log and the limits.
        client_address: ClientAddressSettings = {};
        /// A path at which every listener, for all hosts, says whether the server is ready: 200, or 503 once it stops. No bucket is
        /// asked, so that load balancers take no server out because S3 is slow.
        health_path: Option<String> = null, else Computed("none"), such as "/healthz",
            bounds Bounds::rule("a path, as it stands in requests");
        /// Paths that the gateway answers itself, for all hosts and before any bucket, such as `/robots.txt`.
        answers: Several<AnswerSettings> = [];
        /// The time a client has to send a complete request head. A connection that is idle for this long is closed.
        header_timeout: Span = "60s", bounds TIME_LIMIT;
        /// How long a client may take nothing of its response. The server then resets the connection.
        send_timeout: Span = "60s", bounds TIME_LIMIT.or_zero("for no limit");
        /// How many bytes a second a client has to take of its responses, on average over `send_timeout`, while bytes
        /// wait for it. The server then resets the connection.
        send_rate_min: ByteSize = "0", bounds Bounds::ANY.or_zero("for no limit");
        /// How long clients are still served after SIGTERM, while `/ready` says no, so that load balancers take note.
        drain: Span = "5s", bounds Bounds::ANY.or_zero("for not at all");
        /// How long running responses may continue after that, or after SIGINT.
        shutdown_grace: Span = "30s";
        /// What the caches begin with after a restart.
        warm_restart: WarmRestartSettings = {};
    }

    /// What the caches begin with after a restart.
    struct WarmRestartSettings, "the keys of `warm_restart`" {
        /// How many objects that the process before had stored are fetched in a second after the start.
        rate: u32 = 0, bounds Bounds::from(1).below(1001).or_zero("for none: the caches begin empty");
        /// A file for the keys of these objects, written when the server stops. A process that takes over from a running one
        /// asks that one, and needs no file.
        file: Option<String> = null, else Computed("none"), such as "/var/lib/yatagarasu/keys",
            bounds Bounds::rule("a path");
        /// How many objects are fetched in all: the hottest ones first, and then others by chance.
        objects_max: u32 = 10000, bounds Bounds::from(1).below(1_000_001);
    }

    /// An answer of the gateway itself.
    struct AnswerSettings, "the keys of `answers`, or a list of them" {
        /// The path that it is for.
        path: Option<String> = null, else Required, such as "/robots.txt",
            bounds Bounds::rule("a path, as it stands in requests, and used once");
        /// Its status.
        status: u16 = 200, bounds Bounds::rule("200 to 599, without redirects and 304");
        /// The type of its content.
        content_type: String = "text/plain; charset=utf-8", bounds Bounds::rule("a value of `Content-Type`");
        /// Its content.
        content: Lines = "", such as "User-agent: *", bounds Bounds::rule("up to 64 KiB; empty with the status 204");
    }

    /// A listener for clients.
    struct ListenerSettings, "the keys of a listener, or a list of listeners" {
        /// The address, or the path of a Unix socket.
        address: Option<Address> = null, else Required, such as "0.0.0.0:443",
            bounds Bounds::rule("as `server.address`, or `unix:/PATH`");
        /// The certificates, for a listener with TLS 1.2 and 1.3. Clients negotiate HTTP/2 or HTTP/1.1.
        tls: Optional<ListenerTlsSettings> = null,
            else Computed("no TLS"), such as { "certificates": [{ "cert": "/etc/ssl/www.pem", "key": "/etc/ssl/www.key" }] };
        /// The port of `https://` that every request is redirected to, on a listener without TLS.
        https_redirect: u16 = 0, bounds Bounds::rule("1 to 65535, usually 443; 0 for no redirect");
    }

    /// TLS of a listener for clients.
    struct ListenerTlsSettings, "the keys of `tls`" {
        /// The certificates with their keys. The name that a client asks for (SNI) selects one by the names in it; the
        /// first one is for all others. Files that change are read again.
        certificates: Several<CertificateSettings> = [], else Computed("none; needed without `acme`"),
            such as [{ "cert": "/etc/ssl/www.pem", "key": "/etc/ssl/www.key" }], bounds Bounds::rule("at least one");
        /// A certificate that an authority such as Let's Encrypt issues by itself (ACME), and renews.
        acme: Optional<AcmeSettings> = null, else Computed("none"),
            such as { "domains": ["www.example.com"], "storage": "/var/lib/yatagarasu/acme", "accept_terms": true };
        /// The oldest version of TLS that is spoken.
        min_version: Choice<TlsVersion> = "1.2";
        /// A file with the authorities, in PEM, that have to have issued the certificates of clients. Clients without a
        /// certificate are refused then.
        client_ca: Option<String> = null, else Computed("clients need no certificate"), such as "/etc/ssl/clients.pem";
        /// Whether HTTP/3 is served, too: over UDP, at the port of `address`. Clients learn of it from `Alt-Svc`.
        http3: bool = false;
        /// The port of HTTP/3 that clients are told, if it is another one outside, as behind a container.
        http3_port: u16 = 0, bounds Bounds::rule("1 to 65535, with `http3`; 0 for that of `address`");
        /// How long browsers that have been here come back over TLS only (`Strict-Transport-Security`).
        hsts: Span = 0, bounds Bounds::from(1_000).or_zero("for as long as they like");
    }

    /// A certificate that an authority issues.
    struct AcmeSettings, "the keys of `acme`" {
        /// The names of the hosts that it is for. Port 443 of each has to lead to this listener: the authority makes sure of the
        /// names by it (TLS-ALPN-01).
        domains: Option<Vec<String>> = null, else Required, such as ["www.example.com", "example.com"],
            bounds Bounds::rule("names, at least one; no addresses and no wildcards");
        /// The folder for the account, the certificate and its key. It is made if it is missing, for its owner alone. Keep it: an
        /// authority issues few certificates for one name in a week.
        storage: Option<String> = null, else Required, such as "/var/lib/yatagarasu/acme",
            bounds Bounds::rule("an absolute path");
        /// Whether the operator accepts the terms of service of the authority.
        accept_terms: bool = false, bounds Bounds::rule("`true`");
        /// URLs by which the authority may reach the operator.
        contact: Vec<String> = [], such as ["mailto:webmaster@example.com"], bounds Bounds::rule("`mailto:` URLs");
        /// The directory of the authority (RFC 8555 7.1.1).
        directory: String = "https://acme-v02.api.letsencrypt.org/directory", bounds Bounds::rule("an `https` URL");
        /// A file with the authority, in PEM, of the directory's own certificate, if that is not a public one.
        ca_file: Option<String> = null, else Computed("those of the system"), such as "/etc/ssl/acme-ca.pem";
    }

    /// A certificate and its key.
    struct CertificateSettings, "the keys `cert` and `key`, or a list of them" {
        /// The file of the certificate, in PEM, followed by those of the authorities between it and a trusted one.
        cert: Option<String> = null, else Required, such as "/etc/ssl/www.pem";
        /// The file of its private key, in PEM.
        key: Option<String> = null, else Required, such as "/etc/ssl/www.key";
    }

    /// Where the address of a client comes from.
    struct ClientAddressSettings, "the keys of `client_address`" {
        /// `connection` is the address of the peer. The others are for servers behind proxies: a request field that
        /// these write, or the PROXY protocol, version 1 or 2.
        from: Choice<AddressSource> = "connection";
        /// The addresses or networks of the proxies. Others are not believed, and are clients themselves.
        trusted: Vec<String> = [], such as ["10.0.0.0/8", "fd00::/8"],
            bounds Bounds::rule("IP addresses, or networks as `10.0.0.0/8`; at least one unless `from` is `connection`");
    }

    /// The listener for operators.
    struct AdminSettings, "the keys of `admin`" {
        /// The address of the admin API: health, readiness, metrics, statistics and purges.
        address: Address = "127.0.0.1:9090",
            bounds Bounds::rule("as `server.address`, but not the same address");
        /// The path of a Unix socket for the admin API, besides `admin.address`. Whoever may open it needs no token: the owner
        /// and the group of the process. Commands on this machine use `/run/yatagarasu/admin.sock` if nothing else is said.
        socket: Option<String> = null, else Computed("none"), such as "/run/yatagarasu/admin.sock",
            bounds Bounds::rule("an absolute path");
        /// The bearer token that operators send. It is required if `admin.address` is not a loopback address.
        token: Option<Secret> = null,
            else Computed("the variable `YATAGARASU_ADMIN_TOKEN`, or none"), such as "${YATAGARASU_ADMIN_TOKEN}",
            bounds Bounds::rule("printable ASCII without spaces; an empty text counts as none");
        /// What S3 costs, by which the dashboard estimates what the cache saves.
        prices: PriceSettings = {};
    }

    /// The notifications of changed objects.
    struct EventSettings, "the keys of `events`" {
        /// The token with which a store tells of changed objects, at `POST /events` of `admin.address`. It allows nothing
        /// else.
        token: Option<Secret> = null, else Computed("none: no notifications are taken"),
            such as "${YATAGARASU_EVENTS_TOKEN}",
            bounds Bounds::rule("printable ASCII without spaces, other than `admin.token`");
        /// A queue of Amazon SQS that the notifications of a store are read from.
        sqs: SqsSettings = {};
    }

    /// A queue of Amazon SQS that the notifications of a store are read from.
    struct SqsSettings, "the keys of `sqs`" {
        /// The URL of the queue. Each gateway needs a queue of its own.
        url: Option<String> = null, else Computed("none: no queue is read"),
            such as "https://sqs.eu-central-1.amazonaws.com/123456789012/gateway-1",
            bounds Bounds::rule("`http://` or `https://`, without a user");
        /// The region that requests are signed for.
        region: Option<String> = null, else Computed("that of the URL, else as for a bucket"), such as "eu-central-1";
        /// The access key.
        access_key: Option<Secret> = null, else Computed("the credential chain"), such as "${QUEUE_ACCESS_KEY}",
            bounds Bounds::rule("together with `secret_key`; printable ASCII without spaces");
        /// The secret key.
        secret_key: Option<Secret> = null, else Computed("the credential chain"), such as "${QUEUE_SECRET_KEY}",
            bounds Bounds::rule("together with `access_key`");
    }

    /// What S3 costs.
    struct PriceSettings, "the keys of `prices`" {
        /// The price of a million requests to S3.
        million_requests: Decimal = 0.4;
        /// The price of a gigabyte from S3.
        gigabyte: Decimal = 0.09;
        /// The currency of the prices.
        currency: String = "USD", bounds Bounds::rule("three capital letters, as in ISO 4217");
    }

    /// The log and the access log.
    struct LogSettings, "the keys of `log`" {
        /// Where the log goes: `stderr`, `stdout`, or the path of a file. A file is opened again on SIGHUP and
        /// `yatagarasu config reload`, after it was renamed.
        output: String = "stderr", bounds Bounds::rule("`stderr`, `stdout`, or a path");
        /// Where the access log goes.
        access_output: Option<String> = null, else Computed("as `output`"), such as "/var/log/yatagarasu/access.log",
            bounds Bounds::rule("`stderr`, `stdout`, or a path");
        /// What a line of the access log looks like: `text`, `json`, `combined` as of Apache and nginx, or a pattern.
        access_format: Option<String> = null, else Computed("as the log: `--log-format`"), such as "combined",
            bounds Bounds::rule("`text`, `json`, `combined`, or fields in braces: `{client} {method} {path} {status}`");
    }

    /// The traces of requests, for OpenTelemetry.
    struct TracingSettings, "the keys of `tracing`" {
        /// The URL of a collector that takes OTLP over HTTP. Without a path, `/v1/traces` is added.
        endpoint: Option<String> = null, else Computed("none: nothing is traced"), such as "http://127.0.0.1:4318",
            bounds Bounds::rule("`http://` or `https://`, without a user");
        /// The share of requests that are traced.
        ratio: Decimal = 0.01, bounds Bounds::rule("from 0 to 1");
        /// Whether the `traceparent` of a client decides instead whether its request is traced, in the client's trace.
        parent: Choice<ClientControl> = "respect";
        /// The name of the gateway in traces (`service.name`).
        service: String = "yatagarasu", bounds Bounds::rule("not empty");
    }

    /// A bucket and the paths it is served under.
    struct BucketSettings, "a bucket: `name`, `path_prefix` and more" {
        /// The name of the bucket in logs, in metrics and in the admin API. It is also the name at S3 unless
        /// `s3.bucket` is set.
        name: Option<String> = null, else Required, such as "assets", bounds Bounds::rule("not empty, and used once");
        /// The URL path of the bucket: `/static`, `/a/b`, or `/` for all paths. The longest matching prefix wins.
        path_prefix: Option<String> = null, else Required, such as "/static",
            bounds Bounds::rule("not escaped, and used once for each host; no `//`, `.` or `..` segment, no `%`, `?` or `#`");
        /// The hosts that the bucket is for: names, or `*.` and a name for all with one label before it. The most specific
        /// host wins over the longest `path_prefix`. Without hosts, the bucket is for all.
        hosts: Vec<String> = [], such as ["www.example.com", "*.example.org"],
            bounds Bounds::rule("names or addresses, without a port");
        /// What stands before the keys at S3: `/css/a.css` leads to `sites/www/css/a.css`. `{host}` is the host of the request,
        /// and `{label}` the label that the `*` of `hosts` stands for.
        key_prefix: String = "", such as "sites/{host}/",
            bounds Bounds::rule("a folder, with a `/` at its end; no `.` or `..` segment");
        /// Whether `path_prefix` is left out of the keys. With `false`, `/static/a` is the key `static/a`.
        strip_prefix: bool = true;
        /// Rules that lead paths to other ones. The first one that is for a path applies.
        rewrite: Several<RewriteSettings> = [];
        /// Whether `?download` has browsers save an object, under its own name, and `?download=NAME` under this one
        /// (`Content-Disposition`).
        download: bool = false;
        /// The pages of a website. Without the section, a path is a key and nothing else.
        site: Optional<SiteSettings> = null, else Computed("no website"), such as { "not_found": "404.html" };
        /// The connection to S3.
        s3: S3Settings = {};
        /// Further sources of the same objects, which are asked in order: another region or store where S3 cannot
        /// answer, or the old store for what has not been migrated yet.
        fallbacks: Several<FallbackSettings> = [];
        /// How pages of other origins may use the objects (CORS). With `pass`, S3's own configuration decides. With
        /// `off`, S3 is never told the origin. The keys of `cors` have the gateway decide, for all objects alike.
        cors: Either<CorsMode, CorsSettings> = "pass";
        /// Fields of S3's responses that no client gets. `*` stands for any characters. By default, those that name the
        /// account or its internals.
        hide_headers: Vec<String> = [
            "x-amz-access-point-alias", "x-amz-bucket-region", "x-amz-expiration", "x-amz-object-lock-*",
            "x-amz-replication-status", "x-amz-request-charged", "x-amz-restore", "x-amz-server-side-encryption*",
            "x-amz-tagging-count"
        ], bounds Bounds::rule("names of fields, with `*`");
        /// Further changes to the fields of responses. A list has a rule for each set of keys, and all that match apply.
        response_headers: Several<ResponseHeaderSettings> = [];
        /// Content codings for clients that accept them (brotli, zstd, gzip). Without the section, objects are sent as they
        /// are.
        compression: Optional<CompressionSettings> = null, else Computed("none"), such as { "min_size": "1KiB" };
        /// The cache of the bucket.
        cache: CacheSettings = {};
    }

    /// Content codings.
    struct CompressionSettings, "the keys of `compression`" {
        /// The codings that clients may get. Of those that a client likes alike, it gets the first of `br`, `zstd`, `gzip`.
        codings: Vec<String> = ["br", "zstd", "gzip"], bounds Bounds::rule("`br`, `zstd`, `gzip`; at least one");
        /// Whether `app.js.br`, `app.js.zst` and `app.js.gz` are served in the place of `app.js`, if they are there.
        precompressed: bool = false;
        /// Whether stored objects are compressed, once and in the background, at the lowest priority.
        compress: bool = true;
        /// The types of the objects, with `*` for any characters.
        types: Vec<String> = [
            "text/*", "*+json", "*+xml", "application/javascript", "application/json", "application/manifest+json",
            "application/wasm", "application/xml", "application/x-javascript", "application/vnd.ms-fontobject",
            "font/otf", "font/ttf", "image/bmp", "image/svg+xml", "image/x-icon"
        ], bounds Bounds::rule("media types, with `*`");
        /// The smallest object that is compressed.
        min_size: ByteSize = "1KiB";
    }

    /// A rule that leads paths to other ones.
    struct RewriteSettings, "the keys of `rewrite`, or a list of them" {
        /// The path, as in the URL. `{name}` stands for some characters between two slashes; at the end, for the rest of the
        /// path.
        from: Option<String> = null, else Required, such as "/old/{rest}",
            bounds Bounds::rule("a path below `path_prefix`, not escaped");
        /// What it leads to, with the same names in braces.
        to: Option<String> = null, else Required, such as "/new/{rest}",
            bounds Bounds::rule("a path below `path_prefix`; with a `status`, any path or `https://HOST/...`");
        /// The status of a redirect, which keeps the query. With `none`, the client gets what is at the other path.
        status: Choice<RewriteStatus> = "none";
    }

    /// A website.
    struct SiteSettings, "the keys of `site`" {
        /// The name of the page of a folder: `/a/` is the object `a/index.html`, and `/a` redirects there if that exists.
        index: String = "index.html", bounds Bounds::rule("a name without `/`; an empty one for no such pages");
        /// Whether `/about` is the object `about.html`, if there is no object `about`.
        clean_urls: bool = false;
        /// The object that browsers get that go to a path which is no object and no file: the page of an application that
        /// reads the path itself.
        spa: Option<String> = null, else Computed("none"), such as "index.html",
            bounds Bounds::rule("a key below `key_prefix`");
        /// The object that clients get, with 404, if there is no object.
        not_found: Option<String> = null, else Computed("a document in JSON"), such as "404.html",
            bounds Bounds::rule("a key below `key_prefix`");
        /// Whether objects that S3 has no type for (`binary/octet-stream`) get one by the extension of their keys.
        content_types: bool = true;
        /// Whether folders without a page of their own are listed: `html` for people, and in JSON for clients that accept that
        /// rather than HTML; `json` for programs alone. The gateway needs the permission to list the bucket.
        listing: Choice<ListingFormat> = "off";
        /// The objects that clients get with other errors, by status: `403`, or `4xx` and `5xx` for all. They are kept in
        /// memory, for when S3 cannot be reached.
        errors: Fields = {}, such as { "403": "403.html", "5xx": "5xx.html" },
            bounds Bounds::rule("statuses from 400, except 404, and keys below `key_prefix`, of up to 256 KiB");
        /// The object with redirects and other pages for paths, in the form of `_redirects` files. It is read again,
        /// through the cache, after ten seconds in use.
        redirects: Option<String> = null, else Computed("none"), such as "_redirects",
            bounds Bounds::rule("a key below `key_prefix`, of up to 256 KiB");
        /// The object with header fields for the responses to paths, in the form of `_headers` files. It is read again,
        /// through the cache, after ten seconds in use.
        headers: Option<String> = null, else Computed("none"), such as "_headers",
            bounds Bounds::rule("a key below `key_prefix`, of up to 256 KiB");
    }

    /// A further source of the objects of a bucket.
    struct FallbackSettings, "the keys of `fallbacks`, or a list of them" {
        /// When it is asked: if the sources before it cannot answer, or if they have no such object.
        when: Vec<String> = ["unavailable"], bounds Bounds::rule("`unavailable`, `not_found`");
        /// The connection to it, with the keys of the bucket's `s3`, except `forward_headers` and `forward_query`, which are
        /// those of the bucket.
        s3: Again<S3Settings> = {};
    }

    /// The rules for pages of other origins.
    struct CorsSettings, "`pass`, `off`, or the keys of `cors`" {
        /// The origins that may use the objects.
        allow_origins: Option<Vec<String>> = null, else Required, such as ["https://app.example"],
            bounds Bounds::rule("`scheme://host[:port]`, with `*` for any characters; or `*` alone, for all of them");
        /// The methods that they may use.
        allow_methods: Vec<String> = ["GET", "HEAD"], bounds Bounds::rule("`GET`, `HEAD`");
        /// The request fields that they may send.
        allow_headers: Vec<String> = ["*"], bounds Bounds::rule("names of fields; or `*` alone, for all of them");
        /// The response fields that they may read, besides those that every page may.
        expose_headers: Vec<String> = ["ETag", "Content-Range", "Content-Length", "Age", "Cache-Status"],
            bounds Bounds::rule("names of fields; or `*` alone, for all of them");
        /// How long a browser may remember the answer to a preflight.
        max_age: Span = "1h";
        /// Whether requests may have cookies and the like.
        credentials: bool = false, bounds Bounds::rule("`false` if `allow_origins` is `*`");
    }

    /// A change to the fields of responses.
    struct ResponseHeaderSettings, "the keys of `response_headers`, or a list of them" {
        /// The keys of the objects that the rule is for. `*` stands for any characters, also for `/`.
        keys: String = "*", bounds Bounds::rule("a glob: `*`, `?`, `[abc]`");
        /// The fields that are removed. `*` stands for any characters.
        remove: Vec<String> = [], such as ["x-amz-meta-internal-*"], bounds Bounds::rule("names of fields, with `*`");
        /// The fields that are set, with their values. They are on errors, too, except those that tell how long an object may be kept or how it is coded.
        set: Fields = {}, bounds Bounds::rule("names and values; not those that frame a message or say how it was cached");
    }

    /// The connection to S3.
    struct S3Settings, "the keys of `s3`" {
        /// The implementation that sends the requests. `rusoto` requires a server built with `--features rusoto`.
        backend: Choice<SourceBackend> = "native";
        /// The bucket's name at S3.
        bucket: Option<String> = null, else Computed("the bucket's `name`"), such as "assets",
            bounds Bounds::rule("ASCII letters, digits, `-`, `.` and `_`; or the ARN of an access point");
        /// The region for signatures and, on AWS, for the endpoint. If the key is absent and S3 names another region,
        /// that is used.
        region: Option<String> = null,
            else Computed("`AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's region, then `us-east-1`"),
            such as "us-east-1", bounds Bounds::rule("ASCII letters, digits and `-`");
        /// The URL of an S3-compatible server. Names that end in `.localhost` resolve to this machine.
        endpoint: Option<String> = null,
            else Computed("AWS, as `https://s3.REGION.amazonaws.com`"), such as "http://127.0.0.1:9000",
            bounds Bounds::rule("`http://HOST[:PORT][/PATH]` or `https://HOST[:PORT][/PATH]`; no query or user");
        /// Whether AWS is reached over IPv6, too.
        dualstack: bool = false, bounds Bounds::rule("`false` with an `endpoint`");
        /// Whether AWS's endpoint with cryptography validated by FIPS 140 is used.
        fips: bool = false, bounds Bounds::rule("`false` with an `endpoint`");
        /// Whether AWS's transfer acceleration is used.
        accelerate: bool = false, bounds Bounds::rule("`false` with an `endpoint`, `fips` or `path_style`");
        /// The position of the bucket in a request: `https://HOST/BUCKET/KEY` if `true`, `https://BUCKET.HOST/KEY` if
        /// `false`.
        path_style: Option<bool> = null,
            else Computed("`true` with an `endpoint` and for names with dots, else `false`"), such as true;
        /// How the certificate of the server is verified.
        tls: TlsSettings = {};
        /// Whether requests are left unsigned, for public buckets.
        anonymous: bool = false, bounds Bounds::rule("`false` if there are keys");
        /// The access key ID. Without keys, requests are signed with what the AWS credential chain finds.
        access_key: Option<Secret> = null, else Computed("the credential chain"), such as "${ASSETS_ACCESS_KEY}",
            bounds Bounds::rule("together with `secret_key`; printable ASCII without spaces");
        /// The secret access key.
        secret_key: Option<Secret> = null, else Computed("the credential chain"), such as "${ASSETS_SECRET_KEY}",
            bounds Bounds::rule("together with `access_key`");
        /// The session token of temporary keys.
        session_token: Option<Secret> = null, else Computed("none"), such as "${ASSETS_SESSION_TOKEN}",
            bounds Bounds::rule("only with the two keys; printable ASCII without spaces; an empty text counts as none");
        /// What a refusal with `AccessDenied` means for clients. Without the permission to list the bucket, S3 refuses
        /// what does not exist: `not_found` then gives clients the 404 that they need.
        access_denied: Choice<AccessDenied> = "forbidden";
        /// Fields that every request to S3 has, such as `x-amz-request-payer: requester`. Clients cannot change them.
        request_headers: Fields = {}, bounds Bounds::rule("names and values; not those that frame or sign a request");
        /// Request fields that are forwarded to the source, besides ranges, conditions and CORS.
        forward_headers: Vec<String> = [],
            bounds Bounds::rule("names of fields that may be forwarded; or `*` alone, for all of them");
        /// Query parameters that are forwarded to the source and are part of the cache key.
        forward_query: Vec<String> = [],
            bounds Bounds::rule("names of parameters that may be forwarded; or `*` alone, for all of them");
        /// How many connections to S3 may be open. A request that finds none free waits for `connect_timeout`, behind as
        /// many others at most; else it fails with 503. An eighth is kept for what is fetched for the cache: requests for
        /// one client alone, such as streams, take the others only.
        connections_max: u16 = 8192, bounds Bounds::rule("1 to 65535");
        /// The limit for opening a connection to S3, with the DNS lookup and the TLS handshake.
        connect_timeout: Span = "5s", bounds TIME_LIMIT;
        /// The limit from the request to the response head. It includes the wait for credentials, for a connection
        /// and for TLS.
        response_timeout: Span = "30s", bounds TIME_LIMIT;
        /// The limit between two pieces of a body. It counts only while the gateway waits for S3.
        idle_timeout: Span = "30s", bounds TIME_LIMIT;
        /// How often a request is sent to S3 at most, before it fails: after errors of the network and of S3, timeouts,
        /// and when S3 asks for fewer requests. It also limits how often in a row a body that breaks off is continued
        /// without getting on. At most a fifth of all requests are sent again.
        attempts: u16 = 3, bounds Bounds::rule("1 to 10; `1` for never again");
        /// The limit from the first request to the response head, with all attempts and the pauses between them.
        deadline: Span = "60s", bounds TIME_LIMIT;
        /// Whether a second GET is sent if the first one has no response head after a time that 95 of 100 requests of the
        /// last minutes did not need. The first answer counts. At most one in twenty requests is sent twice.
        hedging: bool = false;
        /// How many bytes the kernel receives from S3 before the gateway reads them (`SO_RCVBUF`). A stream receives
        /// at most this much in one round trip.
        receive_buffer: ByteSize = "128KiB", bounds SOCKET_BUFFER;
    }

    /// How the certificate of a server is verified.
    struct TlsSettings, "the keys of `tls`" {
        /// A file with the certificates to trust, in PEM.
        ca_file: Option<String> = null,
            else Computed("those of the operating system, or of `SSL_CERT_FILE`"), such as "/etc/ssl/private-ca.pem";
        /// Whether a certificate in `ca_file` is accepted as the server's own, whatever names and dates it has.
        pin_self_signed: bool = false, bounds Bounds::rule("`false` without `ca_file`");
        /// DANGEROUS: whether every certificate is accepted. Whoever is between the gateway and S3 can then read the
        /// requests with their session tokens, and change the objects. For tests only.
        insecure: bool = false;
    }

    /// The cache of a bucket.
    struct CacheSettings, "the keys of `cache`" {
        /// Whether objects are stored. With `false`, every object is streamed, and the other keys have no effect.
        enabled: bool = true;
        /// The implementation of the cache. `foyer` keeps objects in memory, with the foyer-memory crate.
        backend: Choice<CacheBackend> = "foyer";
        /// The longest object that is stored. Longer objects are streamed.
        max_item_size: ByteSize = "10MB",
            bounds Bounds::rule("up to `max_size` less 16 KiB, which are reserved for the key and the header fields");
        /// The limit for all objects of this bucket together: keys, header fields, bodies and bookkeeping.
        max_size: ByteSize = "1GB";
        /// How long an object without a lifetime of its own is served without asking S3.
        ttl: Span = 3600;
        /// Whether the object or the bucket sets the lifetime.
        cache_control: Choice<ObjectControl> = "respect";
        /// Whether the `Cache-Control` of a request has an effect. With `ignore`, no client can ask for a fresher
        /// object.
        client_cache_control: Choice<ClientControl> = "respect";
        /// Whether `Last-Modified`, instead of `ttl`, gives the lifetime of an object that has none of its own.
        heuristic_freshness: bool = false;
        /// How long a stale object is still served at once, while S3 is asked whether it has changed.
        stale_while_revalidate: Span = 0;
        /// How long a stale object is still served if S3 cannot be reached, does not answer in time or fails.
        stale_if_error: Span = "1h", bounds Bounds::ANY.or_zero("for not at all");
        /// How long a request waits for S3 if a stale object may be served because of `stale_if_error`. Then the object is
        /// served, and S3 is asked in the background.
        stale_wait: Span = "1s", bounds TIME_LIMIT.or_zero("to wait as long as S3 takes");
        /// Whether a range request for an object that is not stored fetches the whole object.
        range_fill: bool = false;
        /// How long the cache remembers that S3 refused an object.
        negative_ttl: Span = 0, bounds Bounds::ANY.or_zero("for not at all");
        /// The statuses that `negative_ttl` applies to.
        negative_statuses: Vec<u16> = [404];
        /// Whether `Cache-Status` has the member `key`: the key under which the response is stored.
        status_key: bool = false;
        /// The policy that selects the objects to evict if there is no room.
        eviction: Choice<EvictionPolicy> = "s3fifo";
    }
}
