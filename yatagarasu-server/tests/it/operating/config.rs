//! Tests of the configuration: every key, every format, the environment, and the error messages.

mod schema;

use std::fs;
use std::time::Duration;

use yatagarasu_core::{CachePolicy, ClientControl, ForwardedFields, Negative, ObjectControl};
use yatagarasu_s3::{Access, Addressing};
use yatagarasu_server::Config;
use yatagarasu_server::config::{BucketConfig, Environment, ForwardedQuery, StatusKey, example, show};

/// The short configuration that newcomers start from.
const SHORT: &str = r#"buckets:
  # Videos: stream everything
  - name: "videos"
    path_prefix: "/media"
    cache:
      enabled: false

  # Assets: cache small files only
  - name: "assets"
    path_prefix: "/static"
    cache:
      enabled: true
      max_item_size: "10MB"  # larger objects are streamed
      max_size: "1GB"        # this bucket's cache, bookkeeping included
      ttl: 3600              # lifetime of an object that names none itself
"#;

/// A longer configuration with keys of its own. The example has every key.
const LONG: &str = r#"server:
  address: "127.0.0.1:8080"
  threads: 0                 # 0: one per core
admin:
  address: "127.0.0.1:9090"  # health, readiness, metrics, purge, stats; never on the public listener
  token: "${YATAGARASU_ADMIN_TOKEN}"   # required as soon as the address is not loopback
buckets:
  - name: "assets"
    path_prefix: "/static"
    s3:
      backend: native        # or rusoto, where built with that feature
      bucket: "assets"       # default: name
      region: "us-east-1"    # default: AWS_REGION, the profile, then us-east-1
      endpoint: "http://127.0.0.1:9000"  # default: AWS
      path_style: true       # default: true with an endpoint, false on AWS
      access_key: "..."      # default: the AWS credential chain (env, profile, SSO, web identity, ECS/EKS, IMDSv2)
      secret_key: "..."
      session_token: "..."
      anonymous: false       # true: unsigned requests, for public buckets
      forward_headers: []    # request fields passed on besides ranges and conditions
      forward_query: []      # query parameters passed on and made part of the cache key
"#;

fn load(yaml: &str) -> Result<Config, String> {
    load_in(yaml, &[])
}

fn load_in(yaml: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Environment = environment.iter().copied().collect();
    Config::from_yaml("f.yaml", yaml, &environment).map_err(|errors| errors.to_string())
}

/// Returns the addresses for clients.
fn addresses(config: &Config) -> Vec<String> {
    config.server.listeners.iter().map(|listener| listener.address.to_string()).collect()
}

#[test]
fn the_short_configuration_works_as_it_stands() {
    let config = load(SHORT).unwrap();
    let [videos, assets] = &config.buckets[..] else { panic!("two buckets") };
    assert!(videos.cache.is_none());
    assert_eq!((videos.name.as_str(), videos.path_prefix.as_str()), ("videos", "/media"));
    let cache = assets.cache.as_ref().unwrap();
    assert_eq!(
        (cache.store.max_item_size, cache.store.max_size, cache.policy.ttl.as_secs()),
        (10_000_000, 1_000_000_000, 3600)
    );
    assert!(matches!(assets.origin.source.access, Access::Chain));
    assert_eq!(
        (assets.origin.source.bucket.as_str(), assets.origin.source.addressing),
        ("assets", Addressing::VirtualHost)
    );
    assert_eq!(addresses(&config), ["127.0.0.1:8080"]);
    assert!(config.server.threads >= 1);
}

#[test]
fn the_long_configuration_works_as_it_stands() {
    let config = load_in(LONG, &[("YATAGARASU_ADMIN_TOKEN", "t0ken")]).unwrap();
    assert_eq!(config.admin.token.as_ref().unwrap().expose(), "t0ken");
    let source = &config.buckets[0].origin.source;
    assert_eq!(source.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    assert!(matches!(&source.access, Access::Static(keys) if keys.session_token.is_some()));
    assert!(
        load(LONG)
            .unwrap_err()
            .contains("admin.token: the environment variable `YATAGARASU_ADMIN_TOKEN` is not set")
    );
}

#[test]
fn the_example_begins_with_the_short_configuration_and_says_the_defaults() {
    let text = example();
    assert!(text.contains(&format!("\n\n{SHORT}")), "{text}");
    let plain = load(&text).unwrap();
    assert_eq!(show(&plain), show(&load(SHORT).unwrap()));
    // Commented-out keys show their defaults, so removing the comment signs changes nothing.
    let is_key = |line: &str| {
        let name = line.split_once(": ").map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    };
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(key) if line.starts_with(' ') && is_key(key) => {
                let indent = line.len() - line.trim_start().len();
                format!("{}{key}", &line[..indent])
            }
            _ => line.to_owned(),
        })
        .filter(|line| {
            ![
                "endpoint:",
                "path_style:",
                "access_key:",
                "secret_key:",
                "session_token:",
                "token:",
                "ca_file:",
                "site:",
                "compression:",
                "access_output:",
                "access_format:",
                "health_path:",
                "file:",
                "socket:",
                "url:",
                "region:",
            ]
            .iter()
            .any(|key| line.trim_start().starts_with(key))
        })
        .collect();
    let explicit = load(&uncommented.join("\n")).unwrap();
    let shown = show(&explicit);
    assert_eq!(shown, show(&plain));
    for key in shown
        .lines()
        .filter_map(|line| line.trim_start_matches([' ', '-']).split_once(':'))
        .map(|(key, _)| key)
    {
        assert!(text.contains(&format!(" {key}:")) || text.contains(&format!("\n{key}:")), "{key}");
    }
}

