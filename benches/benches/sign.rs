//! Benchmarks signing of a request for S3.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Uri};
use yatagarasu_s3::client::sign::{Scope, Signer};

fn sign(criterion: &mut Criterion) {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "bench");
    let uri: Uri = "https://examplebucket.s3.eu-west-1.amazonaws.com/css/a%20b.css".parse().expect("a URI");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let signer = Signer::default();
    criterion.bench_function("sign", |bencher| {
        bencher.iter(|| {
            let mut request = Request::new(());
            request.uri_mut().clone_from(black_box(&uri));
            let scope = Scope { region: "eu-west-1", service: "s3" };
            signer.sign(&mut request, &credentials, scope, now).expect("it can be signed");
            request
        });
    });
}

criterion_group!(benches, sign);
criterion_main!(benches);
