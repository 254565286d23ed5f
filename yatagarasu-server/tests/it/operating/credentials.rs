//! The providers of the AWS credential chain, each at an endpoint of its own that fails and recovers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use yatagarasu_testing::client::Client;
use yatagarasu_testing::origin::{ACCESS_KEY, Origin, Reply, Request, SECRET_KEY, SESSION_TOKEN};

use crate::forward_proxy;
use crate::operating::process::Process;
use crate::site::{bucket, document};
use crate::tls_front::{TlsFront, self_signed};

/// Returns the time in the form of RFC 3339.
fn rfc3339(at: SystemTime) -> String {
    let text = httpdate::fmt_http_date(at);
    let words: Vec<_> = text.split(' ').collect();
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(words[2]).unwrap() / 3 + 1;
    format!("{}-{month:02}-{}T{}Z", words[3], words[1], words[4])
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

/// Returns keys in the form of ECS, EKS and IMDS.
fn keys(expiry: SystemTime) -> Reply {
    let keys = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": SESSION_TOKEN,
        "Expiration": rfc3339(expiry),
    });
    Reply::ok(keys.to_string()).with("content-type", "application/json")
}

/// Returns keys in the form of STS, as the result of `action`.
fn sts(action: &str) -> Reply {
    Reply::ok(format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
         <AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>\
         <SessionToken>{SESSION_TOKEN}</SessionToken><Expiration>{}</Expiration></Credentials>\
         <AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>A:s</AssumedRoleId>\
         </AssumedRoleUser></{action}Result></{action}Response>",
        rfc3339(in_seconds(3600))
    ))
    .with("content-type", "text/xml")
}

/// Answers a request as the provider at its path does. Refuses one without what has to be shown.
fn provider(request: &Request) -> Option<Reply> {
    let path = request.target.split('?').next().unwrap_or_default();
    let body = String::from_utf8_lossy(&request.body);
    let shown = |name: &str, value: &str, reply: Reply| {
        Some(if request.field(name) == value { reply } else { Reply::status(401) })
    };
    match (request.method.as_str(), path) {
        ("PUT", "/latest/api/token") => {
            Some(Reply::ok("METADATA").with("x-aws-ec2-metadata-token-ttl-seconds", "21600"))
        }
        ("GET", "/latest/meta-data/iam/security-credentials/") => {
            shown("x-aws-ec2-metadata-token", "METADATA", Reply::ok("the-role"))
        }
        ("GET", "/latest/meta-data/iam/security-credentials/the-role") => {
            shown("x-aws-ec2-metadata-token", "METADATA", keys(in_seconds(3600)))
        }
        ("GET", "/ecs") => shown("authorization", "task", keys(in_seconds(3600))),
        ("GET", "/eks") => shown("authorization", "pod", keys(in_seconds(3600))),
        ("POST", "/")
            if body.contains("Action=AssumeRoleWithWebIdentity") && body.contains("WebIdentityToken=web") =>
        {
            Some(sts("AssumeRoleWithWebIdentity"))
        }
        ("POST", "/") if body.contains("Action=AssumeRole&") && body.contains("r%2Fother") => {
            Some(sts("AssumeRole"))
        }
        ("GET", "/federation/credentials") => {
            let expiry = in_seconds(3600).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
            let keys = json!({ "roleCredentials": {
                "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY, "sessionToken": SESSION_TOKEN,
                "expiration": u64::try_from(expiry).unwrap(),
            }});
            shown("x-amz-sso_bearer_token", "sso", Reply::ok(keys.to_string()))
        }
        _ => Some(Reply::status(404)),
    }
}