#[test]
fn toml_and_json_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        ("c.yaml", "server: { threads: 3 }\nbuckets: [{ name: a, path_prefix: /a, cache: { ttl: 1m } }]\n"),
        (
            "c.toml",
            "[server]\nthreads = 3\n[[buckets]]\nname = \"a\"\npath_prefix = \"/a\"\ncache = { ttl = 60 }\n",
        ),
        (
            "c.json",
            r#"{"server":{"threads":3},"buckets":[{"name":"a","path_prefix":"/a","cache":{"ttl":"60s"}}]}"#,
        ),
    ];
    let shown = texts.map(|(name, text)| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        show(&Config::load(&file, &Environment::default()).unwrap())
    });
    assert_eq!((&shown[0], &shown[0]), (&shown[1], &shown[2]));
    assert!(shown[0].contains("threads: 3") && shown[0].contains("ttl: 60s"), "{}", shown[0]);
    let other = Config::load(&folder.path().join("c.ini"), &Environment::default()).unwrap_err();
    assert!(other.to_string().contains("expected a file that ends in .yaml"));
}

#[test]
fn the_environment_overrides_and_fills_in() {
    let environment = [
        ("YATAGARASU__SERVER__ADDRESS", "0.0.0.0:80"),
        ("YATAGARASU__SERVER__THREADS", "5"),
        ("YATAGARASU__BUCKETS__0__CACHE__TTL", "2h"),
        ("YATAGARASU__BUCKETS__0__CACHE__ENABLED", "true"),
        ("YATAGARASU__BUCKETS__0__CACHE__RANGE_FILL", "on"),
        ("YATAGARASU__BUCKETS__0__CACHE__NEGATIVE_STATUSES__0", "403"),
        ("YATAGARASU__BUCKETS__1__S3__FORWARD_HEADERS__0", "accept-language"),
        ("YATAGARASU__BUCKETS__1__S3__FORWARD_QUERY__0", "*"),
        ("KEY", "the-key"),
    ];
    let keyed = format!("{SHORT}    s3: {{ access_key: \"${{KEY}}\", secret_key: \"x${{KEY}}\" }}\n");
    let config = load_in(&keyed, &environment).unwrap();
    assert_eq!((&addresses(&config)[0][..], config.server.threads), ("0.0.0.0:80", 5));
    let policy = &config.buckets[0].cache.as_ref().unwrap().policy;
    assert_eq!((policy.ttl.as_secs(), policy.negative.denied, policy.range_fill), (7200, true, true));
    let named = ForwardedFields::Named(vec![http::header::ACCEPT_LANGUAGE]);
    assert_eq!(config.buckets[1].forward_headers, named);
    assert_eq!(config.buckets[1].forward_query, ForwardedQuery::All);
    let Access::Static(keys) = &config.buckets[1].origin.source.access else { panic!("static") };
    assert_eq!((keys.access_key.as_str(), keys.secret_key.as_str()), ("the-key", "xthe-key"));

    let wrong = load_in(SHORT, &[("YATAGARASU__SERVER__ADRESS", "x"), ("YATAGARASU__BUCKETS__7__NAME", "x")])
        .unwrap_err();
    assert!(
        wrong.contains("environment: YATAGARASU__SERVER__ADRESS: unknown key")
            && wrong.contains("YATAGARASU__BUCKETS__7__NAME: `buckets` has 2 entries"),
        "{wrong}"
    );
    // What is wrong with a value is said of the variable that it comes from.
    let wrong = load_in(SHORT, &[("YATAGARASU__SERVER__ADDRESS", "x"), ("YATAGARASU_ADMIN_TOKEN", " ")]);
    let wrong = wrong.unwrap_err();
    assert!(
        wrong.contains("environment: YATAGARASU__SERVER__ADDRESS: expected `IP:PORT`")
            && wrong.contains("admin.token: the variable YATAGARASU_ADMIN_TOKEN: is white space only"),
        "{wrong}"
    );
}

/// Loads a configuration of one bucket with these settings, given as YAML flow members, and returns the bucket.
fn one(s3: &str, cache: &str) -> Result<BucketConfig, String> {
    let yaml = format!("buckets: [{{ name: a, path_prefix: /a, s3: {{ {s3} }}, cache: {{ {cache} }} }}]");
    load(&yaml).map(|mut config| {
        let shown = show(&config);
        assert_eq!(show(&load(&shown).unwrap()), shown, "what is shown loads again");
        config.buckets.remove(0)
    })
}

#[track_caller]
fn policy(cache: &str, expected: &CachePolicy) {
    assert_eq!(one("", cache).unwrap().cache.unwrap().policy, *expected, "{cache}");
}

