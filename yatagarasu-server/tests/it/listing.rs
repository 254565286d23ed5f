//! Tests of lists of folders: for people, for programs, page by page, and stored like objects.

use std::fmt::Write;

use yatagarasu_testing::client::Response;
use yatagarasu_testing::origin::{Origin, Reply, Request};

use crate::site::{Site, bucket, document};

const FILES: [&str; 9] = [
    "index/index.html",
    "docs/a.txt",
    "docs/sub/b.txt",
    "docs/sub/deep/c.txt",
    "docs/<i>&\"x\".txt",
    "docs/a b+c?#%.txt",
    "docs/javascript:alert(1)",
    "marker/",
    "full/x",
];

/// Starts a gateway that lists the folders below `root` under `prefix`.
async fn lists(prefix: &str, root: &str, keys: &str, cache: &str) -> Site {
    let origin = Origin::start().await;
    for key in FILES {
        origin.objects().put(&format!("{root}{key}"), &[("content-type", "text/plain")], key.to_owned());
    }
    let mut entry = bucket(
        &origin.endpoint(),
        "files",
        prefix,
        "",
        &format!("max_item_size: \"1MB\", max_size: \"64MB\"{cache}"),
    );
    writeln!(entry, "    key_prefix: \"{root}\"\n    site: {{ {keys} }}").unwrap();
    Site::run(origin, &document("", &[entry])).await
}

async fn get(site: &Site, path: &str) -> Response {
    site.client.get(path).await
}