/// Writes the files of a home folder that the providers read.
fn home(folder: &Path) {
    let program = folder.join("program");
    let keys = json!({
        "Version": 1, "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "SessionToken": SESSION_TOKEN,
    });
    fs::write(&program, format!("#!/bin/sh\necho '{keys}'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "[profile process]\ncredential_process = {}\n\
         [profile role]\nrole_arn = arn:aws:iam::1:role/r/other\nsource_profile = base\nregion = us-east-1\n\
         [profile base]\naws_access_key_id = base\naws_secret_access_key = base\n\
         [sso-session s]\nsso_region = us-east-1\nsso_start_url = https://start.example\n\
         [profile sso]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\nregion = us-east-1\n",
        program.display()
    );
    fs::create_dir_all(folder.join(".aws/sso/cache")).unwrap();
    fs::write(folder.join(".aws/config"), config).unwrap();
    let token = json!({
        "accessToken": "sso", "expiresAt": rfc3339(in_seconds(3600)), "region": "us-east-1",
        "startUrl": "https://start.example",
    });
    // The name is the SHA-1 of the session's name, `s`.
    let name = "a0f1490a20d0211c997b44bc357e1972deab8ae3.json";
    fs::write(folder.join(".aws/sso/cache").join(name), token.to_string()).unwrap();
    fs::write(folder.join("pod-token"), "pod").unwrap();
    fs::write(folder.join("web-token"), "web").unwrap();
}

/// Returns a configuration whose bucket has the keys of the chain, and an S3 with one object.
async fn chained() -> (Origin, String) {
    let s3 = Origin::start().await;
    s3.objects().put("k", &[], "hello");
    let entry = bucket(&s3.endpoint(), "assets", "/static", "", "ttl: 0");
    let keys = format!("access_key: {ACCESS_KEY:?}, secret_key: {SECRET_KEY:?}, ");
    (s3, document("", &[entry.replace(&keys, "")]))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_provider_of_the_chain_has_keys() {
    let (s3, yaml) = chained().await;
    let providers = Origin::start().await;
    providers.decide(provider);
    let folder = TempDir::new().unwrap();
    home(folder.path());
    let at = |path: &str| format!("{}{path}", providers.endpoint());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let sts = || ("AWS_ENDPOINT_URL_STS", at(""));
    let cases: Vec<(&str, Vec<(&str, String)>)> = vec![
        (
            "IMDSv2",
            vec![
                ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
                ("AWS_EC2_METADATA_SERVICE_ENDPOINT", at("")),
            ],
        ),
        (
            "ECS",
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", at("/ecs")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task".to_owned()),
            ],
        ),
        (
            "EKS Pod Identity",
            vec![
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", at("/eks")),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file("pod-token")),
            ],
        ),
        (
            "web identity",
            vec![
                sts(),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file("web-token")),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r".to_owned()),
            ],
        ),
        ("process", vec![("AWS_PROFILE", "process".to_owned())]),
        ("role with source_profile", vec![sts(), ("AWS_PROFILE", "role".to_owned())]),
        ("SSO", vec![("AWS_ENDPOINT_URL_SSO", at("")), ("AWS_PROFILE", "sso".to_owned())]),
    ];
    for (name, variables) in cases {
        let mut environment: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let home = folder.path().display().to_string();
        environment.push(("HOME", &home));
        let process = Process::start(&yaml, &environment);
        let answer = Client::new(process.address).get("/static/k").await;
        let asked = s3.asked("k");
        let log = || process.log().find(|line| line["level"] == "ERROR");
        assert!(answer.status == 200 && answer.body == "hello", "{name}: {:?}", log());
        assert_eq!(asked.last().unwrap().field("x-amz-security-token"), SESSION_TOKEN, "{name}");
    }
}

/// Keys that expire soon are renewed under load, and used on while the provider fails.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_waits_or_fails_while_keys_expire_and_their_provider_fails() {
    let (s3, yaml) = chained().await;
    let providers = Origin::start().await;
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    providers.decide(move |_| {
        Some(if failing.load(Ordering::Relaxed) { Reply::status(500) } else { keys(in_seconds(4)) })
    });
    let at = format!("{}/ecs", providers.endpoint());
    let process = Process::start(&yaml, &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &at)]);
    let client = Client::new(process.address);
    assert_eq!(client.get("/static/k").await.status, 200);
    let fetched = || providers.requests().len();
    // Two renewals, then an outage that outlasts the keys, then a recovery.
    let load = async |enough: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !enough() {
            let asked = Instant::now();
            assert_eq!(client.get("/static/k").await.status, 200);
            // A request that waits does so for as long as the provider fails, which is longer than the keys last.
            assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", fetched());
            tokio::task::yield_now().await;
        }
    };
    load(&|| fetched() >= 3).await;
    fails.store(true, Ordering::Relaxed);
    let outage = Instant::now();
    load(&|| outage.elapsed() > Duration::from_secs(6)).await;
    fails.store(false, Ordering::Relaxed);
    let before = fetched();
    load(&|| fetched() > before + 1).await;
    assert!(s3.asked("k").len() > 10);
}

/// A role could not be assumed where only the proxy reaches STS (aws/aws-sdk-rust#169). Metadata services are never
/// behind it.
#[tokio::test(flavor = "multi_thread")]
async fn keys_come_through_the_proxies_of_the_environment() {
    let (_s3, yaml) = chained().await;
    let providers = Origin::start().await;
    providers.decide(provider);
    let port = |authority: &str| authority.rsplit(':').next().unwrap().to_owned();
    let folder = TempDir::new().unwrap();
    home(folder.path());
    let token = folder.path().join("web-token");
    let certified = self_signed(&["sts.example"]);
    let front = TlsFront::start(&providers, &certified).await;
    let authorities = folder.path().join("ca.pem");
    fs::write(&authorities, certified.cert.pem()).unwrap();
    let (address, mut lines) = forward_proxy::start().await;
    let sts = [
        (format!("http://sts.example:{}", port(&providers.endpoint())), "POST http://sts.example:"),
        (format!("https://sts.example:{}", port(&front.authority())), "CONNECT sts.example:"),
    ];
    let through = [("HTTP_PROXY", &*address), ("HTTPS_PROXY", &address)];
    for (endpoint, expected) in sts {
        let mut environment = through.to_vec();
        environment.extend([
            ("AWS_ENDPOINT_URL_STS", &*endpoint),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ("SSL_CERT_FILE", authorities.to_str().unwrap()),
        ]);
        let process = Process::start(&yaml, &environment);
        assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello", "{endpoint}");
        let line = lines.recv().await.unwrap();
        assert!(line.starts_with(expected) && line.ends_with("true"), "{line}");
    }
    let metadata = format!("{}/ecs", providers.endpoint());
    let mut environment = through.to_vec();
    environment.extend([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*metadata),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task"),
    ]);
    let process = Process::start(&yaml, &environment);
    assert_eq!(Client::new(process.address).get("/static/k").await.body, "hello");
    assert!(lines.try_recv().is_err());
}