#[test]
fn every_key_of_the_caching_rules_takes_effect() {
    let seconds = Duration::from_secs;
    let negative = Negative { ttl: Duration::ZERO, missing: true, denied: false };
    let default = CachePolicy {
        negative,
        stale_if_error: seconds(3600),
        stale_wait: Some(seconds(1)),
        ..CachePolicy::new(10_000_000, seconds(3600))
    };
    policy("", &default);
    policy(
        "max_item_size: 1KB, ttl: 0",
        &CachePolicy { max_item_size: 1000, ttl: seconds(0), ..default.clone() },
    );
    for (text, cache_control) in [
        ("respect", ObjectControl::Respect),
        ("override", ObjectControl::Override),
        ("ignore", ObjectControl::Ignore),
    ] {
        policy(&format!("cache_control: {text}"), &CachePolicy { cache_control, ..default.clone() });
    }
    for (text, client_cache_control) in
        [("respect", ClientControl::Respect), ("ignore", ClientControl::Ignore)]
    {
        let expected = CachePolicy { client_cache_control, ..default.clone() };
        policy(&format!("client_cache_control: {text}"), &expected);
    }
    policy("heuristic_freshness: true", &CachePolicy { heuristic_freshness: true, ..default.clone() });
    policy("range_fill: true", &CachePolicy { range_fill: true, ..default.clone() });
    policy(
        "stale_while_revalidate: 30, stale_if_error: 1d",
        &CachePolicy {
            stale_while_revalidate: seconds(30),
            stale_if_error: seconds(86_400),
            ..default.clone()
        },
    );
    policy("stale_wait: 20ms", &CachePolicy { stale_wait: Some(seconds(1) / 50), ..default.clone() });
    policy("stale_wait: 0", &CachePolicy { stale_wait: None, ..default.clone() });
    for (text, missing, denied) in [
        ("[404]", true, false),
        ("[403]", false, true),
        ("[403, 404, 403]", true, true),
        ("[\"404\"]", true, false),
        ("[]", false, false),
    ] {
        let negative = Negative { ttl: Duration::from_millis(1500), missing, denied };
        let expected = CachePolicy { negative, ..default.clone() };
        policy(&format!("negative_ttl: 1500ms, negative_statuses: {text}"), &expected);
    }
    for (cache, expected) in [("", StatusKey::Hidden), ("status_key: true", StatusKey::Shown)] {
        assert_eq!(one("", cache).unwrap().cache.unwrap().status_key, expected, "{cache}");
    }
}

#[test]
fn what_sockets_may_hold_takes_effect() {
    let lowat = |given: &str| {
        let yaml = format!("server: {{ {given} }}\nbuckets: [{{ name: a, path_prefix: /a }}]");
        load(&yaml).map(|config| {
            let shown = show(&config);
            assert_eq!(show(&load(&shown).unwrap()), shown, "what is shown loads again");
            config.server.notsent_lowat
        })
    };
    let buffer = |given: &str| one(given, "").map(|bucket| bucket.origin.source.receive_buffer);
    assert_eq!((lowat("").unwrap(), buffer("").unwrap()), (Some(128 * 1024), Some(128 * 1024)));
    for (size, bytes) in
        [("0", None), ("4KiB", Some(4096)), ("1.5MiB", Some(3 << 19)), ("2147483647", Some(2_147_483_647))]
    {
        assert_eq!(lowat(&format!("notsent_lowat: {size}")).unwrap(), bytes, "{size}");
        let bytes = bytes.map(|bytes| usize::try_from(bytes).unwrap());
        assert_eq!(buffer(&format!("receive_buffer: {size}")).unwrap(), bytes, "{size}");
    }
    for (size, shown) in
        [("64", "64"), ("4095", "4095"), ("2GiB", "2GiB"), ("4294967296", "4GiB"), ("16TiB", "16TiB")]
    {
        let expected =
            format!("expected 4KiB to less than 2GiB, or 0 to leave it to the system; found {shown}");
        let said = lowat(&format!("notsent_lowat: {size}")).unwrap_err();
        assert_eq!(said, format!("f.yaml: server.notsent_lowat: {expected}"));
        let said = buffer(&format!("receive_buffer: {size}")).unwrap_err();
        assert_eq!(said, format!("f.yaml: buckets[0].s3.receive_buffer: {expected}"));
    }
    let expected = "invalid value: string \"much\", expected a size such as 1048576, \"10MB\" or \"64KiB\"";
    let said = lowat("notsent_lowat: much").unwrap_err();
    assert_eq!(said, format!("f.yaml: server.notsent_lowat: {expected}"));
    let said = buffer("receive_buffer: much").unwrap_err();
    assert_eq!(said, format!("f.yaml: buckets[0].s3.receive_buffer: {expected}"));
}

