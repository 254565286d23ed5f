//! The `cache` commands against a running server.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use yatagarasu_server::config::Environment;
use yatagarasu_server::{Config, Server};
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::{ACCESS_KEY, Origin, Reply, SECRET_KEY};

use crate::process::{Said, command, finish, run};
use crate::terminal::Terminal;

/// A running server with two buckets over the same objects: `assets`, and `videos` with caching off.
struct Site {
    s3: Origin,
    client: Client,
    /// The URL of the listener for clients.
    public: String,
    admin: String,
}

impl Site {
    async fn start(admin: &str) -> Self {
        Self::with_cache(admin, "").await
    }

    /// Starts a server. `cache` has the cache settings of the bucket `assets`.
    async fn with_cache(admin: &str, cache: &str) -> Self {
        let s3 = Origin::start().await;
        for key in ["a", "b c", "css/1", "css/2"] {
            let tags: &[_] =
                if key.starts_with("css/") { &[("x-amz-meta-cache-tag", "styles")] } else { &[] };
            s3.objects().put(key, tags, key);
        }
        let source = format!(
            "{{ bucket: bucket, region: us-east-1, endpoint: {:?}, access_key: {ACCESS_KEY:?}, secret_key: \
             {SECRET_KEY:?} }}",
            s3.endpoint()
        );
        let yaml = format!(
            "server: {{ address: \"127.0.0.1:0\", threads: 1 }}\n\
             admin: {{ address: \"127.0.0.1:0\", {admin} }}\n\
             buckets:\n  \
             - {{ name: assets, path_prefix: /static, s3: {source}, cache: {{ {cache} }} }}\n  \
             - {{ name: videos, path_prefix: /media, s3: {source}, cache: {{ enabled: false }} }}\n"
        );
        let config = Config::from_yaml("test.yaml", &yaml, &Environment::default()).unwrap();
        let server = Server::start(&config).await.unwrap();
        let [public, admin] =
            [server.address(), server.admin_address()].map(|address| format!("http://{address}"));
        let client = Client::unpooled(server.address());
        // The next configuration has one bucket, and the one after that is wrong.
        let reloads = AtomicUsize::new(0);
        server.reloading(move || {
            let next = match reloads.fetch_add(1, Ordering::Relaxed) {
                0 => yaml.lines().take(4).collect::<Vec<_>>().join("\n"),
                _ => yaml.replace("threads", "treads"),
            };
            Config::from_yaml("test.yaml", &next, &Environment::default())
        });
        tokio::spawn(server.run(std::future::pending()));
        Self { s3, client, public, admin }
    }

    /// Runs `yatagarasu cache` against this server.
    fn cache(&self, arguments: &[&str]) -> Said {
        run(&[&["cache", "--admin", self.admin.as_str()][..], arguments].concat())
    }

    async fn fetch(&self, paths: &[&str]) {
        for path in paths {
            self.client.get(path).await;
        }
    }