/// Returns the links of a page, in their order.
fn links(page: &str) -> Vec<&str> {
    page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn is_list(request: &Request) -> bool {
    request.query.contains("list-type=2")
}

fn asked(site: &Site) -> usize {
    site.origin.requests().iter().filter(|request| is_list(request)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_page_is_listed_and_each_link_leads_to_what_it_names() {
    for (prefix, root) in [("", ""), ("/files", "some/root/")] {
        let site = lists(if prefix.is_empty() { "/" } else { prefix }, root, "listing: html", "").await;
        let top = get(&site, &format!("{prefix}/")).await;
        assert_eq!((top.status, top.field("content-type")), (200, "text/html; charset=utf-8"));
        assert_eq!(top.field("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'");
        assert_eq!(links(top.text()), ["./docs/", "./full/", "./index/", "./marker/"]);
        let docs = get(&site, &format!("{prefix}/docs/")).await;
        let page = docs.text();
        // The way up, the folder above, the folders, and the objects.
        assert_eq!(links(page)[..3], ["../", "../", "./sub/"]);
        assert_eq!(links(page).len(), 7, "{page}");
        assert!(!page.contains("<i>"), "{page}");
        for link in &links(page)[3..] {
            let object = get(&site, &format!("{prefix}/docs/{}", &link[2..])).await;
            assert_eq!(object.status, 200, "{link}");
            assert!(object.text().starts_with("docs/"), "{link}");
        }
        let deep = get(&site, &format!("{prefix}/docs/sub/deep/")).await;
        assert_eq!(links(deep.text()), ["../../../", "../../", "../", "../", "./c.txt"]);
        let page = get(&site, &format!("{prefix}/index/")).await;
        assert_eq!(page.text(), "index/index.html", "a page goes first");
        let folder = get(&site, &format!("{prefix}/docs/sub?x")).await;
        assert_eq!((folder.status, folder.field("location")), (301, &*format!("{prefix}/docs/sub/?x")));
        for path in ["/none/", "/none", "/doc/", "/docs/a.txt/"] {
            assert_eq!(get(&site, &format!("{prefix}{path}")).await.status, 404, "{path}");
        }
        let marker = get(&site, &format!("{prefix}/marker/")).await;
        assert_eq!((marker.status, links(marker.text())), (200, vec!["../", "../"]), "no download");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_json() {
    let site = lists("/", "", "listing: html", "").await;
    let answer = site.client.get_with("/docs/", &[("accept", "application/json")]).await;
    assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
    assert!(answer.headers.get_all("vary").iter().any(|value| value == "Accept"));
    let list = answer.json();
    assert_eq!(list["path"], "docs/");
    assert_eq!(list["folders"], serde_json::json!(["sub/"]));
    let names: Vec<_> = list["objects"].as_array().unwrap().iter().map(|object| &object["name"]).collect();
    assert_eq!(names, ["<i>&\"x\".txt", "a b+c?#%.txt", "a.txt", "javascript:alert(1)"]);
    assert_eq!(list["objects"][2]["size"], 10);
    assert_eq!(list["objects"][2]["modified"], "1994-11-06T08:49:37Z");
    assert_eq!(list["continuation"], serde_json::Value::Null);
    let browser = [("accept", "text/html,application/json;q=0.9")];
    assert_eq!(
        site.client.get_with("/docs/", &browser).await.field("content-type"),
        "text/html; charset=utf-8"
    );
    let site = lists("/", "", "listing: json", "").await;
    let answer = site.client.get_with("/docs/", &browser).await;
    assert_eq!(answer.field("content-type"), "application/json");
    assert!(!answer.headers.get_all("vary").iter().any(|value| value == "Accept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_stored_validated_and_purged_like_an_object() {
    let site = lists("/", "", "listing: html", ", negative_ttl: \"1m\"").await;
    let first = loop {
        let answer = get(&site, "/docs/").await;
        if answer.field("x-cache") == "HIT" {
            break answer;
        }
    };
    assert_eq!(asked(&site), 1, "{:?}", site.origin.requests());
    assert_eq!(first.field("cache-control"), "max-age=10");
    let tag = first.field("etag").to_owned();
    assert_eq!(site.client.get_with("/docs/", &[("if-none-match", &tag)]).await.status, 304);
    let part = site.client.get_with("/docs/", &[("range", "bytes=0-14")]).await;
    assert_eq!((part.status, part.text()), (206, "<!doctype html>"));
    let head = site.client.head("/docs/").await;
    assert_eq!((head.status, head.field("etag"), head.body.len()), (200, &*tag, 0));
    assert_eq!(asked(&site), 1);
    for (selector, key) in [
        ("{\"bucket\": \"files\", \"prefix\": \"docs/\"}", "docs/new1"),
        ("{\"tag\": \"listing\"}", "docs/new2"),
        ("{\"all\": true}", "docs/new3"),
    ] {
        site.origin.objects().put(key, &[], "new");
        assert!(!get(&site, "/docs/").await.text().contains(key), "still stored");
        site.purge(selector).await;
        let link = format!("\"./{}\"", &key["docs/".len()..]);
        assert!(get(&site, "/docs/").await.text().contains(&link), "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_has_pages() {
    let site = lists("/", "", "listing: html", "").await;
    for number in 0..2_345 {
        site.origin.objects().put(&format!("many/{number:04}"), &[], "x");
    }
    let (mut found, mut path, mut pages) = (Vec::new(), "/many/".to_owned(), 0);
    loop {
        let answer = get(&site, &path).await;
        let page = answer.text().to_owned();
        found.extend(links(&page).into_iter().filter_map(|link| link.strip_prefix("./")).map(str::to_owned));
        pages += 1;
        match links(&page).into_iter().find(|link| link.starts_with('?')) {
            Some(next) => path = format!("/many/{next}"),
            None => break,
        }
    }
    // The pages after the first one lead back to it.
    found.retain(|name| !name.is_empty());
    let expected: Vec<_> = (0..2_345).map(|number| format!("{number:04}")).collect();
    assert_eq!((found, pages), (expected, 3));
    let json = [("accept", "application/json")];
    let list = site.client.get_with("/many/", &json).await.json();
    let token = list["continuation"].as_str().unwrap().replace(' ', "%20").replace('&', "%26");
    let next = site.client.get_with(&format!("/many/?x=y&continuation={token}"), &json).await.json();
    assert_eq!(next["objects"][0]["name"], "1000");
    assert_eq!(get(&site, "/many/?continuation=nonsense").await.status, 400);
    // The first page in the place of another one would be read for ever.
    for bad in ["%FF".to_owned(), "x".repeat(3000)] {
        assert_eq!(get(&site, &format!("/many/?continuation={bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_listed_is_forbidden_and_what_fails_is_no_folder() {
    let site = lists("/", "", "listing: html, spa: \"full/x\", not_found: \"full/x\"", "").await;
    let refuse = |status, code: &'static str| {
        move |request: &Request| {
            let document = format!("<Error><Code>{code}</Code></Error>");
            is_list(request)
                .then(|| Reply::ok(document).of_status(status).with("content-type", "application/xml"))
        }
    };
    for (status, code, expected) in
        [(403, "AccessDenied", 403), (503, "SlowDown", 503), (500, "InternalError", 502)]
    {
        site.origin.decide(refuse(status, code));
        let answer = site.client.get_with("/docs/", &[("accept", "text/html")]).await;
        assert_eq!(
            (answer.status, answer.field("content-type")),
            (expected, "application/problem+json"),
            "{code}"
        );
        // Without permission nothing is known of the folder; what fails is no answer.
        let folder = get(&site, "/docs").await;
        assert_eq!(folder.status, if status == 403 { 404 } else { expected }, "{code}");
    }
    for document in
        ["", "<html></html>", "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>"]
    {
        site.origin.decide(move |request| is_list(request).then(|| Reply::ok(document.to_owned())));
        assert_eq!(get(&site, "/docs/").await.status, 502, "{document}");
    }
    // A store that does not know prefixes.
    let foreign = "<ListBucketResult><Contents><Key>\u{e9}</Key><Size>1</Size></Contents><Contents><Key>docs/own</Key>\
                   <Size>1</Size></Contents><CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes></ListBucketResult>";
    site.origin.decide(move |request| is_list(request).then(|| Reply::ok(foreign)));
    assert_eq!(links(get(&site, "/docs/").await.text()), ["../", "../", "./own"]);
    site.purge("{\"all\": true}").await;
    site.origin.decide(|_| None);
    assert_eq!(links(get(&site, "/docs/").await.text()).len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_listed_unless_it_is_configured() {
    for keys in ["", "listing: off", "listing: \"off\""] {
        let site = lists("/", "", keys, "").await;
        for path in ["/docs/", "/docs", "/", "/docs/?continuation=x", "/docs/?listing=html"] {
            assert_eq!(get(&site, path).await.status, 404, "{path}");
        }
        assert_eq!(asked(&site), 0);
    }
}

/// A rewritten path ends in a slash where its key does not, or is not a folder's.
#[tokio::test(flavor = "multi_thread")]
async fn only_folders_are_listed_whatever_a_path_is_rewritten_to() {
    let origin = Origin::start().await;
    for key in ["users/alice/x", "users/admin.csv", "manual/index.html"] {
        origin.objects().put(key, &[], key.to_owned());
    }
    let mut entry =
        bucket(&origin.endpoint(), "files", "/", "", "max_item_size: \"1MB\", max_size: \"64MB\"");
    entry
        .push_str("    site: { listing: html }\n    rewrite: [{ from: \"/u/{id}/\", to: \"/users/{id}\" }, ");
    entry.push_str(
        "{ from: \"/x/{rest}\", to: \"/users/{rest}index.html\" }, { from: \"/docs\", to: \"/manual\" }]\n",
    );
    let site = Site::run(origin, &document("", &[entry])).await;
    for path in ["/u/a/", "/x/a", "/x/a/b", "/docs"] {
        assert_eq!(get(&site, path).await.status, 404, "{path}");
    }
    assert_eq!(links(get(&site, "/x/alice/").await.text()), ["../../", "../", "../", "./x"]);
    assert_eq!(get(&site, "/manual").await.status, 301);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_may_lead_to_a_list() {
    let site = lists("/", "", "listing: json, redirects: \"_redirects\", not_found: \"a.txt\"", "").await;
    site.put("_redirects", &[], "/l /of/ 200\n/none /nothing/ 200\n");
    site.put("of/x", &[], "x");
    let list = get(&site, "/l").await;
    assert_eq!((list.status, &list.json()["path"]), (200, &serde_json::json!("of/")), "{}", list.text());
    assert_eq!(get(&site, "/none").await.status, 404);
}

/// S3 says nothing about other origins in a list. The gateway took that for a refusal of all objects.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_teaches_nothing_about_other_origins() {
    let site = lists("/", "", "listing: json", "").await;
    site.origin.decide(|request| {
        (request.key == "data").then(|| match request.field("origin") {
            "https://app.example" => Reply::ok("x")
                .with("access-control-allow-origin", "https://app.example")
                .with("vary", "origin"),
            _ => Reply::ok("x").with("vary", "origin"),
        })
    });
    let app = [("origin", "https://app.example")];
    for _ in 0..3 {
        assert_eq!(site.client.get_with("/data", &[("origin", "https://other.example")]).await.status, 200);
        assert_eq!(site.client.get_with("/docs/", &app).await.status, 200);
        let answer = site.client.get_with("/data", &app).await;
        assert_eq!(answer.field("access-control-allow-origin"), "https://app.example");
    }
}

/// Ranges and conditions are about the page, and not about S3's document.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_client_reaches_s3_with_a_list() {
    let site = lists("/", "", "listing: html", ", enabled: false").await;
    let fields = [
        ("range", "bytes=0-9"),
        ("if-none-match", "\"x\""),
        ("if-modified-since", "x"),
        ("accept", "text/html"),
    ];
    assert_eq!(site.client.get_with("/docs/", &fields).await.status, 200);
    let lists: Vec<_> = site.origin.requests().into_iter().filter(is_list).collect();
    assert_eq!(lists.len(), 1);
    for name in ["range", "if-none-match", "if-modified-since", "accept"] {
        assert_eq!(lists[0].field(name), "", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_for_files_leave_a_list_its_lifetime_and_its_policy() {
    let origin = Origin::start().await;
    origin.objects().put("docs/a.txt", &[("content-type", "text/plain")], "a");
    origin.objects().put("_headers", &[], "/*\n  Expires: never\n  X-Site: 1");
    let mut entry = bucket(&origin.endpoint(), "files", "/", "", "max_size: \"64MB\"");
    let set =
        "Cache-Control: \"max-age=31536000\", Content-Security-Policy: \"default-src 'self'\", X-All: \"1\"";
    writeln!(entry, "    download: true\n    response_headers: {{ keys: \"*\", set: {{ {set} }} }}").unwrap();
    writeln!(entry, "    site: {{ listing: html, headers: \"_headers\" }}").unwrap();
    let site = Site::run(origin, &document("", &[entry])).await;
    for path in ["/docs/", "/docs/?download"] {
        let list = get(&site, path).await;
        let policy = "default-src 'none'; style-src 'unsafe-inline'";
        assert_eq!(
            (list.field("cache-control"), list.field("content-security-policy")),
            ("max-age=10", policy)
        );
        assert_eq!((list.field("x-all"), list.field("x-site")), ("1", "1"));
        assert!(!list.headers.contains_key("expires") && !list.headers.contains_key("content-disposition"));
    }
    let file = get(&site, "/docs/a.txt?download").await;
    assert_eq!((file.field("cache-control"), file.field("expires")), ("max-age=31536000", "never"));
    assert_eq!(file.field("content-disposition").split(';').next(), Some("attachment"));
}