#[test]
fn what_the_sockets_of_fast_streams_may_hold_takes_effect() {
    let memory = |given: &str| {
        let yaml = format!("server: {{ {given} }}\nbuckets: [{{ name: a, path_prefix: /a }}]");
        load(&yaml).map(|config| {
            let shown = show(&config);
            assert_eq!(show(&load(&shown).unwrap()), shown, "what is shown loads again");
            config.server.socket_memory
        })
    };
    assert_eq!(memory("").unwrap(), 134_217_728);
    for (size, bytes) in [("0", 0), ("1", 1), ("64MiB", 64 << 20), ("1.5 GB", 1_500_000_000)] {
        assert_eq!(memory(&format!("socket_memory: {size}")).unwrap(), bytes, "{size}");
    }
    let expected = "invalid value: string \"much\", expected a size such as 1048576, \"10MB\" or \"64KiB\"";
    let said = memory("socket_memory: much").unwrap_err();
    assert_eq!(said, format!("f.yaml: server.socket_memory: {expected}"));
}

#[test]
fn lists_of_what_is_forwarded_hold_names_or_a_star() {
    let headers =
        |list: &str| one(&format!("forward_headers: {list}"), "").map(|bucket| bucket.forward_headers);
    assert_eq!(headers("[]").unwrap(), ForwardedFields::Named(Vec::new()));
    assert_eq!(headers("[\"*\"]").unwrap(), ForwardedFields::All);
    let named = ForwardedFields::Named(vec![http::header::ACCEPT, http::header::ACCEPT_LANGUAGE]);
    assert_eq!(headers("[Accept, accept-language, ACCEPT]").unwrap(), named);
    let query = |list: &str| one(&format!("forward_query: {list}"), "").map(|bucket| bucket.forward_query);
    assert_eq!(query("[]").unwrap(), ForwardedQuery::Named(Vec::new()));
    assert_eq!(query("[\"*\"]").unwrap(), ForwardedQuery::All);
    let named = ForwardedQuery::Named(vec!["v".to_owned(), "versionId".to_owned()]);
    assert_eq!(query("[versionId, v, v]").unwrap(), named);

    let star = "`*` is everything: it stands alone in the list";
    let place = "f.yaml: buckets[0].s3";
    assert_eq!(headers("[accept, \"*\"]").unwrap_err(), format!("{place}.forward_headers[1]: {star}"));
    assert_eq!(query("[\"*\", v]").unwrap_err(), format!("{place}.forward_query[0]: {star}"));
    let field = headers("[\"a b\"]").unwrap_err();
    let expected = "expected a header field's name, found `a b`";
    assert_eq!(field, format!("{place}.forward_headers[0]: {expected}"));
    for name in ["tagging", "ACL", "X-Amz-Signature", "\"\""] {
        let said = query(&format!("[v, {name}]")).unwrap_err();
        assert!(said.starts_with(&format!("{place}.forward_query[1]: `")), "{said}");
        assert!(said.contains("cannot be forwarded: it selects an S3 sub-resource"), "{said}");
    }
}

#[test]
fn wrong_caching_rules_say_what_is_expected() {
    #[track_caller]
    fn check(cache: &str, expected: &str) {
        let said = one("", cache).unwrap_err();
        assert_eq!(said, format!("f.yaml: buckets[0].cache.{expected}"), "{cache}");
        let said = one("", &format!("enabled: false, {cache}")).unwrap_err();
        assert_eq!(said, format!("f.yaml: buckets[0].cache.{expected}"), "{cache}: also where it is off");
    }
    check("cache_control: obey", "cache_control: expected `respect`, `override` or `ignore`, found `obey`");
    check(
        "client_cache_control: override",
        "client_cache_control: expected `respect` or `ignore`, found `override`",
    );
    for key in ["heuristic_freshness", "range_fill", "status_key"] {
        let expected = format!("{key}: invalid type: string \"maybe\", expected a boolean");
        check(&format!("{key}: maybe"), &expected);
    }
    for key in ["stale_while_revalidate", "stale_if_error", "negative_ttl"] {
        let expected = "expected seconds or a duration such as \"500ms\", \"90s\", \"10m\" or \"1h\"";
        check(&format!("{key}: soon"), &format!("{key}: invalid value: string \"soon\", {expected}"));
    }
    check("negative_statuses: [404, 500]", "negative_statuses[1]: expected 404 or 403, found 500");
    check(
        "negative_statuses: 404",
        "negative_statuses: invalid type: integer `404`, expected a list in brackets, such as `[a, b]`",
    );
    let said = one("", "negative_statuses: [404, many]").unwrap_err();
    let expected = "negative_statuses[1]: invalid type: string \"many\", expected an integer";
    assert_eq!(said, format!("f.yaml: buckets[0].cache.{expected}"));
    let said = one("", "negative_status: [404]").unwrap_err();
    assert!(said.contains("unknown key") && said.contains("negative_ttl, negative_statuses, "), "{said}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let wrong = r#"
server: { address: "here", threads: many, colour: blue, notsent_lowat: 3GB }
admin: { address: "0.0.0.0:9090" }
buckets:
  - { name: a, path_prefix: /a, cache: { ttl: -1, size: 3 } }
  - { name: a, path_prefix: /a/, s3: { anonymous: true, access_key: x } }
  - { path_prefix: a, s3: { backend: minio, forward_query: [acl], forward_headers: [cookie] } }
  - { name: d, path_prefix: /d, s3: { endpoint: "minio:9000", access_key: x }, cache: { eviction: fifo } }
  - { name: e, path_prefix: "/e%20", cache: { max_size: 1MB, backend: disk } }
  - just a text
  - { name: d, path_prefix: /g, s3: { access_key: "", secret_key: x, bucket: "g h", receive_buffer: 2GiB } }
"#;
    let said = load(wrong).unwrap_err();
    for line in [
        "f.yaml: admin.token: expected a token",
        "f.yaml: buckets[0].cache.size: unknown key",
        "f.yaml: buckets[0].cache.ttl: invalid value: integer `-1`, expected seconds or a duration",
        "f.yaml: buckets[1].s3.anonymous: requests cannot be anonymous and signed",
        "f.yaml: buckets[2].name: expected the bucket's name",
        "f.yaml: buckets[2].path_prefix: expected a path such as \"/static\"",
        "f.yaml: buckets[2].s3.backend: expected `native` or `rusoto`, found `minio`",
        "f.yaml: buckets[2].s3.forward_headers[0]: `cookie` cannot be listed",
        "f.yaml: buckets[2].s3.forward_query[0]: `acl` cannot be forwarded",
        "f.yaml: buckets[3].cache.eviction: expected `s3fifo`, `lfu`, `lru` or `sieve`, found `fifo`",
        "f.yaml: buckets[3].s3.secret_key: expected the secret that goes with `access_key`",
        "f.yaml: buckets[4].cache.max_item_size: an object of 10000000 bytes (`max_item_size`) does not fit into",
        "f.yaml: buckets[4].path_prefix: expected a path",
        "f.yaml: buckets[1].name: `a` is taken by buckets[0] already",
        "f.yaml: buckets[1].path_prefix: `/a` is taken by buckets[0] already",
        "f.yaml: buckets[3].s3.endpoint: the endpoint `minio:9000` is not",
        "f.yaml: buckets[4].cache.backend: expected `foyer`, found `disk`",
        "f.yaml: buckets[5]: invalid type: string \"just a text\", expected a bucket",
        "f.yaml: buckets[6].name: `d` is taken by buckets[3] already",
        "f.yaml: buckets[6].s3.access_key: is empty",
        "f.yaml: buckets[6].s3.bucket: the bucket `g h` cannot be addressed",
        "f.yaml: buckets[6].s3.receive_buffer: expected 4KiB to less than 2GiB, or 0",
        "f.yaml: server.address: expected `IP:PORT`",
        "f.yaml: server.colour: unknown key",
        "f.yaml: server.notsent_lowat: expected 4KiB to less than 2GiB, or 0",
        "f.yaml: server.threads: invalid type: string \"many\", expected",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line}\nin\n{said}");
    }
    assert_eq!(said.lines().count(), 26, "{said}");
}