    async fn x_cache(&self, path: &str) -> String {
        self.client.get(path).await.field("x-cache").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_are_a_table_or_json() {
    let site = Site::start("").await;
    site.fetch(&["/static/a", "/static/a", "/static/missing", "/media/a"]).await;
    let said = site.cache(&["stats"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    let words = |line: &'static str| line.split_whitespace().collect::<Vec<_>>();
    let lines: Vec<Vec<&str>> = said.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..2], words("BUCKET PREFIX"));
    assert_eq!(lines[1][..2], words("assets /static"));
    assert!(lines[1].contains(&"33.3%"), "{}", said.stdout);
    assert_eq!(lines[2], words("videos /media - - 0 1 0.0% 0"));
    assert!(said.stdout.lines().all(|line| line.len() <= 80), "{}", said.stdout);
    let wide = site.cache(&["stats", "--wide"]).stdout;
    assert!(wide.lines().nth(2).unwrap().ends_with("  -          0            0      0       0"), "{wide}");
    assert!(said.stdout.contains(" of 256 MB\n"), "{}", said.stdout);
    assert!(said.stdout.ends_with(": 0 B of 134.2 MB\n"), "{}", said.stdout);

    let said = site.cache(&["stats", "--json", "--bucket", "assets"]);
    let stats: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let assets = &stats["buckets"][0];
    assert_eq!(stats["buckets"].as_array().unwrap().len(), 1);
    assert_eq!((&assets["hits"], &assets["forwards"], &assets["errors"]), (&1.into(), &2.into(), &1.into()));

    let said = site.cache(&["stats", "--bucket", "x"]);
    let expected = "yatagarasu: there is no bucket `x`; there are: assets, videos\n";
    assert_eq!((said.status, said.stderr.as_str()), (1, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_say_how_many_objects_went() {
    let site = Site::start("").await;
    site.fetch(&["/static/a", "/static/b%20c", "/static/css/1", "/static/css/2"]).await;
    let check = |arguments: &[&str], words: &str| {
        let said = site.cache(&[&["purge", "--bucket"][..], arguments].concat());
        assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, words, ""));
    };
    check(&["assets", "--key", "b c"], "1 object purged from bucket assets\n");
    check(&["assets", "--key", "b c"], "0 objects purged from bucket assets\n");
    check(&["assets", "--prefix", "css/"], "2 objects purged from bucket assets\n");
    check(&["assets", "--all"], "1 object purged from bucket assets\n");
    check(&["videos", "--all"], "0 objects purged from bucket videos\n");
    assert_eq!(site.x_cache("/static/a").await, "MISS");
    site.fetch(&["/static/css/1", "/static/css/2"]).await;
    check(&["assets", "--tag", "styles"], "2 objects purged from bucket assets\n");
    check(&["assets", "--tag", "styles"], "0 objects purged from bucket assets\n");

    let refused = |arguments: &[&str], words: &str| {
        let said = site.cache(&[&["purge", "--bucket"][..], arguments].concat());
        assert_eq!((said.status, said.stdout.as_str()), (1, ""));
        assert!(said.stderr.starts_with("yatagarasu: ") && said.stderr.contains(words), "{}", said.stderr);
    };
    refused(&["x", "--all"], "there is no bucket `x`; there are: assets, videos");
    refused(&["assets", "--key", "a/../b"], "segment");
    assert_eq!(site.cache(&["purge", "--bucket", "assets"]).status, 2, "nothing is selected");
    for option in ["--tag", "--key", "--prefix"] {
        let said = site.cache(&["purge", "--bucket", "assets", option, ""]);
        assert!(said.status == 2 && said.stderr.contains("use --all"), "{said:?}");
    }
    let path = site.cache(&["purge", "--bucket", "assets", "--key", "/static/css/1"]);
    let hint = "0 objects purged from bucket assets\nkeys of bucket assets are what follows `/static/` in a URL: \
                did you mean `css/1`?\n";
    assert_eq!((path.status, path.stdout.as_str()), (0, hint));
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_may_be_soft_and_for_all_buckets() {
    let site = Site::start("").await;
    site.fetch(&["/static/a", "/static/css/1", "/static/css/2"]).await;
    let check = |arguments: &[&str], words: &str| {
        let said = site.cache(&[&["purge"][..], arguments].concat());
        assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, words, ""));
    };
    check(&["--bucket", "assets", "--key", "a", "--soft"], "1 object marked stale in bucket assets\n");
    assert_eq!(
        (site.x_cache("/static/a").await, site.x_cache("/static/a").await),
        ("REVALIDATED".to_owned(), "HIT".to_owned())
    );
    check(&["--tag", "styles", "--soft"], "2 objects marked stale in all buckets\n");
    assert_eq!(
        (site.x_cache("/static/css/1").await, site.x_cache("/static/a").await),
        ("REVALIDATED".to_owned(), "HIT".to_owned())
    );
    check(&["--tag", "styles"], "2 objects purged from all buckets\n");
    check(&["--all"], "1 object purged from all buckets\n");
    assert_eq!(site.x_cache("/static/a").await, "MISS");

    let said = site.cache(&["purge", "--key", "a"]);
    assert_eq!((said.status, said.stdout.as_str()), (2, ""));
    assert!(said.stderr.contains("--bucket <BUCKET>"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_its_token_come_from_options_or_the_environment() {
    let site = Site::start("token: \"s3cret\"").await;
    let check = |said: &Said, words: &str| {
        assert_eq!(said.status, if words == "printable" { 2 } else { 1 }, "{said:?}");
        assert!(said.stderr.contains(words) && said.stderr.contains("--token"), "{}", said.stderr);
        assert!(!said.stderr.contains("guess"), "{}", said.stderr);
    };
    check(&site.cache(&["stats"]), "refused the request");
    check(&site.cache(&["stats", "--token", "guess"]), "refused the request");
    check(&site.cache(&["purge", "--bucket", "assets", "--all", "--token", "guess"]), "refused the request");
    check(&site.cache(&["stats", "--token", "guess\u{7f}"]), "printable");
    assert_eq!(site.cache(&["stats", "--token", "s3cret"]).status, 0);
    let mut command = command(&["cache", "stats"]);
    command.env("YATAGARASU_ADMIN", format!("{}/", site.admin)).env("YATAGARASU_ADMIN_TOKEN", "s3cret\n");
    assert_eq!(finish(&mut command).status, 0);
    let help = finish(command.arg("--help"));
    assert!(help.stdout.contains("YATAGARASU_ADMIN_TOKEN") && !help.stdout.contains("s3cret"), "{help:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_on_its_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let site = Site::start(&format!("token: t0ken, socket: {path:?}")).await;
    site.fetch(&["/static/a"]).await;
    let url = format!("unix:{}", path.display());
    let said = run(&["cache", "list", "--bucket", "assets", "--admin", &url]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.contains(" a\n"), "{}", said.stdout);
    let mut by_variable = command(&["cache", "purge", "--bucket", "assets", "--all"]);
    let said = finish(by_variable.env("YATAGARASU_ADMIN", &url));
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(run(&["health", "--ready", "--admin", &url]).status, 0);
    assert_eq!(run(&["health", "--admin", &site.admin]).status, 0);
    let over_tcp = run(&["cache", "stats", "--admin", &site.admin]);
    assert!(over_tcp.status == 1 && over_tcp.stderr.contains("refused the request"), "{over_tcp:?}");
    let gone = run(&["cache", "stats", "--admin", "unix:/nowhere/admin.sock"]);
    let expected = "cannot reach the admin API at unix:/nowhere/admin.sock: No such file or directory";
    assert!(gone.status == 1 && gone.stderr.contains(expected), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_is_named() {
    let check_status = |status: i32, url: &str, words: &[&str]| {
        let said = run(&["cache", "stats", "--admin", url]);
        assert_eq!((said.status, said.stdout.as_str()), (status, ""), "{said:?}");
        for word in words {
            assert!(said.stderr.contains(word), "{word:?} in {}", said.stderr);
        }
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    };
    let check = |url: &str, words: &[&str]| check_status(1, url, words);
    let advice = ": is the server running, and is --admin right?\n";
    check(
        "http://127.0.0.1:1/",
        &["yatagarasu: cannot reach the admin API at http://127.0.0.1:1: Connection refused", advice],
    );
    let site = Site::start("").await;
    check(
        &site.admin.replace("http:", "https:"),
        &[
            "cannot reach the admin API at https://127.0.0.1:",
            "no TLS is spoken there: use `http://`",
            advice,
        ],
    );
    check(&site.s3.endpoint(), &["is not the admin API", "403"]);
    for url in ["127.0.0.1:9090", "ftp://127.0.0.1", "http://127.0.0.1/?a", "nonsense here", ""] {
        check_status(2, url, &["expected `http://HOST:PORT`", url]);
    }
    let public = format!("http://{}", site.client.address());
    check(&public, &[&public, "is the gateway's public address", "admin.address"]);
    let said = run(&["cache", "purge", "--bucket", "assets", "--all", "--admin", &public]);
    assert!(said.status == 1 && said.stderr.contains("public address"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_reads_its_configuration_again_and_shows_it() {
    let site = Site::start("").await;
    let config = |arguments: &[&str]| run(&[&["config"][..], arguments, &["--admin", &site.admin]].concat());
    let running = config(&["running"]);
    assert_eq!((running.status, running.stderr.as_str()), (0, ""));
    assert!(running.stdout.contains("name: videos") && !running.stdout.contains(SECRET_KEY), "{running:?}");
    let said = config(&["reload"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert_eq!(said.stdout, "reloaded\nassets: cache kept\nvideos: cache removed\n");
    assert!(!config(&["running"]).stdout.contains("name: videos"));
    let said = config(&["reload"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("test.yaml: server.treads: unknown key"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_or_a_file_says_what_a_request_would_get() {
    let site = Site::start("token: s3cret").await;
    site.fetch(&["/static/a"]).await;
    while site.x_cache("/static/a").await != "HIT" {}
    let asked = site.s3.requests().len();
    let server = ["--admin", site.admin.as_str(), "--token", "s3cret"];
    let explain = |arguments: &[&str]| run(&[&["explain"][..], arguments].concat());
    let of_server = |arguments: &[&str]| explain(&[arguments, &server[..]].concat());
    let said = of_server(&["/static/a"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    for line in [
        "GET /static/a\n",
        "\nbucket    assets  (it is for all hosts, and `/static` is the longest prefix of the path)\n",
        "\nkey       a  (the path below the prefix)\n",
        "\ndecision  serve  (",
        "\nstored    object, 1 bytes, ",
    ] {
        assert!(said.stdout.contains(line), "{line:?}: {}", said.stdout);
    }
    let said = of_server(&["/static/a", "-H", "Cache-Control: no-cache"]);
    assert!(said.stdout.contains("\n          if-none-match: \""), "{}", said.stdout);
    let said = of_server(&["/media/b c", "-X", "HEAD", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&json["bucket"]["is"], &json["decision"]["is"]), (&"videos".into(), &"pass".into()));
    assert_eq!(site.s3.requests().len(), asked, "S3 is asked nothing");
    let said = of_server(&["ftp://a/"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("expected a URL such as"), "{}", said.stderr);
    let said = explain(&["/a", "--admin", &site.admin, "--token", "wrong"]);
    assert!(said.status == 1 && said.stderr.contains("admin.token"), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.yaml");
    std::fs::write(&file, "buckets: [{ name: a, path_prefix: /x, s3: { bucket: b, region: eu-west-1 } }]\n")
        .unwrap();
    let file = file.to_str().unwrap();
    let said = explain(&["http://any.example:8080/x/k", "--config", file]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    assert!(said.stdout.contains("\nlistener  127.0.0.1:8080  ("), "{}", said.stdout);
    assert!(
        said.stdout.contains("\nS3        GET https://b.s3.eu-west-1.amazonaws.com/k\n"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("nothing is stored yet"), "{}", said.stdout);
    let said = explain(&["/x", "--config", "/nowhere.yaml"]);
    assert!(said.status == 2 && said.stderr.contains("/nowhere.yaml"), "{said:?}");
    let said = explain(&["x", "--config", file]);
    assert!(said.status == 2 && said.stderr.contains("expected a URL such as"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_whether_it_is_well() {
    let site = Site::start("token: s3cret").await;
    let health = |more: &[&str]| run(&[&["health", "--admin", site.admin.as_str()][..], more].concat());
    let said = health(&[]);
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, "alive\n", ""));
    // Neither needs the token.
    let said = health(&["--ready"]);
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, "ready\n", ""));
    // Results hold for a second.
    site.s3.decide(|_| Some(Reply::status(500)));
    let mut said = health(&["--ready"]);
    while said.status == 0 {
        said = health(&["--ready"]);
    }
    assert!(said.status == 1 && said.stderr.contains("is not ready: {\"ready\":false,"), "{said:?}");
    assert_eq!(health(&[]).status, 0, "it is alive all the same");
    let said = run(&["health", "--admin", "http://127.0.0.1:1"]);
    assert!(said.status == 1 && said.stderr.contains("is the server running"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_fetched_before_clients_ask_for_them() {
    let site = Site::start("token: s3cret").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let warm = |more: &[&str]| site.cache(&[&["warm", "--token", "s3cret", "--bucket"][..], more].concat());
    let keys = file("keys");
    std::fs::write(&keys, "a\r\n\nb c\nmissing\n").unwrap();

    let said = warm(&["assets", "--from", &keys, "--dry-run"]);
    assert_eq!((said.status, said.stdout.as_str()), (0, "a\nb c\nmissing\n"), "{said:?}");
    assert_eq!(said.stderr, "3 objects would be fetched\n");
    assert!(site.s3.requests().is_empty(), "nothing is fetched");

    let journal = file("journal");
    let said = warm(&["assets", "--from", &keys, "--journal", &journal]);
    assert_eq!(said.status, 1, "{said:?}");
    assert!(said.stdout.starts_with("3 objects in "), "{said:?}");
    assert!(
        said.stdout.ends_with(" s: 2 stored (4 B), 0 there already, 0 not stored, 1 failed\n"),
        "{said:?}"
    );
    assert!(said.stderr.contains("failed: missing: "), "{said:?}");
    assert!(said.stderr.ends_with("yatagarasu: 1 object could not be fetched\n"), "{said:?}");
    for path in ["/static/a", "/static/b%20c"] {
        assert_eq!(site.x_cache(path).await, "HIT", "{path}");
    }
    // What is done is left out the next time, and what has failed is not.
    site.s3.objects().put("missing", &[], "here");
    let said = warm(&["assets", "--from", &keys, "--journal", &journal]);
    assert!(said.status == 0 && said.stdout.contains(": 1 stored (4 B), 0 there"), "{said:?}");
    assert!(said.stdout.ends_with("; 2 left out, which the journal has\n"), "{said:?}");

    let said = warm(&["assets", "--prefix", "css/", "--json", "--jobs", "1", "--rate", "100"]);
    let lines: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((said.status, lines.len()), (0, 3), "{said:?}");
    assert_eq!((&lines[0]["key"], &lines[0]["result"]), (&"css/1".into(), &"stored".into()));
    assert_eq!((&lines[2]["stored"], &lines[2]["failed"]), (&2.into(), &0.into()));
    // An empty prefix is everything.
    let said = warm(&["assets", "--prefix", ""]);
    assert!(said.status == 0 && said.stdout.contains(": 0 stored (0 B), 5 there already, 0 not"), "{said:?}");

    // One bad key is not the end of the others.
    std::fs::write(&keys, "\u{feff}a/../b\nb c\n").unwrap();
    let said = warm(&["assets", "--from", &keys, "--jobs", "1"]);
    assert!(
        said.status == 1 && said.stdout.contains(": 0 stored (0 B), 1 there already, 0 not stored, 1 failed"),
        "{said:?}"
    );
    assert!(said.stderr.starts_with("failed: a/../b: the key has a `.` or `..` segment"), "{said:?}");
    // The journal is for one bucket; nothing to fetch is a mistake.
    let said = warm(&["videos", "--from", &keys, "--journal", &journal]);
    assert!(said.status == 1 && said.stderr.contains("the bucket videos has no cache"), "{said:?}");
    let said = warm(&["assets", "--from", &keys, "--journal", &keys]);
    assert!(said.status == 2 && said.stderr.contains("it is no journal: "), "{said:?}");
    assert_eq!(std::fs::read_to_string(&keys).unwrap(), "\u{feff}a/../b\nb c\n", "it stays as it is");
    let said = warm(&["assets", "--prefix", "nowhere/"]);
    assert!(said.status == 1 && said.stderr.contains("there was nothing to fetch"), "{said:?}");
    let said = warm(&["assets", "--from", &keys, "--rate", "2000000000"]);
    assert!(said.status == 2 && said.stderr.contains("1..=1000000"), "{said:?}");

    let said = warm(&["nothing", "--prefix", ""]);
    assert!(said.status == 1 && said.stderr.contains("there is no bucket `nothing`"), "{said:?}");
    let said = warm(&["assets", "--from", "/nowhere"]);
    assert!(said.status == 2 && said.stderr.contains("--from /nowhere: "), "{said:?}");
    let said = warm(&["assets"]);
    assert!(
        said.status == 2 && said.stderr.contains("--from <FILE>|--prefix <PREFIX>|--sitemap <URL>"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_sitemap_are_fetched() {
    let site = Site::start("").await;
    let warm = |more: &[&str]| site.cache(&[&["warm", "--bucket", "assets", "--sitemap"][..], more].concat());
    site.s3.objects().put("page", &[], "page");
    let urls = ["static/page", "media/a", "nowhere"]
        .map(|path| format!("<url><loc>https://www.example.com/{path}</loc></url>"));
    site.s3.objects().put("pages.xml", &[], format!("<urlset>{}</urlset>", urls.concat()));
    let url = |key: &str| format!("{}/media/{key}", site.public);
    let index = format!("<sitemapindex><sitemap><loc>{}</loc></sitemap></sitemapindex>", url("pages.xml"));
    site.s3.objects().put("index.xml", &[], index);
    let said = warm(&[&url("index.xml")]);
    assert!(
        said.status == 1 && said.stdout.contains(": 1 stored (4 B), 0 there already, 0 not stored, 2 failed"),
        "{said:?}"
    );
    assert!(
        said.stderr.contains("failed: https://www.example.com/media/a: it is of the bucket videos\n"),
        "{said:?}"
    );
    assert_eq!(site.x_cache("/static/page").await, "HIT");
    let sitemaps = ["none.xml", "pages.xml"].map(|key| format!("<sitemap><loc>{}</loc></sitemap>", url(key)));
    site.s3.objects().put("both.xml", &[], format!("<sitemapindex>{}</sitemapindex>", sitemaps.concat()));
    let said = warm(&[&url("both.xml")]);
    assert!(
        said.status == 1 && said.stdout.contains(", 1 there already, 0 not stored, 3 failed"),
        "{said:?}"
    );
    assert!(said.stderr.contains("/none.xml: the server answered 404"), "{said:?}");
    let said = warm(&[&url("none.xml")]);
    assert!(
        said.status == 1 && said.stderr.contains("none.xml cannot be read: the server answered 404"),
        "{said:?}"
    );
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(format!("<urlset>{}</urlset>", urls[0]).as_bytes()).unwrap();
    site.s3.objects().put("pages.xml.gz", &[], compressed.finish().unwrap());
    let said = warm(&[&url("pages.xml.gz")]);
    assert!(said.status == 0 && said.stdout.contains(", 1 there already,"), "{said:?}");
    let said = warm(&[&url("index.xml"), "--dry-run"]);
    assert_eq!((said.status, said.stdout.as_str()), (0, "page\n"));
    assert!(said.stderr.contains("failed: https://www.example.com/nowhere: "), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_standard_input() {
    let site = Site::start("").await;
    let mut command =
        command(&["cache", "--admin", &site.admin, "warm", "--bucket", "assets", "--from", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.starts_with("1 object in "), "{said}");
    assert_eq!(site.x_cache("/static/a").await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_listed_and_inspected() {
    let site = Site::start("").await;
    site.fetch(&["/static/a", "/static/css/1", "/static/css/2"]).await;
    let listed = |arguments: &[&str]| site.cache(&[&["list", "--bucket"][..], arguments].concat());
    let said = listed(&["assets"]);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""));
    let keys: Vec<_> = said.stdout.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(keys, ["KEY", "a", "css/1", "css/2"]);
    assert!(said.stdout.lines().nth(1).unwrap().contains("object"), "{}", said.stdout);
    assert_eq!(listed(&["assets", "--tag", "styles"]).stdout.lines().count(), 3);
    for json in [&[][..], &["--json"]] {
        let said = listed(&[&["assets", "--prefix", "css/", "--limit", "1"][..], json].concat());
        assert_eq!(said.stderr, "there are more: see --limit\n");
    }
    let said = listed(&["assets", "--json", "--limit", "3"]).stdout;
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[2]["key"], &lines[2]["bytes"]), (3, &"css/2".into(), &5.into()));
    let said = listed(&["videos"]);
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("", "nothing such is stored in bucket videos\n")
    );
    let said = listed(&["x"]);
    assert!(said.status == 1 && said.stderr.contains("there are: assets, videos"), "{said:?}");
    // Neither colours the terminal nor turns the direction of what follows.
    let said = listed(&["\u{1b}[31mx\u{202e}"]);
    assert!(said.status == 1 && said.stderr.contains("`\u{fffd}[31mx\u{fffd}`"), "{said:?}");

    let inspected =
        |arguments: &[&str]| site.cache(&[&["inspect", "--bucket", "assets"][..], arguments].concat());
    let said = inspected(&["css/1"]).stdout;
    assert!(said.starts_with("key        css/1\nkind       object\n"), "{said}");
    assert!(said.contains("x-amz-meta-cache-tag: styles\n"), "{said}");
    let said = inspected(&["css/1", "--json"]).stdout;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["key"], "css/1");
    let said = inspected(&["/static/css/1"]);
    assert_eq!((said.status, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.contains("is not stored") && said.stderr.contains("did you mean `css/1`?"),
        "{said:?}"
    );
    assert_eq!(inspected(&["none", "--json"]).status, 1);

    let said = site.cache(&["purge", "--bucket", "assets", "--prefix", "css/", "--dry-run"]);
    assert_eq!(said.stdout, "2 objects would be purged from bucket assets\n");
    assert_eq!(site.x_cache("/static/css/1").await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_shown_again_and_again() {
    let site = Site::start("").await;
    let watch = |more: &[&str]| {
        let arguments = [&["cache", "--admin", &site.admin, "stats", "--watch=1"][..], more].concat();
        command(&arguments)
    };
    // In a pipe there is one document after the other, until nobody reads any more.
    let mut child = watch(&["--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    site.fetch(&["/static/a", "/static/a"]).await;
    let hits = |line: String| {
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["buckets"][0]["hits"].as_u64()
    };
    assert!(lines.by_ref().any(|line| hits(line.unwrap()) == Some(1)), "it has ended");
    drop(lines);
    assert!(child.wait().unwrap().success());

    let mut terminal = Terminal::start(&mut watch(&[]));
    // The command moves to the top, writes the table, and clears the rest of the screen last.
    let shown = |rate| {
        move |text: &str| text.contains("\u{1b}[H") && text.contains(rate) && text.ends_with("\u{1b}[J")
    };
    terminal.until(shown("50.0%"));
    site.fetch(&["/static/a", "/static/a"]).await;
    terminal.until(shown("75.0%"));
    terminal.interrupt();
    assert!(!terminal.end().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_shows_a_bar_on_a_terminal_only() {
    let site = Site::start("").await;
    // Slow enough to be drawn.
    let arguments =
        ["cache", "--admin", &site.admin, "warm", "--bucket", "assets", "--prefix", "", "--rate", "8"];
    let (status, text) = Terminal::start(command(&arguments).env("TERM", "xterm")).end();
    assert!(status.success() && text.contains("4 objects in "), "{text:?}");
    assert!(text.contains("\u{1b}["), "a bar: {text:?}");
    let said = site.cache(&["warm", "--bucket", "assets", "--prefix", ""]);
    assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_that_is_interrupted_says_how_far_it_was() {
    let site = Site::start("").await;
    (0..100).for_each(|n| site.s3.objects().put(&format!("many/{n}"), &[], "x"));
    let arguments =
        ["cache", "--admin", &site.admin, "warm", "--bucket", "assets", "--prefix", "many/", "--rate", "1"];
    let mut terminal = Terminal::start(command(&arguments).env("TERM", "xterm"));
    terminal.until(|text| text.contains("1 object, "));
    terminal.interrupt();
    let (status, text) = terminal.end();
    assert_eq!(status.code(), Some(1), "{text:?}");
    assert!(
        text.contains(" stored (") && text.contains("yatagarasu: interrupted: with --journal, the same"),
        "{text:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_more_than_fits_is_told() {
    let site = Site::with_cache("", "max_size: \"1MB\", max_item_size: \"100KB\"").await;
    (0..20).for_each(|n| site.s3.objects().put(&format!("many/{n}"), &[], "x".repeat(90_000)));
    let told = "the objects have 1.8 MB, and the cache holds 1 MB: ";
    let said = site.cache(&["warm", "--bucket", "assets", "--prefix", "many/"]);
    assert!(said.status == 0 && said.stderr.contains(told), "{said:?}");
    let said = site.cache(&["warm", "--bucket", "assets", "--prefix", "css/"]);
    assert!(said.status == 0 && !said.stderr.contains("the cache holds"), "{said:?}");
}

/// A proxy in front of a server that can drop its connections, as a restart does.
struct Way {
    url: String,
    is_cut: watch::Sender<bool>,
}

impl Way {
    async fn to(url: &str) -> Self {
        let server = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_cut, mut cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if *cut.borrow_and_update() {
                    continue;
                }
                let (mut cut, mut server) = (cut.clone(), TcpStream::connect(&server).await.unwrap());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                    }
                });
            }
        });
        Self { url, is_cut }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_sees_the_server_again_after_a_restart() {
    let site = Site::start("").await;
    let way = Way::to(&site.admin).await;
    let mut terminal = Terminal::start(&mut command(&["cache", "--admin", &way.url, "stats", "--watch=1"]));
    terminal.until(|text| text.contains("assets"));
    way.is_cut.send_replace(true);
    terminal.until(|text| text.contains("trying again"));
    way.is_cut.send_replace(false);
    site.fetch(&["/static/a", "/static/a"]).await;
    terminal.until(|text| text.contains("50.0%"));
    let said = run(&["cache", "--admin", "http://127.0.0.1:1", "stats", "--watch=1"]);
    assert_eq!(said.status, 1, "a server that was never there is an error: {said:?}");
}

#[cfg(feature = "top")]
#[tokio::test(flavor = "multi_thread")]
async fn top_sees_the_server_again_after_a_restart() {
    let site = Site::start("").await;
    let way = Way::to(&site.admin).await;
    let mut command = command(&["top", "--admin", &way.url]);
    let mut terminal = Terminal::start(command.env("TERM", "xterm-256color"));
    terminal.until(|text| text.contains("quits"));
    way.is_cut.send_replace(true);
    terminal.until(|text| text.contains("trying"));
    way.is_cut.send_replace(false);
    site.s3.decide(|request| (request.key == "broken").then(|| Reply::status(500)));
    site.fetch(&["/static/broken"]).await;
    terminal.until(|text| text.contains("recent"));
    terminal.say("q");
    assert!(terminal.end().0.success());
}

#[cfg(feature = "top")]
#[tokio::test(flavor = "multi_thread")]
async fn top_shows_live_what_the_server_does() {
    let site = Site::start("token: s3cret").await;
    let top = |token: &str| {
        let mut command = command(&["top", "--admin", &site.admin, "--token", token]);
        command.env("TERM", "xterm-256color");
        command
    };
    let mut terminal = Terminal::start(&mut top("s3cret"));
    // It draws what has changed only.
    terminal.until(|text| text.contains("Yatagarasu") && text.contains("assets") && text.contains("quits"));
    site.s3.decide(|request| (request.key == "broken").then(|| Reply::status(500)));
    site.fetch(&["/static/a", "/static/a", "/static/broken"]).await;
    terminal.until(|text| text.contains("assets/a") && text.contains("recent"));
    terminal.say("q");
    let (status, text) = terminal.end();
    assert!(status.success(), "{text:?}");
    assert!(text.contains("\u{1b}[?1049l"), "the screen before is back: {text:?}");

    let colours = |text: &str| text.contains("\u{1b}[31m") || text.contains("\u{1b}[38;5;");
    for (no_colour, coloured) in [("", true), ("1", false)] {
        let mut terminal = Terminal::start(top("s3cret").env("NO_COLOR", no_colour));
        // The heading of errors has a colour. The status may be the number of a port as well.
        let text = terminal.until(|text| text.contains("recent"));
        assert_eq!(colours(&text), coloured, "{text:?}");
        terminal.say("\u{3}");
        assert!(terminal.end().0.success(), "Ctrl-C ends it");
    }
    let (status, text) = Terminal::start(&mut top("wrong")).end();
    assert!(
        status.code() == Some(1) && text.contains("yatagarasu: ") && !text.contains("\u{1b}[?1049h"),
        "{text:?}"
    );
    let said = finish(&mut top("s3cret"));
    assert!(said.status == 2 && said.stderr.contains("top needs a terminal"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_checked_by_a_server_and_by_a_file() {
    let site = Site::start("token: s3cret").await;
    let check = |more: &[&str]| run(&[&["bucket", "check"][..], more].concat());
    let of_server = ["--admin", &site.admin, "--token", "s3cret"];
    let said = check(&of_server);
    assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{said:?}");
    for words in [
        "assets  http://",
        "\n  ok       credentials  ",
        "\n  ok       read         `a` can be read\n",
        "\nvideos  ",
    ] {
        assert!(said.stdout.contains(words), "{words} in {}", said.stdout);
    }
    assert!(said.stdout.contains("-> anyone on the way can read"), "{}", said.stdout);
    let said = check(&[&of_server[..], &["--bucket", "assets", "--key", "missing", "--json"]].concat());
    assert_eq!(said.status, 1, "{said:?}");
    let reports: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(reports["reports"][0]["bucket"], "assets");
    let said = check(&[&of_server[..], &["--bucket", "x"]].concat());
    assert!(said.status == 1 && said.stderr.contains("there are: assets, videos"), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    let yaml = format!(
        "buckets: [{{ name: files, path_prefix: /, s3: {{ bucket: bucket, region: us-east-1, endpoint: {:?}, access_key: \
         {ACCESS_KEY:?}, secret_key: wrong }} }}]\n",
        site.s3.endpoint()
    );
    std::fs::write(&file, &yaml).unwrap();
    let of_file = ["--config", file.to_str().unwrap()];
    let said = check(&of_file);
    assert!(said.status == 1 && said.stdout.contains("FAILED   credentials"), "{said:?}");
    assert!(said.stdout.contains("-> the secret key does not belong to the access key"), "{said:?}");
    std::fs::write(&file, yaml.replace("wrong", SECRET_KEY)).unwrap();
    assert_eq!(check(&of_file).status, 0);
    let said = check(&[&of_file[..], &["--bucket", "x"]].concat());
    assert!(said.status == 2 && said.stderr.contains("there are: files"), "{said:?}");
    std::fs::write(&file, "buckets: []\n").unwrap();
    assert_eq!(check(&of_file).status, 2);
}