#[test]
fn white_space_around_a_secret_is_dropped_and_what_no_request_can_carry_is_refused() {
    let yaml = r#"
admin: { token: "${TOKEN}" }
buckets:
  - name: a
    path_prefix: /a
    s3: { endpoint: "${ENDPOINT}", access_key: "${KEY}", secret_key: "${SECRET}", session_token: "${SESSION}" }
"#;
    let good = [
        ("TOKEN", "t0ken\n"),
        ("ENDPOINT", "http://127.0.0.1:9000\n"),
        ("KEY", " AKIA\r\n"),
        ("SECRET", "s/e+cret\n"),
        ("SESSION", "\u{a0}session\t\n"),
    ];
    let config = load_in(yaml, &good).unwrap();
    assert_eq!(config.admin.token.as_ref().unwrap().expose(), "t0ken");
    let source = &config.buckets[0].origin.source;
    assert_eq!(source.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    let Access::Static(keys) = &source.access else { panic!("{source:?}") };
    assert_eq!(
        (keys.access_key.as_str(), keys.secret_key.as_str(), keys.session_token.as_deref()),
        ("AKIA", "s/e+cret", Some("session"))
    );
    let with = |name: &'static str, value: &'static str| {
        let variables = good.iter().map(|&(known, good)| (known, if known == name { value } else { good }));
        load_in(yaml, &variables.collect::<Vec<_>>())
    };
    let empty = with("SESSION", "").unwrap();
    let Access::Static(keys) = &empty.buckets[0].origin.source.access else { panic!("{empty:?}") };
    assert_eq!(keys.session_token, None, "as AWS_SESSION_TOKEN is for keys that are not temporary");

    for (name, key, value, message) in [
        ("TOKEN", "admin.token", "a\nb", "has a control character (U+000A) at character 2"),
        ("TOKEN", "admin.token", "\n", "is white space only"),
        ("TOKEN", "admin.token", "a b", "expected printable ASCII characters without spaces"),
        ("KEY", "buckets[0].s3.access_key", "a\u{0}", "has a control character (U+0000) at character 2"),
        ("KEY", "buckets[0].s3.access_key", "\u{e9}", "expected printable ASCII characters without spaces"),
        ("SECRET", "buckets[0].s3.secret_key", "a\r\nb", "has a control character (U+000D) at character 2"),
        ("SECRET", "buckets[0].s3.secret_key", " ", "is white space only"),
        (
            "SESSION",
            "buckets[0].s3.session_token",
            "a\u{7f}b",
            "has a control character (U+007F) at character 2",
        ),
        (
            "ENDPOINT",
            "buckets[0].s3.endpoint",
            "http://a\nb",
            "has a control character (U+000A) at character 9",
        ),
    ] {
        let said = with(name, value).unwrap_err();
        assert!(said.lines().any(|line| line.starts_with(&format!("f.yaml: {key}: {message}"))), "{said}");
    }
    let digits = yaml.replace("\"${TOKEN}\"", "00123");
    assert_eq!(
        load_in(&digits, &good).unwrap_err(),
        "f.yaml: admin.token: expected a text: write it in quotes"
    );
    let short = "buckets: [{ name: a, path_prefix: /a }]";
    let token = |value| load_in(short, &[("YATAGARASU_ADMIN_TOKEN", value)]);
    assert_eq!(token("t0ken\n").unwrap().admin.token.unwrap().expose(), "t0ken");
    assert!(token("").unwrap().admin.token.is_none());
    let said = token(" \n").unwrap_err();
    assert!(said.contains("the variable YATAGARASU_ADMIN_TOKEN: is white space only"), "{said}");
}

/// The line of a syntax error may have a secret in it.
#[test]
fn a_syntax_error_shows_its_place_and_no_line() {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, text) in [
        ("a.toml", "[admin]\ntoken = \"s3cret\" x\n"),
        ("b.toml", "[admin]\ntoken = \"s3cret\n"),
        ("c.yaml", "admin:\n  token: \"s3cret\nbuckets: []\n"),
        ("d.json", "{\"admin\": {\"token\": \"s3cret\" x}}"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let said = Config::load(&file, &Environment::default()).unwrap_err().to_string();
        assert!(said.contains("line ") && !said.contains("s3cret") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_variable_that_overrides_a_key_stands_for_the_one_that_the_file_names() {
    let yaml = "admin: { token: \"${NOPE}\" }\nbuckets: [{ name: a, path_prefix: \"/${NOPE}\" }]";
    let said = load_in(yaml, &[("YATAGARASU__ADMIN__TOKEN", "t0ken")]).unwrap_err();
    assert_eq!(said, "f.yaml: buckets[0].path_prefix: the environment variable `NOPE` is not set");
    let prefix = ("YATAGARASU__BUCKETS__0__PATH_PREFIX", "/a");
    let config = load_in(yaml, &[("YATAGARASU__ADMIN__TOKEN", "t0ken"), prefix]).unwrap();
    assert_eq!(config.admin.token.unwrap().expose(), "t0ken");
}

#[test]
fn objects_that_never_fit_are_warned_of() {
    let warnings = |fill_memory: &str| {
        let yaml =
            format!("server: {{ fill_memory: {fill_memory} }}\nbuckets: [{{ name: a, path_prefix: /a }}]");
        load(&yaml).unwrap().warnings()
    };
    assert!(warnings("10MB").is_empty());
    let said = warnings("9MB");
    assert!(
        said.len() == 1
            && said[0].starts_with("buckets[0].cache.max_item_size: objects of more than 9000000")
    );
}

#[test]
fn what_asks_s3_on_and_on_is_warned_of() {
    let warnings =
        |keys: &str| load(&format!("buckets: [{{ name: a, path_prefix: /a, {keys} }}]")).unwrap().warnings();
    let said = warnings("compression: { precompressed: true }");
    assert!(said.len() == 1 && said[0].starts_with("buckets[0].compression.precompressed: "), "{said:?}");
    assert!(warnings("compression: { precompressed: true }, cache: { negative_ttl: 10s }").is_empty());
    assert!(warnings("compression: {}").is_empty());
    let warnings = |keys: &str| {
        let yaml =
            format!("server: {{ warm_restart: {{ {keys} }} }}\nbuckets: [{{ name: a, path_prefix: / }}]");
        load(&yaml).unwrap().warnings().concat()
    };
    for (keys, expected) in [
        ("rate: 10, file: /keys", ""),
        ("rate: 10, file: keys", ""),
        ("file: /keys", "server.warm_restart.file: nothing is written or fetched without `rate`"),
        (
            "rate: 10, file: /nowhere/keys",
            "server.warm_restart.file: there is no folder /nowhere: the keys cannot be written",
        ),
    ] {
        assert_eq!(warnings(keys), expected, "{keys}");
    }
}

/// A pattern that was left out showed the fields that it was to hide.
#[test]
fn a_pattern_that_cannot_be_used_is_refused() {
    for key in [
        "hide_headers: [\"x-amz-meta-**\"]",
        "response_headers: { remove: [\"x-**\"] }",
        "response_headers: { keys: \"img/**.png\" }",
    ] {
        let yaml = format!("buckets: [{{ name: a, path_prefix: /a, {key} }}]");
        let said = load(&yaml).unwrap_err();
        assert!(said.contains("is no pattern: a single `*` stands for any characters"), "{said}");
    }
    let said =
        load("buckets: [{ name: a, path_prefix: /a, response_headers: { keys: \"[a\" } }]").unwrap_err();
    assert!(said.contains("`[a` is no pattern"), "{said}");
}

#[test]
fn a_time_limit_that_would_end_every_request_is_refused() {
    let server = |given: &str| {
        load(&format!("server: {{ {given} }}\nbuckets: [{{ name: a, path_prefix: /a }}]")).map(drop)
    };
    let s3 = |given: &str| one(given, "").map(drop);
    for (key, place, default, load) in [
        ("header_timeout", "server", 60, &server as &dyn Fn(&str) -> Result<(), String>),
        ("connect_timeout", "buckets[0].s3", 5, &s3),
        ("response_timeout", "buckets[0].s3", 30, &s3),
        ("idle_timeout", "buckets[0].s3", 30, &s3),
    ] {
        for (value, found) in [("0", "0s"), ("0s", "0s"), ("9ms", "9ms")] {
            let expected = format!(
                "f.yaml: {place}.{key}: expected 10ms or more, found {found}; the default is {default}s"
            );
            assert_eq!(load(&format!("{key}: {value}")).unwrap_err(), expected);
        }
        load(&format!("{key}: 10ms")).unwrap();
    }
}

#[test]
fn a_client_may_take_nothing_for_as_long_as_the_server_says() {
    let limit = |given: &str| {
        let yaml = format!("server: {{ {given} }}\nbuckets: [{{ name: a, path_prefix: /a }}]");
        load(&yaml).map(|config| {
            let shown = show(&config);
            assert_eq!(show(&load(&shown).unwrap()), shown, "what is shown loads again");
            config.server.send_timeout
        })
    };
    for (given, expected) in [
        ("", Some(Duration::from_secs(60))),
        ("send_timeout: 0", None),
        ("send_timeout: \"0s\"", None),
        ("send_timeout: 10ms", Some(Duration::from_millis(10))),
    ] {
        assert_eq!(limit(given).unwrap(), expected, "{given}");
    }
    let said = limit("send_timeout: 9ms").unwrap_err();
    assert!(
        said.starts_with("f.yaml: server.send_timeout: expected 10ms or more, or 0 for no limit, found 9ms"),
        "{said}"
    );
}

#[test]
fn more_than_ten_list_entries_may_come_from_variables() {
    let mut variables = Vec::new();
    for index in 0..12 {
        variables.push((format!("YATAGARASU__BUCKETS__{index}__NAME"), format!("b{index}")));
        variables.push((format!("YATAGARASU__BUCKETS__{index}__PATH_PREFIX"), format!("/{index}")));
    }
    let environment: Environment = variables.into_iter().collect();
    let config = Config::from_yaml("f.yaml", "server: {}", &environment).unwrap();
    let names: Vec<_> = config.buckets.iter().map(|bucket| bucket.name.as_str()).collect();
    assert_eq!(names, (0..12).map(|index| format!("b{index}")).collect::<Vec<_>>());
}

#[test]
fn overlapping_names_and_prefixes_are_refused() {
    let two = |first: &str, second: &str| load(&format!("buckets:\n  - {{ {first} }}\n  - {{ {second} }}\n"));
    let names = two("name: a, path_prefix: /a", "name: a, path_prefix: /b").unwrap_err();
    assert_eq!(names, "f.yaml: buckets[1].name: `a` is taken by buckets[0] already");
    let prefixes = two("name: a, path_prefix: /a", "name: b, path_prefix: /a/").unwrap_err();
    assert_eq!(prefixes, "f.yaml: buckets[1].path_prefix: `/a` is taken by buckets[0] already");
    two("name: a, path_prefix: /a", "name: b, path_prefix: /a/b").unwrap();
    assert!(load("buckets: []").unwrap_err().contains("expected at least one bucket"));
    assert!(load("buckets:\n\t- x").unwrap_err().contains("line 2"));
    let same =
        load("server: { address: \"127.0.0.1:9090\" }\nbuckets: [{ name: a, path_prefix: / }]").unwrap_err();
    assert!(same.contains("admin.address: is the public address too"), "{same}");
    let socket = |path: &str| {
        let server = "server: { listeners: [{ address: \"unix:/run/a.sock\" }] }";
        load(&format!("{server}\nadmin: {{ socket: {path:?} }}\nbuckets: [{{ name: a, path_prefix: / }}]"))
    };
    let taken = socket("/run/a.sock").unwrap_err();
    assert_eq!(taken, "f.yaml: admin.socket: is taken by server.listeners[0] already: choose another path");
    for path in ["a.sock", "unix:/run/b.sock", ""] {
        let relative = socket(path).unwrap_err();
        assert!(relative.contains("admin.socket: expected an absolute path such as"), "{relative}");
    }
    socket("/run/b.sock").unwrap();
}

#[test]
fn what_a_queue_cannot_be_is_refused() {
    let check = |sqs: &str, expected: &str| {
        let yaml = format!("events: {{ sqs: {{ {sqs} }} }}\nbuckets: [{{ name: a, path_prefix: / }}]");
        let said = load(&yaml).err().unwrap_or_default();
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{sqs}: {said}");
    };
    check("url: \"https://sqs.eu-central-1.amazonaws.com/1/q\"", "");
    check("url: \"http://u:p@a/1/q\"", "events.sqs.url: expected a URL such as");
    check("url: \"changes\"", "events.sqs.url: expected a URL such as");
    check("url: \"http://a/1/q\", region: \"\"", "");
    check("url: \"http://a/1/q\", region: \"eu west\"", "events.sqs.region: expected a region such as");
    check("region: r", "events.sqs.url: expected the URL of the queue that the other keys are for");
    check("url: \"http://a/1/q\", access_key: a", "events.sqs.secret_key: expected the secret");
    check("url: \"http://a/1/q\", access_key: \"\", secret_key: s", "events.sqs.access_key: is empty");
}

#[cfg(feature = "otel")]
#[test]
fn what_a_collector_cannot_be_is_refused() {
    let check = |tracing: &str, expected: &str| {
        let yaml = format!("tracing: {{ {tracing} }}\nbuckets: [{{ name: a, path_prefix: / }}]");
        let said = load(&yaml).err().unwrap_or_default();
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{tracing}: {said}");
    };
    check("endpoint: \"https://collector.example/otlp\", ratio: 1", "");
    for url in ["localhost:4318", "grpc://a:4317", "http://u:p@a", ""] {
        check(&format!("endpoint: \"{url}\""), "tracing.endpoint: expected a URL such as");
    }
    check("ratio: 1.1", "tracing.ratio: expected a number from 0 to 1, found 1.1");
    check("service: \"\"", "tracing.service: expected a name");
    check("parent: \"maybe\"", "tracing.parent");
}

#[test]
fn a_list_in_the_place_of_a_section_is_refused() {
    let said =
        load("server: [\"127.0.0.1:8080\"]\nbuckets: [[a, /a], { name: b, path_prefix: /b, cache: [] }]");
    assert_eq!(
        said.unwrap_err().lines().collect::<Vec<_>>(),
        [
            "f.yaml: buckets[0]: invalid type: list, expected a bucket: `name`, `path_prefix` and more",
            "f.yaml: buckets[1].cache: invalid type: list, expected the keys of `cache`",
            "f.yaml: server: invalid type: list, expected the keys of `server`",
        ]
    );
}

#[test]
fn what_is_shown_loads_again_and_hides_secrets() {
    let config = load_in(LONG, &[("YATAGARASU_ADMIN_TOKEN", "t0ken")]).unwrap();
    let shown = show(&config);
    assert!(!shown.contains("t0ken") && !shown.contains("..."), "{shown}");
    assert_eq!(shown.matches("\"***\"").count() + shown.matches(": ***").count(), 4, "{shown}");
    let said = load(&shown).unwrap_err();
    assert_eq!(said.matches("is what `config show` writes for a secret").count(), 4, "{said}");
    assert_eq!(show(&load(&shown.replace("***", "known")).unwrap()), shown);
    let odd = show(&load("buckets: [{ name: a, path_prefix: \"/$${x}\" }]").unwrap());
    assert_eq!(show(&load(&odd).unwrap()), odd);
    assert!(!format!("{config:?}").contains("t0ken") && !format!("{config:?}").contains("\"...\""));
}

#[test]
fn a_key_that_is_there_twice_is_refused_in_each_format() {
    let folder = tempfile::TempDir::new().unwrap();
    for (name, text) in [
        ("a.yaml", "server: { threads: 1, threads: 2 }\nbuckets: [{ name: a, path_prefix: / }]"),
        ("a.toml", "[server]\nthreads = 1\nthreads = 2\n[[buckets]]\nname = \"a\"\npath_prefix = \"/\""),
        (
            "a.json",
            r#"{ "server": { "threads": 1, "threads": 2 }, "buckets": [{ "name": "a", "path_prefix": "/" }] }"#,
        ),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let said = Config::load(&file, &Environment::default()).unwrap_err().to_string();
        assert!(said.contains("threads") && said.contains(name), "{said}");
        assert!(said.contains("twice") || said.contains("duplicate"), "{said}");
    }
}

#[test]
fn variables_that_do_nothing_are_said_together_with_all_else() {
    let yaml =
        "server: { threads: many }\nbuckets: [{ name: a, path_prefix: \"/${YATAGARASU_SERVER_THREADS}\" }]";
    let variables = [
        ("YATAGARASU_SERVER_ADDRESS", "x"),
        ("YATAGARASU_SERVER_THREADS", "x"),
        ("YATAGARASU_PORT", "tcp://10.0.0.1:80"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_PROFILE", "none"),
        ("AWS_CONFIG_FILE", "/does/not/exist"),
    ];
    let said = load_in(yaml, &variables).unwrap_err();
    let lines: Vec<_> = said.lines().collect();
    let expected = [
        "environment: AWS_ACCESS_KEY_ID: is set without AWS_SECRET_ACCESS_KEY: set both, or neither",
        "environment: AWS_CONFIG_FILE: `/does/not/exist` cannot be read: ",
        "environment: AWS_PROFILE: there is no profile `none` in /does/not/exist",
        "environment: YATAGARASU_SERVER_ADDRESS: overrides nothing: set YATAGARASU__SERVER__ADDRESS, ",
        "f.yaml: server.threads: invalid type: ",
    ];
    assert_eq!(lines.len(), expected.len(), "{said}");
    assert!(lines.iter().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{said}");
    // Buckets with keys of their own, or none, do not read the chain's variables.
    let own = "buckets: [{ name: a, path_prefix: /, s3: { anonymous: true } }]";
    load_in(own, &variables[2..]).unwrap();
}
